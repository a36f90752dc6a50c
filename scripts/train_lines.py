"""Train and package the line network: MNIST's train part in, reading/digits-lines.onnx out.

    python scripts/train_lines.py --out runs/lines                # as often as wanted
    python scripts/train_lines.py --out runs/lines --package      # into the package

It learns from numbers that `learning.composing` writes with the digits of four writers of five (48,000 images; the
split by writer with seed 11) and with drawn ones: photographed and found again by `reading`, and written straight into
ribbons, new ones each epoch. The fifth writer is a stranger to it. Its four members, two of each design, are trained
one after the other; a member that ``--out`` holds already, trained with the same options, is taken as it is.
Afterwards `python scripts/train_windows.py --package` trains the window network beside it, and `python
benchmarks/tune_reading.py lines` chooses on strangers' digits how far each is trusted, and calibrates. MNIST test is
not opened.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import platform
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handwriting import __version__
from handwriting.classifier import with_metadata
from handwriting.data import Dataset, load, split
from handwriting.files import write_whole
from handwriting.learning.composing import CROWDED, EVEN, Manner, Material, Scene, compose, write
from handwriting.learning.export import lines_to_onnx
from handwriting.learning.lines import DESIGNS, ROWS, LineNetwork, Lines, Member, train_lines
from handwriting.learning.synthesis import drawn_digits, other_marks
from handwriting.reading.lines import Strip, find_lines
from handwriting.reading.ribbon import HEIGHT, RIM, ribbon
from handwriting.reading.sheet import Sheet, lay_out

PACKAGE = Path(__file__).parents[1] / "src/handwriting/reading"
BESIDE = ("mnist", "mnist-sample", "qmnist", "emnist-digits", "emnist-mnist")  # its digits are those of models on these
# Each member's design and the manner of the lines that it learns from. Seeds count up from the option's.
MEMBERS = {
    "coarse": ("coarse", EVEN),
    "fine": ("fine", EVEN),
    "coarse-crowded": ("coarse", CROWDED),
    "fine-crowded": ("fine", CROWDED),
}
LETTERS, SCRIBBLES, DRAWN, A_HAND = 4000, 500, 6000, 60
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
WINDOW = 6  # epochs that a photographed line is learned from
WIDEST = 520  # columns: wider ribbons are left out of training, for memory
Marks = list[tuple[int, float, float, float]]  # label, middle, left and right of each mark of a ribbon


def gather(train: Dataset, seed: int, manner: Manner) -> Material:
    """Dataset with writers -> its hands, with one drawn hand to eight real ones, and marks that are no digits."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    marks = other_marks(LETTERS, SCRIBBLES, generator).numpy()
    drawn, labels = (part.numpy() for part in drawn_digits(DRAWN, generator))
    hands = [(train.images[own], train.labels[own]) for own in train.hands()]
    for _ in range(len(hands) // 8):
        own = rng.integers(len(labels), size=A_HAND)
        hands.append((drawn[own], labels[own]))
    return Material(tuple(hands), marks, manner)


def photographed(material: Material, scenes: int, seed: int) -> Lines:
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


def written(material: Material, count: int, seed: int) -> Lines:
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
    """The lines of each epoch, made by another process while the epoch before is learned from.

    An epoch's are photographed in it or in one of the ``WINDOW`` - 1 before it, or written for it alone.
    """

    def __init__(self, material: Material, scenes: int, count: int, seed: int, epochs: int) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._make = partial(fresh, material, scenes, count, seed)
        self._epochs = epochs
        self._next = self._pool.submit(self._make, 1)
        self._photographed: list[Lines] = []

    def lines(self, epoch: int) -> Lines:
        """An epoch's, epochs in turn from 1."""
        photos, numbers = self._next.result()
        if epoch < self._epochs:
            self._next = self._pool.submit(self._make, epoch + 1)
        else:
            self._pool.shutdown()  # its process holds the material, and another member may follow
        self._photographed = [*self._photographed[1 - WINDOW :], photos]
        return reduce(Lines.__add__, self._photographed, numbers)


def fresh(material: Material, scenes: int, count: int, seed: int, epoch: int) -> tuple[Lines, Lines]:
    """New lines for an epoch: photographed, of so many scenes, and so many written."""
    torch.set_num_threads(1)
    return photographed(material, scenes, seed * 1000 + epoch), written(material, count, seed * 1000 + epoch)


def train_member(name: str, train: Dataset, seed: int, options: argparse.Namespace, path: Path) -> None:
    """Trains a member and writes its weights, and how it came by them, whole."""
    design, manner = MEMBERS[name]
    ahead = Ahead(gather(train, seed, manner), options.scenes, options.written, seed, options.epochs)
    losses = []
    for epoch in train_lines(
        ahead.lines, DESIGNS[design], epochs=options.epochs, generator=torch.Generator().manual_seed(seed)
    ):
        losses.append(round(epoch.loss, 4))
        print(f"{name}, epoch {epoch.number}: loss {epoch.loss:.4f}, {epoch.seconds:.0f} s", flush=True)
    recipe = asked_for(options, seed)
    hardware = f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}"
    weights = epoch.network.to(memory_format=torch.contiguous_format).state_dict()  # type: ignore[call-overload]
    content = io.BytesIO()
    torch.save({"weights": weights, "recipe": {**recipe, "loss": losses, "hardware": hardware}}, content)
    write_whole(path, content.getvalue())


def asked_for(options: argparse.Namespace, seed: int) -> dict[str, int]:
    """What a member is to be trained with."""
    return {"epochs": options.epochs, "scenes": options.scenes, "written": options.written, "seed": seed}


def main() -> None:
    """Compose, train, export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/lines"))
    parser.add_argument("--data-dir", help="where the MNIST files are (default: HANDWRITING_DATA, or downloaded)")
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--scenes", type=int, default=1800, help="composed pictures, photographed, an epoch")
    parser.add_argument("--written", type=int, default=16_000, help="numbers written straight into ribbons, an epoch")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--package", action="store_true", help="write the model into the package too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seeds = {name: options.seed + number for number, name in enumerate(MEMBERS)}
    paths = {name: options.out / f"{name}.pt" for name in MEMBERS}
    for name, path in paths.items():  # before hours of training, not after
        if path.exists():
            wanted, recipe = asked_for(options, seeds[name]), torch.load(path)["recipe"]
            had = {key: recipe[key] for key in wanted}
            if had != wanted:
                parser.error(f"{path} was trained with {had}, not {wanted}: remove it, or give another --out")
    splits = split(load("mnist", data_dir=options.data_dir), by="writer")
    members, recipes = [], {}
    for name, (design, _) in MEMBERS.items():
        if not paths[name].exists():
            train_member(name, splits.train, seeds[name], options, paths[name])
        document = torch.load(paths[name])
        member = Member(DESIGNS[design])
        member.load_state_dict(document["weights"])
        members.append(member)
        recipes[name] = document["recipe"]
    network = LineNetwork(members)
    metadata = {
        "classes": list(splits.train.classes),
        "beside": BESIDE,
        "data": {"name": "mnist", "fingerprint": splits.train.fingerprint()},
        "recipe": recipes,
        "parameters": sum(value.numel() for value in network.parameters()),
        "version": __version__,
        "reading": UNCALIBRATED,
    }
    model = with_metadata(lines_to_onnx(network), metadata)
    write_whole(options.out / "digits-lines.onnx", model)
    if options.package:
        write_whole(PACKAGE / "digits-lines.onnx", model)


if __name__ == "__main__":
    main()
