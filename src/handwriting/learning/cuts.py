"""What is no whole character, cut from characters: what a reader meets where it cuts a number in the wrong place.

``synthesis.negatives`` has many more kinds, for training from nothing; this needs no torch, and a second for thousands.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging import fit_ink

_ROOM = 4  # rows above and below the line, by which a neighbour may be out of step
_INK = 60  # levels below this do not count towards a box


def bad_cuts(images: NDArray[np.uint8], count: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Characters uint8 (N, 28, 28) -> images of what is not one whole character, uint8 (count, 28, 28).

    Two neighbours in one box (two in five); one and 40 to 80% of the other (two); the right part of one with the left
    part of the next (one). Some few look like a character all the same.
    """
    pairs = generator.integers(len(images), size=(count, 2))
    return np.stack([_bad_cut(images[first], images[second], generator) for first, second in pairs])


def _bad_cut(first: NDArray[np.uint8], second: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    ink, begins = _side_by_side(first, second, generator)
    left, right = 0, ink.shape[1]
    kind = generator.integers(5)
    kept = generator.uniform(*((0.25, 0.65) if kind == 4 else (0.4, 0.8)), 2)
    if kind in (2, 4):
        left = begins - round(kept[0] * begins)
    if kind in (3, 4):
        right = begins + round(kept[1] * (right - begins))
    x, y, width, height = cv2.boundingRect((ink[:, left:right] > _INK).astype(np.uint8))
    return fit_ink(ink[y : y + height, left + x : left + x + width])


def _side_by_side(
    first: NDArray[np.uint8], second: NDArray[np.uint8], generator: np.random.Generator
) -> tuple[NDArray[np.uint8], int]:
    """Two characters (28, 28) -> both on one line, close or touching, and the column where the second begins."""
    (x, _, width, _), (start, _, wide, _) = cv2.boundingRect(first), cv2.boundingRect(second)
    begins = max(width + int(generator.integers(-4, 3)), 0)
    drop = int(generator.integers(2 * _ROOM + 1))
    ink = np.zeros((28 + 2 * _ROOM, max(begins + wide, width)), np.uint8)
    ink[_ROOM : _ROOM + 28, :width] = first[:, x : x + width]
    place = ink[drop : drop + 28, begins : begins + wide]
    np.maximum(place, second[:, start : start + wide], out=place)
    return ink, begins
