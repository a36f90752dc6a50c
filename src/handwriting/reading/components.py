"""A mask of ink -> the pixels that are ink, and what hangs together.

A page is nearly all paper: what passes over its pixels one by one takes longer than all that is done with the ink.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]


def inked(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ink (h, w), not 0 where it is -> rows and columns (n,) of its pixels, row by row, as `numpy.nonzero` gives them,
    in a twentieth of the time."""
    rows, columns = np.divmod(np.flatnonzero(mask != 0), mask.shape[1])
    return rows, columns


def parts(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Ink -> its components' numbers (h, w), 0 off the ink, and their boxes and areas (n, 5), as
    `cv2.connectedComponentsWithStats` gives them, but first, for the ground, zeros.

    OpenCV's boxes pass over the ground pixel by pixel. Ink sorted by component gives them in a quarter of the time.
    """
    count, found = cv2.connectedComponents(mask, connectivity=8)
    labels, stats = np.asarray(found, np.int32), np.zeros((count, 5), np.int32)
    if count == 1:
        return labels, stats
    rows, columns = inked(mask)
    own = labels[rows, columns]
    order = np.argsort(own, kind="stable")  # row by row within each component
    rows, columns = rows[order], columns[order]
    areas = np.bincount(own, minlength=count)[1:]
    ends = np.cumsum(areas)
    starts = ends - areas
    left, top = np.minimum.reduceat(columns, starts), rows[starts]
    wide, high = np.maximum.reduceat(columns, starts) - left + 1, rows[ends - 1] - top + 1
    stats[1:] = np.stack([left, top, wide, high, areas], 1)
    return labels, stats
