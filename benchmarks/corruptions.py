"""How well digits are read under 24 kinds of damage: the shipped model, a plainly trained one, the peer.

    python benchmarks/corruptions.py                       # MNIST test, 10,000 images a kind
    python benchmarks/corruptions.py --split valid         # while developing
    python benchmarks/corruptions.py --quick               # 300 images: does it run?

The damage is done by NumPy and OpenCV in this file alone; training's augmentation (handwriting.learning.photo, torch)
shares no code with it, nor its strengths. Kinds follow the idea of MNIST-C (Mu and Gilmer 2019) and were written anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tables import IMAGES, markdown, write

from handwriting.classifier import Classifier, load
from handwriting.data import Dataset, split
from handwriting.data import load as load_data
from handwriting.evaluation import wilson_interval
from handwriting.files import whole

Image = NDArray[np.float32]  # (28, 28) in 0..1, white ink on black
Damage = Callable[[Image, np.random.Generator], Image]
Answers = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def clouds(rng: np.random.Generator, *sizes: int) -> Image:
    """Smooth noise in 0..1, the sum of grids of the given sizes."""
    field = np.zeros((28, 28), np.float32)
    for octave, size in enumerate(sizes):
        grid = rng.random((size, size), np.float32)
        field += cv2.resize(grid, (28, 28), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    low, high = field.min(), field.max()
    return np.asarray((field - low) / max(float(high - low), 1e-6), np.float32)


def affine(image: Image, matrix: list[list[float]]) -> Image:
    """``matrix`` (2 x 2) about the middle of the picture."""
    full = np.array([[*row, 0.0] for row in matrix])
    full[:, 2] = 13.5 - full[:, :2] @ [13.5, 13.5]
    return np.asarray(cv2.warpAffine(image, full, (28, 28), flags=cv2.INTER_LINEAR), np.float32)


def fog(image: Image, rng: np.random.Generator) -> Image:
    """Thick clouds before the ink."""
    cloud = clouds(rng, 3, 6, 12)
    return image * 0.6 + 0.55 * cloud * (1 - 0.4 * image)


def bright(image: Image, rng: np.random.Generator) -> Image:
    """Everything lifted by 0.3 to 0.55."""
    return image + rng.uniform(0.3, 0.55)


def faint(image: Image, rng: np.random.Generator) -> Image:
    """Contrast of 0.15 to 0.35 around a grey."""
    return rng.uniform(0.1, 0.6) + image * rng.uniform(0.15, 0.35)


def shadow(image: Image, rng: np.random.Generator) -> Image:
    """A hand's shadow: a soft edge across the picture, the ink's contrast lower on its dark side."""
    x, y = np.meshgrid(np.linspace(-1, 1, 28), np.linspace(-1, 1, 28))
    angle = rng.uniform(0, 2 * np.pi)
    edge = 1 / (1 + np.exp(-(x * np.cos(angle) + y * np.sin(angle) + rng.uniform(-0.4, 0.4)) * rng.uniform(2, 12)))
    return np.asarray(image * (1 - 0.45 * edge) + 0.5 * edge * (1 - image * 0.8), np.float32)


def gaussian_noise(image: Image, rng: np.random.Generator) -> Image:
    """Standard deviation 0.25."""
    return image + rng.normal(0, 0.25, image.shape).astype(np.float32)


def shot_noise(image: Image, rng: np.random.Generator) -> Image:
    """Ten photons a full pixel, on a grey of 0.1."""
    return (rng.poisson((image * 0.9 + 0.1) * 10) / 10).astype(np.float32)


def impulse_noise(image: Image, rng: np.random.Generator) -> Image:
    """One pixel in five is black or white."""
    hit = rng.random(image.shape)
    return np.where(hit < 0.1, 0, np.where(hit > 0.9, 1, image)).astype(np.float32)


def defocus(image: Image, _rng: np.random.Generator) -> Image:
    """A disc of radius 2 pixels."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)).astype(np.float32)
    return np.asarray(cv2.filter2D(image, -1, disc / disc.sum()), np.float32)


def motion(image: Image, rng: np.random.Generator) -> Image:
    """Moved by 6 pixels in any direction."""
    kernel = np.zeros((9, 9), np.float32)
    angle = rng.uniform(0, np.pi)
    way = 12 * np.array([np.cos(angle), np.sin(angle)])  # fixed point with 2 bits: 3 pixels each way
    ends = [tuple(int(v) for v in np.round(4 * 4 + sign * way)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 2)
    return np.asarray(cv2.filter2D(image, -1, kernel / max(float(kernel.sum()), 1e-6)), np.float32)


def pixelate(image: Image, _rng: np.random.Generator) -> Image:
    """10 x 10 blocks."""
    small = cv2.resize(image, (10, 10), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (28, 28), interpolation=cv2.INTER_NEAREST), np.float32)


def jpeg(image: Image, _rng: np.random.Generator) -> Image:
    """JPEG of quality 8."""
    _, coded = cv2.imencode(".jpg", to_levels(image), [cv2.IMWRITE_JPEG_QUALITY, 8])
    return from_levels(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))


def glass(image: Image, rng: np.random.Generator) -> Image:
    """Neighbouring pixels change places twice, then a light blur."""
    result = np.array(image)
    for _ in range(2):
        for row, column in rng.permutation(26 * 26)[:400, None] // [26, 1] % 26 + 1:
            dy, dx = rng.integers(-1, 2, 2)
            result[row, column], result[row + dy, column + dx] = result[row + dy, column + dx], result[row, column]
    return np.asarray(cv2.GaussianBlur(result, (0, 0), 0.6), np.float32)


def edges(image: Image, _rng: np.random.Generator) -> Image:
    """Canny's edge map in the ink's place."""
    return from_levels(cv2.Canny(to_levels(image), 80, 160))


def zigzag(image: Image, rng: np.random.Generator) -> Image:
    """A bright zigzag of six pieces across the digit."""
    return drawn_over(image, rng, dotted=False)


def dotted_line(image: Image, rng: np.random.Generator) -> Image:
    """A straight dotted line across the digit."""
    return drawn_over(image, rng, dotted=True)


def drawn_over(image: Image, rng: np.random.Generator, *, dotted: bool) -> Image:
    """A zigzag, or a straight line of dots, across the picture in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    offset = rng.uniform(-6, 6)
    swing = 0.0 if dotted else 3.5
    count = 9 if dotted else 7
    steps = np.linspace(-15, 15, count)
    side = offset + swing * np.where(np.arange(count) % 2, 1, -1)
    points = 13.5 + steps[:, None] * along + side[:, None] * across
    layer = np.zeros((28, 28), np.uint8)
    if dotted:
        for x, y in points:
            cv2.circle(layer, (round(x * 16), round(y * 16)), 14, 255, -1, cv2.LINE_AA, 4)
    else:
        cv2.polylines(layer, [np.round(points * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    return np.asarray(np.maximum(image, from_levels(layer)), np.float32)


def ruled_paper(image: Image, rng: np.random.Generator) -> Image:
    """Grey lines every 7 to 10 pixels, or squares."""
    result, gap = np.array(image), int(rng.integers(7, 11))
    start, grey = int(rng.integers(0, gap)), float(rng.uniform(0.35, 0.7))
    result[start::gap] = np.maximum(result[start::gap], grey)
    if rng.random() < 0.4:
        result[:, start::gap] = np.maximum(result[:, start::gap], grey)
    return result


def box_border(image: Image, rng: np.random.Generator) -> Image:
    """The printed box of a form around the digit, sometimes cutting it."""
    layer = np.zeros((28, 28), np.uint8)
    left, top = (int(v) for v in rng.integers(0, 5, 2))
    cv2.rectangle(layer, (left, top), (27 - int(rng.integers(0, 5)), 27 - int(rng.integers(0, 5))), 200, 1)
    return np.asarray(np.maximum(image, from_levels(layer)), np.float32)


def stripes(image: Image, _rng: np.random.Generator) -> Image:
    """Ink and paper change places in the outer quarters."""
    result = np.array(image)
    result[:, :7], result[:, 21:] = 1 - image[:, :7], 1 - image[:, 21:]
    return result


def spatter(image: Image, rng: np.random.Generator) -> Image:
    """Drops of ink."""
    wet = cv2.GaussianBlur(rng.random((28, 28), np.float32), (0, 0), 1.0)
    drops = wet > np.quantile(wet, 0.94)
    return np.asarray(np.maximum(image, cv2.GaussianBlur(drops.astype(np.float32), (0, 0), 0.5)), np.float32)


def rotate(image: Image, rng: np.random.Generator) -> Image:
    """By 20 to 30 degrees to either side."""
    angle = np.radians(rng.uniform(20, 30)) * rng.choice([-1, 1])
    return affine(image, [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def shear(image: Image, rng: np.random.Generator) -> Image:
    """By 0.35 to 0.5 to either side."""
    return affine(image, [[1.0, float(rng.uniform(0.35, 0.5) * rng.choice([-1, 1]))], [0.0, 1.0]])


def small(image: Image, _rng: np.random.Generator) -> Image:
    """At 60% of its size."""
    return affine(image, [[0.6, 0.0], [0.0, 0.6]])


def moved(image: Image, rng: np.random.Generator) -> Image:
    """By 3 or 4 pixels along both axes."""
    x, y = rng.integers(3, 5, 2) * rng.choice([-1, 1], 2)
    return np.asarray(cv2.warpAffine(image, np.array([[1.0, 0, x], [0, 1.0, y]]), (28, 28)), np.float32)


def thin(image: Image, _rng: np.random.Generator) -> Image:
    """A fine pencil: eroded by 2 x 2, what is left at least half as strong."""
    worn = cv2.erode(image, np.ones((2, 2), np.uint8))
    return np.asarray(np.maximum(worn, 0.35 * image), np.float32)


def thick(image: Image, _rng: np.random.Generator) -> Image:
    """A marker: dilated by 3 x 3."""
    return np.asarray(cv2.dilate(image, np.ones((3, 3), np.uint8)), np.float32)


KINDS: tuple[Damage, ...] = (
    fog, bright, faint, shadow, gaussian_noise, shot_noise, impulse_noise, defocus, motion, pixelate, jpeg, glass,
    edges, zigzag, dotted_line, ruled_paper, box_border, stripes, spatter, rotate, shear, small, moved, thin, thick,
)  # fmt: skip


def to_levels(image: Image) -> NDArray[np.uint8]:
    """0..1 -> 0..255."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def from_levels(image: Any) -> Image:
    """0..255 -> 0..1."""
    levels: Image = np.asarray(image, np.float32)
    return np.divide(levels, 255, dtype=np.float32)


def damaged(kind: Damage, images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """uint8 (N, 28, 28) -> the same, each image damaged on its own; the seed and the kind's name decide all."""
    rng = np.random.default_rng([seed, *kind.__name__.encode()])
    return np.stack([to_levels(kind(from_levels(image), rng)) for image in images])


def models(plain: str | None, data: Dataset, valid: Dataset) -> dict[str, Answers]:
    """Name -> what answers for it. ``plain``: a model file; trained here by the recipe `fast` when None."""
    shipped = load("digits")
    found: dict[str, Answers] = {"shipped `digits`": answers_of(shipped)}
    found["plain, recipe `fast`"] = answers_of(load(plain)) if plain else trained("fast", data, valid)
    import peer

    if peer.installed():
        found["digit-recognizer-py"] = peer_answers(peer.recognizer())
    else:
        print("digit-recognizer-py is not installed (pip install --no-deps digit-recognizer-py): left out")
    return found


def answers_of(classifier: Classifier) -> Answers:
    """A Classifier -> images uint8 (N, 28, 28) to labels (N,)."""
    return lambda images: classifier.logits(images).argmax(1)


def trained(recipe_name: str, data: Dataset, valid: Dataset) -> Answers:
    """A network trained here on the train part by the recipe."""
    import torch

    from handwriting.learning.recipes import recipe
    from handwriting.learning.training import Training, infer

    training = Training(recipe(recipe_name), data, valid, torch.device("cpu"))
    for _ in training.epochs():
        pass
    training.network.load_state_dict(training.best_weights)
    return lambda images: infer(training.network, images, training.device).argmax(1)


def peer_answers(recognizer: Any) -> Answers:
    """The peer's network on batches; for 28 x 28 pictures its preprocessing is the normalisation alone."""
    import torch

    def answers(images: NDArray[np.uint8]) -> NDArray[np.int64]:
        pixels = (torch.from_numpy(images).float().div(255) - 0.1307) / 0.3081
        with torch.inference_mode():
            parts = [recognizer.model(part).argmax(1) for part in pixels.unsqueeze(1).split(500)]
        return np.asarray(torch.cat(parts).numpy(), np.int64)

    return answers


def main() -> None:
    """Measure and write the table, the JSON and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--plain", help="model file of a plainly trained network; default: trained here, recipe fast")
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--quick", action="store_true", help="300 valid images and nothing written")
    options = parser.parse_args()
    splits = split(load_data("mnist"))
    part = splits.valid if options.quick or options.split == "valid" else splits.open_test()
    if options.quick:
        part = part.subset(np.arange(300))
    named = models(options.plain, splits.train, splits.valid)
    right: dict[str, dict[str, float]] = {name: {} for name in named}
    for kind in (None, *KINDS):
        images = part.images if kind is None else damaged(kind, part.images, options.seed)
        for name, answer in named.items():
            right[name]["clean" if kind is None else kind.__name__] = float((answer(images) == part.labels).mean())
        print(" ".join(f"{list(right[name].values())[-1]:.4f}" for name in named), list(right[name])[-1], flush=True)
    for name, found in right.items():
        kinds = [value for key, value in found.items() if key != "clean"]
        print(f"{name}: mean {np.mean(kinds):.4f}, worst {min(kinds):.4f}, clean {found['clean']:.4f}")
    if not options.quick:
        report(right, part, options.split, options.seed)


def report(right: dict[str, dict[str, float]], part: Dataset, split_name: str, seed: int) -> None:
    """docs/results/corruptions.md, .json and docs/images/corruptions.png."""
    names, n = list(right), len(part)
    kinds = [kind.__name__ for kind in KINDS]
    rows: list[list[str]] = [[kind, *(f"{right[name][kind]:.2%}" for name in names)] for kind in kinds]
    clean = [["clean", *(f"{right[name]['clean']:.2%}" for name in names)]]
    means = {name: float(np.mean([right[name][kind] for kind in kinds])) for name in names}
    worst = {name: min(right[name][kind] for kind in kinds) for name in names}
    total = [[f"**mean of {len(kinds)}**", *(f"**{means[name]:.2%}**" for name in names)]]
    least = [["**worst**", *(f"**{worst[name]:.2%}**" for name in names)]]
    low, high = wilson_interval(round(worst[names[0]] * n), n)
    text = (
        f"Accuracy on MNIST {split_name}, n = {n:,} images a kind (seed {seed}); no answer is left out as rejected.\n"
        f"95% interval of the shipped model's worst kind: {low:.2%} to {high:.2%}.\n\n"
        f"![One digit under each kind of damage](../images/corruptions.png)\n\n"
    ) + markdown(["kind", *names], clean + total + least + rows)
    figures = {"split": split_name, "n": n, "seed": seed, "accuracy": right, "mean": means, "worst": worst}
    write("corruptions", "Accuracy under damage", text, figures)
    figure(part, seed)


def figure(part: Dataset, seed: int) -> None:
    """Five digits under every kind."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    chosen = np.array([int(np.flatnonzero(part.labels == label)[3]) for label in (2, 3, 4, 7, 9)])
    columns = 5
    rows = -(-len(KINDS) // columns)
    drawn, axes = plt.subplots(rows, columns, figsize=(2.6 * columns, 0.82 * rows))
    for axis, kind in zip(axes.flat, KINDS, strict=False):
        strip = np.hstack(list(damaged(kind, part.images[chosen], seed)))
        axis.imshow(strip, cmap="gray", vmin=0, vmax=255, aspect="equal")
        axis.set_title(kind.__name__.replace("_", " "), fontsize=8)
    for axis in axes.flat:
        axis.axis("off")
    drawn.tight_layout()
    with whole(IMAGES / "corruptions.png") as path:
        drawn.savefig(path, dpi=110)
    plt.close(drawn)


if __name__ == "__main__":
    main()
