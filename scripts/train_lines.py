"""Train and package the line network: MNIST's train part in, reading/digits-lines.onnx out.

    python scripts/train_lines.py --out runs/lines                # as often as wanted
    python scripts/train_lines.py --out runs/lines --package      # into the package
    python scripts/train_lines.py --only coarse-even fine-even --device cuda --processes 7    # half of it
    python scripts/train_lines.py --only fine-even --out runs/more --after runs/lines --calm 1 --epochs 8    # goes on
    python scripts/train_lines.py --out runs/again --trained runs/lines/float.onnx    # into 8 bits, no training

It learns from numbers that `learning.composing` writes with the digits of four writers of five (48,000 images; the
split by writer with seed 11) and with drawn ones: photographed and found again by `reading`, and written straight into
ribbons, new ones each epoch. The fifth writer is a stranger to it. There can be a member of each design for each manner
of writing; it has `MEMBERS`. Those of a manner learn from the same lines side by side, manners one after the other, or
with ``--only`` each by a run of its own. A member that ``--out`` holds already, trained with the same options, is taken
as it is. All together are float.onnx; digits-lines.onnx has their convolutions in 8 bits, by the range of activations
on lines like those that they learned from. Afterwards `python scripts/train_windows.py --package` trains the window
network beside it, and `python benchmarks/tune_reading.py lines` chooses on strangers' digits how far each is trusted,
and calibrates. MNIST test is not opened.
"""

from __future__ import annotations

import argparse
import io
import math
import multiprocessing
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from in_8_bits import in_8_bits, in_float
from numpy.typing import NDArray

from handwriting import __version__
from handwriting.classifier import with_metadata
from handwriting.data import Dataset, load, split
from handwriting.files import write_whole
from handwriting.learning.composing import EVEN, HALF_TOUCHING, Manner, Material, Scene, compose, write
from handwriting.learning.device import DEVICE_NAMES, choose, describe
from handwriting.learning.export import lines_to_onnx
from handwriting.learning.glyphs import LETTERS as LETTER_FORMS
from handwriting.learning.lines import DESIGNS, ROWS, LineNetwork, Lines, Member, train_lines
from handwriting.learning.printed import FONTS, printed
from handwriting.learning.synthesis import drawn_digits, other_marks
from handwriting.reading.lines import Strip, find_lines
from handwriting.reading.ribbon import HEIGHT, RIM, ribbon
from handwriting.reading.sheet import Sheet, lay_out

PACKAGE = Path(__file__).parents[1] / "src/handwriting/reading"
BESIDE = ("mnist", "mnist-sample", "qmnist", "emnist-digits", "emnist-mnist")  # its digits are those of models on these
MANNERS = {
    "even": EVEN,
    "crowded": HALF_TOUCHING,
}  # of the lines that members learn from; seeds count up from the option's
MEMBERS = ("coarse-even", "fine-even", "fine-crowded")  # with a coarse, crowded one beside them no more is read
LETTERS, SCRIBBLES, DRAWN, A_HAND = 1400, 200, 6000, 60  # the first two each epoch: known by heart they teach nothing
PRINTED = "".join(sign for sign in LETTER_FORMS if sign.isalpha())
# Until `benchmarks/tune_reading.py lines` has fitted it.
UNCALIBRATED = {
    "trust": 0.3,
    "trust_windows": 0.5,
    "character": [0.0, 1.0, 0.5],
    "line": [0.0, 1.0, 0.0],
    "reject_below": 0.4,
    "least_looks": 0.3,
    "run": [0.5, 0.1],
}
ASKED = ("epochs", "batch", "rate", "calm", "scenes", "photographed_for", "written", "written_for")  # of the options
RANGED = 100  # composed pictures that the range of activations is taken from
WIDEST = 520  # columns: wider ribbons are left out of training, for memory
Seed = int | tuple[int, ...]
Marks = list[tuple[int, float, float, float]]  # label, middle, left and right of each mark of a ribbon


def gather(train: Dataset, seed: int, manner: Manner) -> Material:
    """Dataset with writers -> its hands, with one drawn hand to eight real ones and each font's digits for a hand; and
    marks that are no digits."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    marks = no_digits(generator)
    drawn, labels = (part.numpy() for part in drawn_digits(DRAWN, generator))
    hands = [(train.images[own], train.labels[own]) for own in train.hands()]
    for _ in range(len(hands) // 8):
        own = rng.integers(len(labels), size=A_HAND)
        hands.append((drawn[own], labels[own]))
    hands += [(font, np.arange(10)) for font in printed("0123456789")]
    return Material(tuple(hands), marks, manner)


def no_digits(generator: torch.Generator) -> NDArray[np.uint8]:
    """Letters, signs and scribbles, newly drawn, and letters in print -> uint8 (N, 28, 28)."""
    in_print = printed(PRINTED).reshape(len(FONTS) * len(PRINTED), 28, 28)
    return np.concatenate([other_marks(LETTERS, SCRIBBLES, generator).numpy(), in_print])


def photographed(material: Material, scenes: int, seed: Seed) -> Lines:
    """So many composed pictures -> the lines that `reading` finds in them."""
    rng = np.random.default_rng(seed)
    found = [line for _ in range(scenes) for line in found_lines(compose(material, rng))]
    return as_lines([line for line in found if line[0].shape[2] <= WIDEST])


def found_lines(scene: Scene) -> list[tuple[NDArray[np.uint8], Marks]]:
    """A picture with its truth -> ribbons of the lines found in it, with their marks from left to right."""
    sheet = lay_out(scene.picture)
    return [(ribbon(sheet, strip).image, marks_of(scene, sheet, strip)) for strip in find_lines(sheet)]


def marks_of(scene: Scene, sheet: Sheet, strip: Strip) -> Marks:
    """A picture with its truth, laid out, and a line found in it -> the line's marks from left to right.

    A mark belongs to a line that kept 40% of its ink, or shows nearly all of it about the middle, rules included.
    """
    total = np.maximum(np.bincount(scene.owners.ravel(), minlength=len(scene.labels) + 1), 1)
    band = ribbon(sheet, strip)
    to_strip = np.array([(1.0, 0, strip.corner[0]), (0, 1.0, strip.corner[1])])
    own = seen_owners(scene.owners, sheet.way_back, to_strip, (strip.mask.shape[1], strip.mask.shape[0]))
    area = abs(float(np.linalg.det(sheet.way_back)))  # of a sheet's pixel: these papers fill their pictures
    kept = np.bincount(own[strip.mask > 0], minlength=len(total)) * area / total
    own = seen_owners(scene.owners, sheet.way_back, band.to_sheet, (band.image.shape[2], ROWS))
    area *= abs(float(np.linalg.det(band.to_sheet[:, :2])))
    marks = [
        place
        for owner, label in enumerate(scene.labels, 1)
        if (place := _place(own == owner, label)) is not None
        and (kept[owner] >= 0.4 or _in_the_middle(own == owner, area / total[owner]))
    ]
    return sorted(marks, key=lambda mark: mark[1])


def seen_owners(owners: NDArray[np.uint8], way_back: Any, matrix: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Owners of a picture (H, W), the sheet's way back to it, a matrix onto the sheet -> owners there, (h, w)."""
    whole = way_back @ np.vstack([matrix, (0, 0, 1)])
    return np.asarray(
        cv2.warpPerspective(owners, whole, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP), np.uint8
    )


def _place(own: NDArray[np.bool_], label: int) -> tuple[int, float, float, float] | None:
    columns = np.nonzero(own)[1]
    if len(columns) < 3:
        return None
    left, right = np.percentile(columns, (3, 97))
    return label, float(columns.mean()), float(left), float(right) + 1


def _in_the_middle(own: NDArray[np.bool_], share: float) -> bool:
    rows = np.nonzero(own)[0]
    return len(rows) * share > 0.8 and abs(float(rows.mean()) - ROWS / 2) < 0.3 * HEIGHT


def written(material: Material, count: int, seed: Seed) -> Lines:
    """So many numbers written straight into ribbons, without paper or camera."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        line = write(material, HEIGHT * float(np.exp(rng.normal(0, 0.1))), rng)
        ink = line.ink * np.float32(rng.uniform(0.7, 1))
        if rng.random() < 0.5:
            ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.3, 1.2))), np.float32)
        high, wide = ink.shape
        if wide + 2 * RIM > WIDEST:
            continue
        top = round(ROWS / 2 - high / 2 + float(rng.normal(0, 1.5)))
        seen, kept = slice(max(top, 0), min(top + high, ROWS)), slice(max(-top, 0), min(ROWS - top, high))
        image, owners = np.zeros((2, ROWS, wide + 2 * RIM), np.uint8), np.zeros((ROWS, wide + 2 * RIM), np.uint8)
        image[:, seen, RIM : RIM + wide] = np.rint(ink[kept] * 255)
        owners[seen, RIM : RIM + wide] = line.owners[kept]
        marks = [place for k, label in enumerate(line.labels, 1) if (place := _place(owners == k, label)) is not None]
        lines.append((image, sorted(marks, key=lambda mark: mark[1])))
    return as_lines(lines)


def as_lines(lines: list[tuple[NDArray[np.uint8], Marks]]) -> Lines:
    """Ribbons with their marks -> Lines."""
    tables = [np.array(marks, np.float32).reshape(-1, 4) for _, marks in lines]
    return Lines(
        [image for image, _ in lines], [table[:, 0].astype(np.int64) for table in tables], [t[:, 1:] for t in tables]
    )


class Ahead:
    """The lines of each epoch, made by other processes while the epoch before is learned from.

    An epoch's are made in it or in one of the epochs before it: photographed lines and written ones are learned from in
    as many epochs as the options say.
    """

    def __init__(self, material: Material, seed: int, options: argparse.Namespace) -> None:
        self._options, self._processes = options, options.processes
        self._pool = ProcessPoolExecutor(self._processes, mp_context=multiprocessing.get_context("spawn"))
        shares = [(options.scenes, options.photographed_for), (options.written, options.written_for)]
        sizes = [math.ceil(count / self._processes) for count, _ in shares]
        self._make = partial(fresh, material, *sizes, seed)
        self._windows = [deque[list[Lines]](maxlen=window) for _, window in shares]
        self._next = self._begun(1)

    def _begun(self, epoch: int) -> list[Future[tuple[Lines, Lines]]]:
        return [self._pool.submit(self._make, epoch, process) for process in range(self._processes)]

    def lines(self, epoch: int) -> Lines:
        """An epoch's, epochs in turn from 1."""
        made = [part.result() for part in self._next]
        if epoch < self._options.epochs:
            self._next = self._begun(epoch + 1)
        else:
            self._pool.shutdown()  # its processes hold the material, and other members may follow
        for window, parts in zip(self._windows, zip(*made, strict=True), strict=True):
            window.append(list(parts))
        return joined([part for window in self._windows for parts in window for part in parts])


def joined(parts: list[Lines]) -> Lines:
    """Lines of all the parts."""
    return Lines(*([own for part in parts for own in getattr(part, field.name)] for field in fields(Lines)))


def fresh(material: Material, scenes: int, count: int, seed: int, epoch: int, process: int) -> tuple[Lines, Lines]:
    """New lines for an epoch: photographed, of so many scenes, and so many written."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    own = int(np.random.SeedSequence((seed, epoch, process, 2)).generate_state(1)[0])
    material = replace(material, marks=no_digits(torch.Generator().manual_seed(own)))
    return photographed(material, scenes, (seed, epoch, process)), written(material, count, (seed, epoch, process, 1))


def train_members(names: list[str], train: Dataset, seed: int, options: argparse.Namespace) -> None:
    """Trains members of a manner and writes each one's weights, and how it came by them, whole."""
    designs, manners = zip(*(name.split("-") for name in names), strict=True)
    device, ahead = choose(options.device), Ahead(gather(train, seed, MANNERS[manners[0]]), seed, options)
    losses: list[list[float]] = [[] for _ in names]
    starts = [torch.load(options.after / f"{name}.pt") for name in names] if options.after else []
    started = time.perf_counter()
    for epoch in train_lines(
        ahead.lines,
        [DESIGNS[design] for design in designs],
        epochs=options.epochs,
        generator=torch.Generator().manual_seed(seed),
        batch=options.batch,
        rate=options.rate,
        calm=options.calm,
        starts=[start["weights"] for start in starts] if starts else None,
        device=device,
    ):
        for name, own, loss in zip(names, losses, epoch.losses, strict=True):
            own.append(round(loss, 4))
            print(f"{name}, epoch {epoch.number}: loss {loss:.4f}, {epoch.seconds:.1f} s", flush=True)
    how = {
        "seconds": round(time.perf_counter() - started),
        "hardware": f"{describe(device)}, torch {torch.__version__}",
    }
    for index, (name, own, network) in enumerate(zip(names, losses, epoch.networks, strict=True)):
        weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        recipe = {**asked_for(options, seed), "loss": own, **how}
        if starts:
            recipe["after"] = starts[index]["recipe"]
        content = io.BytesIO()
        torch.save({"weights": weights, "recipe": recipe}, content)
        write_whole(options.out / f"{name}.pt", content.getvalue())


def asked_for(options: argparse.Namespace, seed: int) -> dict[str, float]:
    """What a member is to be trained with."""
    return {**{key: getattr(options, key) for key in ASKED}, "seed": seed}


def main() -> None:
    """Compose, train, export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/lines"))
    parser.add_argument("--data-dir", help="where the MNIST files are (default: HANDWRITING_DATA, or downloaded)")
    parser.add_argument("--only", nargs="+", metavar="MEMBER", help="train these members alone, and export nothing")
    parser.add_argument("--after", type=Path, help="a folder of members to go on from, instead of from nothing")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.0035, help="the level learning rate")
    parser.add_argument("--calm", type=float, default=0.3, help="the last share of steps, with ribbons changed less")
    parser.add_argument("--scenes", type=int, default=800, help="composed pictures, photographed, an epoch")
    parser.add_argument("--photographed-for", type=int, default=12, help="epochs that their lines are learned from")
    parser.add_argument("--written", type=int, default=3000, help="numbers written straight into ribbons, an epoch")
    parser.add_argument("--written-for", type=int, default=6, help="epochs that they are learned from")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--device", choices=DEVICE_NAMES, default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processes", type=int, default=1, help="that make lines, beside the one that learns")
    parser.add_argument("--trained", type=in_float, help="the float.onnx of an earlier run, instead of training")
    parser.add_argument("--package", action="store_true", help="write the model into the package too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seeds = {manner: options.seed + number for number, manner in enumerate(MANNERS)}
    members = {f"{design}-{manner}": seed for manner, seed in seeds.items() for design in DESIGNS}
    if options.trained and (options.only or options.after):
        parser.error("--trained trains no member: leave out --only and --after")
    paths = {} if options.trained else {name: options.out / f"{name}.pt" for name in options.only or MEMBERS}
    for name in paths:
        if name not in members:
            parser.error(f"no member is named {name}: there are {', '.join(members)}")
        if options.after and not (options.after / f"{name}.pt").is_file():
            parser.error(f"{options.after / name}.pt: no such file")
    for name, path in paths.items():  # before hours of training, not after
        if path.exists():
            wanted, recipe = asked_for(options, members[name]), torch.load(path)["recipe"]
            had = {key: recipe.get(key) for key in wanted}
            after = torch.load(options.after / f"{name}.pt")["recipe"] if options.after else None
            if had != wanted:
                parser.error(f"{path} was trained with {had}, not {wanted}: remove it, or give another --out")
            if recipe.get("after") != after:
                parser.error(f"{path} went on from another member than --after has: remove it, or give another --out")
    train = split(load("mnist", data_dir=options.data_dir), by="writer").train
    for manner in MANNERS:
        missing = [name for name, path in paths.items() if name.endswith(f"-{manner}") and not path.exists()]
        if missing:
            train_members(missing, train, seeds[manner], options)
    if options.only:
        return
    network = options.trained or as_one(paths, train, options.out)
    # The range of activations is taken from composed lines that no epoch had.
    lines = photographed(gather(train, options.seed, EVEN), RANGED, (options.seed, 0, 0)).images
    ranges_from = f"{len(lines)} composed lines of train"
    model = in_8_bits(network.read_bytes(), [image[None] for image in lines], ranges_from)
    write_whole(options.out / "digits-lines.onnx", model)
    if options.package:
        write_whole(PACKAGE / "digits-lines.onnx", model)


def as_one(paths: dict[str, Path], train: Dataset, out: Path) -> Path:
    """Members' files -> out/float.onnx, which tells how they were made."""
    documents = {name: torch.load(path) for name, path in paths.items()}
    network = LineNetwork([member_of(name, document["weights"]) for name, document in documents.items()])
    metadata = {
        "classes": list(train.classes),
        "beside": BESIDE,
        "data": {"name": "mnist", "fingerprint": train.fingerprint()},
        "recipe": {name: document["recipe"] for name, document in documents.items()},
        "parameters": sum(value.numel() for value in network.parameters()),
        "version": __version__,
        "reading": UNCALIBRATED,
    }
    return write_whole(out / "float.onnx", with_metadata(lines_to_onnx(network), metadata))


def member_of(name: str, weights: dict[str, torch.Tensor]) -> Member:
    """A member by its name, with these weights."""
    member = Member(DESIGNS[name.split("-")[0]])
    member.load_state_dict(weights)
    return member


if __name__ == "__main__":
    main()
