"""Simulated hands: MNIST digits restyled, each hand in its own consistent way -> uint8 (N, 28, 28) in normal form.

No public set holds hundreds of digits of one person, so a new hand is made: a few writers' digits share one `Hand`,
which slants, narrows, thins or thickens them, bends every digit of a class in the same way, and adds that hand's habits
(a crossed 7, a foot under the 1, a slashed 0, a loop in the 2, serifs). Each digit deviates a little from its hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.data import Dataset
from handwriting.imaging import fit_ink

_UP = 4  # strokes are drawn and thinned at this many times the size
_SIZE = 28 * _UP
_HABITS: dict[str, tuple[int, ...]] = {
    "crossed": (7,),
    "foot": (1,),
    "flag": (1,),
    "slash": (0,),
    "loop": (2,),
    "tail": (9,),
    "bar": (4,),
    "serif": (3, 5, 6, 8),
}


@dataclass(frozen=True)
class Hand:
    """How one person writes. Lengths are shares of the ink's height unless said otherwise.

    Attributes:
        slant: sideways shift per height, positive leans right.
        aspect: width is multiplied by it.
        stroke: change of the pen's width, in pixels of the 28x28 picture.
        bends: float32 (10, 2, 4, 4), the coarse displacement field of each class, in pixels of the 28x28 picture.
        habits: names of `_HABITS`.
    """

    slant: float
    aspect: float
    stroke: float
    bends: NDArray[np.float32]
    habits: frozenset[str]

    @staticmethod
    def draw(generator: np.random.Generator) -> Hand:
        """A hand like no other of this generator."""
        return Hand(
            slant=float(generator.uniform(-0.45, 0.45)),
            aspect=float(np.exp(generator.uniform(-0.4, 0.4))),
            stroke=float(generator.uniform(-1.1, 1.1)),
            bends=generator.normal(0, 1.5, (10, 2, 4, 4)).astype(np.float32),
            habits=frozenset(name for name in _HABITS if generator.random() < 0.5),
        )

    def write(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Digits uint8 (N, 28, 28) and labels (N,) -> the same digits in this hand, in normal form."""
        pairs = zip(images, labels.tolist(), strict=True)
        return np.stack([self._write_one(image, label, generator) for image, label in pairs])

    def _write_one(self, image: NDArray[np.uint8], label: int, generator: np.random.Generator) -> NDArray[np.uint8]:
        ink = cv2.resize(image, (_SIZE, _SIZE), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
        for habit, digits in _HABITS.items():
            if label in digits and habit in self.habits:
                _add(habit, ink, generator)
        written = self._thin(self._bend(ink, label, generator))
        x, y, width, height = cv2.boundingRect((written > 60).astype(np.uint8))
        return fit_ink(written[y : y + height, x : x + width])

    def _bend(self, ink: NDArray[np.uint8], label: int, generator: np.random.Generator) -> NDArray[np.uint8]:
        """The slant, the width and the class's own bend, in one sampling."""
        coarse = self.bends[label] + generator.normal(0, 0.3, (2, 4, 4)).astype(np.float32)
        shift = [cv2.resize(part * _UP, (_SIZE, _SIZE), interpolation=cv2.INTER_CUBIC) for part in coarse]
        y, x = np.mgrid[:_SIZE, :_SIZE].astype(np.float32) - _SIZE / 2
        slant = self.slant + generator.normal(0, 0.05)
        aspect = self.aspect * np.exp(generator.normal(0, 0.05))
        from_x = (x + slant * y) / max(aspect, 1.0) * (1.0 if aspect >= 1 else 1 / aspect)
        across, down = from_x + shift[0] + _SIZE / 2, y * 1.15 + shift[1] + _SIZE / 2
        bent = cv2.remap(ink, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)
        return bent.astype(np.uint8)

    def _thin(self, ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The pen's width changed by `stroke`; at least a thin line of every stroke stays."""
        drawn = (ink > 110).astype(np.uint8)
        reach = self.stroke / 2 * _UP
        if reach > 0:
            near = cv2.distanceTransform(1 - drawn, cv2.DIST_L2, 5)
            return np.asarray(np.clip(reach - near + 1, 0, 1) * 255, np.uint8)
        depth = cv2.distanceTransform(drawn, cv2.DIST_L2, 5)
        ridge = depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8)) - 1e-3
        spine = cv2.dilate((ridge & (drawn > 0)).astype(np.uint8), np.ones((5, 5), np.uint8))
        kept = np.maximum(np.clip(depth + reach, 0, 1), spine * drawn)
        return np.asarray(kept * 255, np.uint8)


def _add(habit: str, ink: NDArray[np.uint8], generator: np.random.Generator) -> None:
    """Draw one habit's stroke onto the ink, with a pen as wide as the strokes there."""
    x, y, width, height = cv2.boundingRect((ink > 110).astype(np.uint8))
    width_of_pen = 2 * float(cv2.distanceTransform((ink > 110).astype(np.uint8), cv2.DIST_L2, 5).max())
    pen = max(int(min(width_of_pen, 3.0 * _UP) * 0.8), 1)

    def at(across: float, down: float) -> tuple[int, int]:
        jitter = generator.normal(0, 0.04 * height, 2)
        return int(x + across * width + jitter[0]), int(y + down * height + jitter[1])

    def top(part: slice) -> tuple[float, float]:
        """Where the ink of a horizontal slice is, as shares of the box: its left and right end."""
        columns = np.flatnonzero((ink[part, x : x + width] > 110).any(axis=0))
        return (float(columns[0] / width), float(columns[-1] / width)) if len(columns) else (0.5, 0.5)

    first = slice(y, y + max(height // 6, 1))
    last = slice(y + height - max(height // 6, 1), y + height)
    reach = 0.3 * height / max(width, 1)  # so that marks on a narrow 1 are as long as on others
    if habit == "crossed":
        cv2.line(ink, at(0.2, 0.52), at(0.95, 0.48), 255, pen)
    elif habit == "foot":
        low, high = top(last)
        cv2.line(ink, at(low - reach, 1.0), at(high + reach, 1.0), 255, pen)
    elif habit == "flag":
        low, _ = top(first)
        cv2.line(ink, at(low, 0.02), at(low - reach, 0.28), 255, pen)
    elif habit == "slash":
        cv2.line(ink, at(-0.05, 1.02), at(1.05, -0.02), 255, pen)
    elif habit == "loop":
        low, _ = top(last)
        centre = at(low + 0.12, 0.88)
        cv2.ellipse(ink, centre, (int(0.17 * height), int(0.11 * height)), 20, 0, 360, 255, pen)
    elif habit == "tail":
        low, high = top(last)
        cv2.line(ink, at((low + high) / 2, 0.98), at((low + high) / 2 - 2 * reach, 0.94), 255, pen)
    elif habit == "bar":
        _, high = top(first)
        cv2.line(ink, at(high, 0.0), at(high - reach, -0.02), 255, pen)
    else:
        _, high = top(first)
        cv2.line(ink, at(high, 0.02), at(high + 0.3 * reach, 0.2), 255, pen)


def people(part: Dataset, count: int, each: int, generator: np.random.Generator) -> Iterator[tuple[Hand, Dataset]]:
    """A part with known writers -> `count` persons: a Hand, and the restyled digits, exactly `each` of every class.

    Writers are dealt in random order, whole, to one person until that person has enough of every class; the deal goes
    round again when the writers run out, so a digit may serve several persons, in different hands.
    """
    assert part.writers is not None, "who wrote what is not known: qmnist_writers.npz is missing"
    deck: list[int] = []
    for _ in range(count):
        hand, held = Hand.draw(generator), np.zeros(0, np.int64)
        while np.bincount(part.labels[held], minlength=len(part.classes)).min() < each:
            if not deck:
                deck = generator.permutation(np.unique(part.writers)).tolist()
            held = np.union1d(held, np.flatnonzero(part.writers == deck.pop()))
        chosen = [generator.permutation(held[part.labels[held] == label])[:each] for label in range(len(part.classes))]
        rows = np.concatenate(chosen)
        images = hand.write(part.images[rows], part.labels[rows], generator)
        yield hand, Dataset("person", images, part.labels[rows], part.classes, part.writers[rows])
