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
        image: uint8 (2, rows, w): the line's own ink without rules, and all ink that lies there, rules too.
        to_sheet: float64 (2, 3): from (x, y, 1) on the ribbon to the sheet's pixels.
    """

    image: NDArray[np.uint8]
    to_sheet: NDArray[np.float64]


def ribbon(sheet: Sheet, strip: Strip) -> Ribbon:
    """A line found on a sheet -> its Ribbon, as the line network sees it."""
    return straightened(sheet, strip, HEIGHT, ROWS, RIM)


def straightened(sheet: Sheet, strip: Strip, height: int, rows: int, rim: int) -> Ribbon:
    """A line found on a sheet -> a Ribbon of ``rows``, its characters ``height`` high, ``rim`` columns beside ink."""
    scale = strip.height / height
    wide = int(np.ceil(strip.mask.shape[1] / scale)) + 2 * rim
    # On the strip, x = (u - rim) scale and y = middle + slope x + (v - rows / 2) scale, pixel centres at halves.
    across = (0.5 - rim) * scale - 0.5
    down = strip.middle + strip.slope * across + (0.5 - rows / 2) * scale - 0.5
    to_strip = np.array([(scale, 0, across), (strip.slope * scale, scale, down)])
    to_sheet = to_strip.copy()
    to_sheet[:, 2] += strip.corner
    size = (wide, rows)
    image = np.stack([_seen(strip.strength, to_strip, size, scale), _seen(sheet.ruled, to_sheet, size, scale)])
    return Ribbon(image, to_sheet)


def _seen(
    ink: NDArray[np.float32], matrix: NDArray[np.float64], size: tuple[int, int], scale: float
) -> NDArray[np.uint8]:
    wide, rows = size
    high, broad = ink.shape
    # Only the part that the ribbon shows is smoothed: a page's every line would otherwise smooth the page.
    corners = matrix[:, :2] @ np.array([(0, wide, 0, wide), (0, 0, rows, rows)]) + matrix[:, 2:]
    x, y = np.maximum(np.floor(corners.min(1)).astype(int) - 3, 0)
    right, bottom = np.minimum(np.ceil(corners.max(1)).astype(int) + 3, (broad, high))
    part = ink[y:bottom, x:right]
    if part.size == 0:
        return np.zeros((rows, wide), np.uint8)
    if scale > 1.2:
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 * scale), np.float32)
    moved = matrix - np.array([(0, 0, x), (0, 0, y)])
    seen = cv2.warpAffine(part, moved, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(np.rint(seen * 255), np.uint8)
