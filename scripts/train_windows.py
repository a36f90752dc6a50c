"""Train and package the window network: MNIST's train part in, reading/digits-windows.onnx out.

    python scripts/train_windows.py --out runs/windows                # after scripts/train_lines.py
    python scripts/train_windows.py --out runs/windows --package      # into the package
    python scripts/train_windows.py --out runs/again --trained runs/windows/float.onnx    # into 8 bits, no training

It learns from lines that `learning.composing` writes, mostly of digits that touch, with the writers that the line
network learned from, photographed, found and cut by `reading`, and scored by the shipped classifier and the line
network of the package: what those two get wrong is what it learns. It is float.onnx; digits-windows.onnx has its
convolutions in 8 bits, by the range of activations on such lines. Afterwards `python benchmarks/tune_reading.py lines`
chooses on strangers' digits how far it is trusted. MNIST test is not opened.
"""

from __future__ import annotations

import argparse
import platform
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from copy import deepcopy
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from in_8_bits import in_8_bits, in_float
from numpy.typing import NDArray
from torch import nn
from train_lines import PACKAGE, gather, marks_of, seen_owners

from handwriting import __version__
from handwriting.classifier import Classifier, load, with_metadata
from handwriting.data import load as load_data
from handwriting.data import split
from handwriting.files import write_whole
from handwriting.learning.composing import OTHER, TOUCHING, Material, Scene, compose
from handwriting.learning.export import windows_to_onnx
from handwriting.learning.windows import NONE, UNKNOWN, CutLine, train_windows
from handwriting.reading.lines import Strip
from handwriting.reading.page import lattices_of
from handwriting.reading.pieces import Cuts
from handwriting.reading.sequence import LineModel
from handwriting.reading.sheet import Sheet, lay_out
from handwriting.reading.windows import windows

EASY, EASY_KEPT = 0.02, 0.15  # nats: of lines whose truth lacks less than this already, only this share is kept
RANGED = 40  # composed pictures that the range of activations is taken from
MOST_CANDIDATES = 250  # of a line: more take too much memory
LEAST_SCORE = -60.0  # nats
FEW = 5  # pixels: a mark with no more of them on a line is not on it
# Shares of marks' ink: from the first on a candidate holds all of it; below the second it surely does not; and how much
# of another mark leaves no doubt that it holds one alone, and how much that it does not.
WHOLE, PART, CLEAN, MIXED = 0.65, 0.55, 0.25, 0.4


def cut_lines(material: Material, scenes: int, seed: int) -> list[CutLine]:
    """So many composed pictures -> lines of digits found in them, cut, and scored by all but the window network."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    classifier, model = load("digits"), LineModel((PACKAGE / "digits-lines.onnx").read_bytes())
    return [line for _ in range(scenes) for line in _of_scene(material, classifier, model, rng)]


def _of_scene(material: Material, classifier: Classifier, model: LineModel, rng: np.random.Generator) -> list[CutLine]:
    scene = compose(material, rng)
    sheet = lay_out(scene.picture)
    lines = []
    for lattice in lattices_of(sheet, classifier, model):
        text = np.array([mark[0] for mark in marks_of(scene, sheet, lattice.strip)], np.int64)
        looked_at = np.flatnonzero(np.isfinite(lattice.labels.max(1)))
        if len(text) == 0 or OTHER in text or len(looked_at) > MOST_CANDIDATES:
            continue
        chosen = [lattice.candidates[own] for own in looked_at]
        start, end = (np.array([getattr(own, side) for own in chosen], np.int64) for side in ("start", "end"))
        scores = np.maximum(lattice.labels[looked_at], LEAST_SCORE)
        seen = windows(sheet, lattice.strip, lattice.cuts, chosen)
        holds = held(scene, sheet, lattice.strip, lattice.cuts, start, end)
        line = CutLine(seen, start, end, scores, lattice.passed, holds, text)
        if EASY < line.lacks < np.inf or (line.lacks <= EASY and rng.random() < EASY_KEPT):
            lines.append(line)
    return lines


def held(
    scene: Scene, sheet: Sheet, strip: Strip, cuts: Cuts, start: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.int64]:
    """A line's candidates by their cuts (n,) -> which digit each holds (n,): most of its ink and little of any other;
    NONE where that is surely not so, UNKNOWN else."""
    to_strip = np.array([(1.0, 0, strip.corner[0]), (0, 1.0, strip.corner[1])])
    own = seen_owners(scene.owners, sheet.way_back, to_strip, (strip.mask.shape[1], strip.mask.shape[0]))
    high, wide = own.shape
    inked = own[None] == np.arange(1, len(scene.labels) + 1)[:, None, None]
    until = np.concatenate([np.zeros((len(inked), high, 1), np.int64), np.cumsum(inked, axis=2)], axis=2)
    left_of = np.stack([until[:, np.arange(high), path.clip(0, wide)].sum(1) for path in cuts.paths])  # (cuts, marks)
    there = left_of[-1] > FEW
    share = (left_of[end] - left_of[start]) * there / np.maximum(left_of[-1], 1)
    most, second = np.sort(np.pad(share, ((0, 0), (0, 1))), axis=1)[:, :-3:-1].T
    digit = np.array(scene.labels)[share.argmax(1)]
    holds = np.where(((most >= WHOLE) & (second >= MIXED)) | (most < PART), NONE, UNKNOWN)
    return np.where((most >= WHOLE) & (second <= CLEAN), np.where(digit == OTHER, NONE, digit), holds)


class Ahead:
    """Each epoch's lines: its own and those of the epochs before, ``window`` in all, made by processes ahead of it."""

    def __init__(self, material: Material, options: argparse.Namespace) -> None:
        self._pool = ProcessPoolExecutor(options.processes, get_context("spawn"))
        self._material, self._options = material, options
        self._held: deque[list[CutLine]] = deque(maxlen=options.window)
        self._next = self._submitted(1)

    def _submitted(self, epoch: int) -> list[Future[list[CutLine]]]:
        count, seed = self._options.processes, self._options.seed * 10_000 + epoch * 100
        scenes = self._options.scenes // count
        return [self._pool.submit(cut_lines, self._material, scenes, seed + number) for number in range(count)]

    def lines(self, epoch: int) -> list[CutLine]:
        """An epoch's, epochs in turn from 1."""
        self._held.append([line for part in self._next for line in part.result()])
        if epoch < self._options.epochs:
            self._next = self._submitted(epoch + 1)
        else:
            self._pool.shutdown()
        return [line for part in self._held for line in part]


def main() -> None:
    """Compose, train, export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/windows"))
    parser.add_argument("--data-dir", help="where the MNIST files are (default: HANDWRITING_DATA, or downloaded)")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--scenes", type=int, default=800, help="composed pictures, new ones each epoch")
    parser.add_argument("--window", type=int, default=2, help="epochs that a picture's lines are learned from")
    parser.add_argument("--processes", type=int, default=1, help="that compose")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--trained", type=in_float, help="the float.onnx of an earlier run, instead of training")
    parser.add_argument("--package", action="store_true", help="write the model into the package too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train = split(load_data("mnist", data_dir=options.data_dir), by="writer").train
    material = gather(train, options.seed, TOUCHING)
    network = options.trained or trained(material, train.fingerprint(), options)
    # The range of activations is taken from lines that no epoch had.
    seen = np.concatenate([line.windows for line in cut_lines(material, RANGED, options.seed * 10_000)])
    batches = np.array_split(seen, max(len(seen) // 100, 1))
    model = in_8_bits(network.read_bytes(), batches, f"{len(seen):,} windows of composed lines of train")
    write_whole(options.out / "digits-windows.onnx", model)
    if options.package:
        write_whole(PACKAGE / "digits-windows.onnx", model)


def trained(material: Material, fingerprint: str, options: argparse.Namespace) -> Path:
    """Trains -> out/float.onnx, which tells how it was made."""
    ahead = Ahead(material, options)
    recipe = {name: getattr(options, name) for name in ("epochs", "scenes", "window", "processes", "seed")}
    recipe["hardware"] = f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}"
    told: list[tuple[float, float]] = []
    for epoch in train_windows(
        ahead.lines, epochs=options.epochs, generator=torch.Generator().manual_seed(options.seed)
    ):
        told.append((round(epoch.before, 4), round(epoch.loss, 4)))
        nats = f"{epoch.before:.4f} -> {epoch.loss:.4f} nats a line"
        print(f"epoch {epoch.number}: {nats}, {epoch.seconds:.0f} s", flush=True)
        model = as_file(epoch.network, {**recipe, "nats": told}, fingerprint)
        path = write_whole(options.out / "float.onnx", model)  # so that a training cut short is not for nothing
    return path


def as_file(network: nn.Module, recipe: dict[str, Any], fingerprint: str) -> bytes:
    """A window network, how it was trained, on what -> its file."""
    own = deepcopy(network)  # the trainer goes on with its own
    own.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    metadata = {
        "data": {"name": "mnist", "fingerprint": fingerprint},
        "recipe": recipe,
        "parameters": sum(value.numel() for value in own.parameters()),
        "version": __version__,
    }
    return with_metadata(windows_to_onnx(own), metadata)


if __name__ == "__main__":
    main()
