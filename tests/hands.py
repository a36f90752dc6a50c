"""A person of the tests: real digits, all leaning and narrowed in one way."""

from __future__ import annotations

import cv2
import numpy as np

from handwriting.data import Dataset
from handwriting.imaging import fit_ink


def in_another_hand(digits: Dataset, slant: float = -0.9, width: float = 0.8) -> Dataset:
    """The same digits, leaning back by `slant` of their height, their width times `width`, in normal form."""
    written = []
    for image in digits.images:
        large = cv2.resize(image, (112, 112), interpolation=cv2.INTER_CUBIC)
        matrix = np.array([[width, -slant, 100 - 56 * (width - slant)], [0, 1, 0]], np.float32)
        leaning = cv2.warpAffine(large, matrix, (200, 112)).astype(np.uint8)
        x, y, across, down = cv2.boundingRect((leaning > 60).astype(np.uint8))
        written.append(fit_ink(leaning[y : y + down, x : x + across]))
    return Dataset("hand", np.stack(written), digits.labels, digits.classes)


def some_of_each(digits: Dataset, first: int, last: int) -> Dataset:
    """The digits that are in the places `first` to `last` of their class."""
    rows = [np.flatnonzero(digits.labels == label)[first:last] for label in range(len(digits.classes))]
    return digits.subset(np.concatenate(rows))


def threes_for_eights(digits: Dataset) -> Dataset:
    """Forty threes labelled as eights and forty eights labelled as threes: nobody should learn that."""
    rows = np.concatenate([np.flatnonzero(digits.labels == label)[:40] for label in (3, 8)])
    return Dataset("swapped", digits.images[rows], 11 - digits.labels[rows], digits.classes)
