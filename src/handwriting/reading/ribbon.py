"""A line of a sheet -> its ribbon: the line made straight and of one size, as the line network sees it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.reading.lines import Strip
from handwriting.reading.sheet import Sheet

ROWS = 40  # pixels; the line's middle runs between rows 19 and 20
HEIGHT = 24  # pixels that the line's characters are brought to
RIM = 12  # pixels of a ribbon before and after the line's ink


@dataclass(frozen=True)
class Ribbon:
    """A line made straight.

    Attributes:
        image: uint8 (2, ROWS, w): the line's own ink without rules, and all ink that lies there, rules too.
        to_sheet: float64 (2, 3): from (x, y, 1) on the ribbon to the sheet's pixels.
    """

    image: NDArray[np.uint8]
    to_sheet: NDArray[np.float64]


def ribbon(sheet: Sheet, strip: Strip) -> Ribbon:
    """A line found on a sheet -> Ribbon."""
    scale = strip.height / HEIGHT
    wide = int(np.ceil(strip.mask.shape[1] / scale)) + 2 * RIM
    # On the strip, x = (u - RIM) scale and y = middle + slope x + (v - ROWS / 2) scale, pixel centres at halves.
    across = (0.5 - RIM) * scale - 0.5
    down = strip.middle + strip.slope * across + (0.5 - ROWS / 2) * scale - 0.5
    to_strip = np.array([(scale, 0, across), (strip.slope * scale, scale, down)])
    to_sheet = to_strip.copy()
    to_sheet[:, 2] += strip.corner
    image = np.stack([_seen(strip.strength, to_strip, wide, scale), _seen(sheet.ruled, to_sheet, wide, scale)])
    return Ribbon(image, to_sheet)


def _seen(ink: NDArray[np.float32], matrix: NDArray[np.float64], wide: int, scale: float) -> NDArray[np.uint8]:
    high, broad = ink.shape
    # Only the part that the ribbon shows is smoothed: a page's every line would otherwise smooth the page.
    corners = matrix[:, :2] @ np.array([(0, wide, 0, wide), (0, 0, ROWS, ROWS)]) + matrix[:, 2:]
    x, y = np.maximum(np.floor(corners.min(1)).astype(int) - 3, 0)
    right, bottom = np.minimum(np.ceil(corners.max(1)).astype(int) + 3, (broad, high))
    part = ink[y:bottom, x:right]
    if part.size == 0:
        return np.zeros((ROWS, wide), np.uint8)
    if scale > 1.2:
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 * scale), np.float32)
    moved = matrix - np.array([(0, 0, x), (0, 0, y)])
    seen = cv2.warpAffine(part, moved, (wide, ROWS), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(np.rint(seen * 255), np.uint8)
