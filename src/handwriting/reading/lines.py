"""The ink of a sheet -> its lines of writing, from top to bottom; what stands in one row, from left to right."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.reading.components import inked, parts
from handwriting.reading.rules import LEAST_HEIGHT, THINNEST, writing_height
from handwriting.reading.sheet import Sheet

FARTHEST = 2.2  # heights between neighbours of one line
TALLEST = 8.0  # heights: what is taller, and thin (a character's strokes have 0.075 squares of ink), is in no line
# The widest disc inside a mark, as a share of its longest side, from which it is a hole in the sheet or a printed dot:
# holes in photos have 0.99. Of MNIST's 60,000 training digits none has more than 0.63, but small blotted 0s have 0.78.
DISC = 0.88
LEAST_TALL = 0.45  # heights, of the components that make a line
SMALLEST = 0.2  # heights of the page's writing, of other, smaller writing
SAME_ROW = 0.5  # heights between the middles of lines that stand in one row


@dataclass(frozen=True)
class Strip:
    """One line of writing, cut from the sheet.

    Attributes:
        strength: float32 (h, w) in 0..1, only this line's ink.
        mask: uint8 (h, w), 1 on this line's ink.
        corner: (x, y) of the strip on the sheet.
        height: of its characters, in pixels.
        slope, middle: the line's middle runs at ``middle + slope * x``, in the strip's pixels.
    """

    strength: NDArray[np.float32]
    mask: NDArray[np.uint8]
    corner: tuple[int, int]
    height: float
    slope: float
    middle: float


def find_lines(sheet: Sheet) -> list[Strip]:
    """A sheet -> its lines; no ink, no lines. Marks too small to be writing are left out."""
    labels, stats = parts(sheet.mask)
    height = writing_height(stats)
    if not height:
        return []
    boxes = stats.astype(np.float64)
    writing = (boxes[:, 3] < TALLEST * height) | (boxes[:, 4] > THINNEST * boxes[:, 3] ** 2)
    writing[0] = False  # the ground
    high = boxes[:, 3] > LEAST_TALL * height
    writing &= ~high | (_widest(sheet.mask, labels, len(boxes)) < DISC * boxes[:, 2:4].max(1))
    lines = _groups(boxes, np.flatnonzero(high & writing), height)
    members = _with_small_parts(lines, boxes, writing, height)
    heights = [height] * len(lines)
    # What is left may be lines of much smaller writing. One mark alone is a stain.
    rest = writing & (boxes[:, 3] >= max(LEAST_HEIGHT, SMALLEST * height))
    rest[[index for line in members for index in line]] = False
    if rest.any():
        height = float(np.median(boxes[rest, 3]))
        found = _groups(boxes, np.flatnonzero(rest & (boxes[:, 3] > LEAST_TALL * height)), height)
        smaller = [line for line in found if len(line) > 1]
        lines, members = lines + smaller, members + _with_small_parts(smaller, boxes, rest, height)
        heights += [height] * len(smaller)
    rows, columns = inked(sheet.mask)
    down = np.bincount(labels[rows, columns], weights=rows)
    middles = [float(down[line].sum() / boxes[line, 4].sum()) for line in lines]
    order = _in_reading_order(middles, [boxes[own, 0].min() for own in lines], max(heights, default=0))
    return [_cut_out(sheet, labels, boxes, lines[k], members[k], heights[k]) for k in order]


def _groups(boxes: NDArray[np.float64], tall: NDArray[np.int64], height: float) -> list[NDArray[np.int64]]:
    """Components' boxes (n, 5) and which of them are tall -> those of each line."""
    groups = _chained(boxes[tall], height)
    return [tall[groups == group] for group in range(int(groups.max()) + 1)] if len(tall) else []


def _widest(mask: NDArray[np.uint8], labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """Ink (h, w) and its components' labels -> the diameter (count,) of the widest disc inside each."""
    within = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    widest = np.zeros(count)
    np.maximum.at(widest, labels[mask > 0], within[mask > 0])
    return 2 * widest


def _in_reading_order(middles: list[float], lefts: list[float], height: float) -> list[int]:
    """Lines' middles down the sheet and left ends -> their numbers, row by row and in a row from left to right."""
    rows: list[list[int]] = []
    for number in sorted(range(len(middles)), key=middles.__getitem__):
        if rows and middles[number] - middles[rows[-1][0]] < SAME_ROW * height:
            rows[-1].append(number)
        else:
            rows.append([number])
    return [number for row in rows for number in sorted(row, key=lefts.__getitem__)]


def _chained(boxes: NDArray[np.float64], height: float) -> NDArray[np.int64]:
    """Tall components' boxes (n, 5) -> the line of each: side by side, overlapping in height, not far apart."""
    count = len(boxes)
    group = np.arange(count)
    x, y, w, h = boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]
    overlap = np.minimum.outer(y + h, y + h) - np.maximum.outer(y, y)
    gap = np.maximum.outer(x, x) - np.minimum.outer(x + w, x + w)
    level = overlap > 0.45 * np.minimum(np.minimum.outer(h, h), height)
    for first, second in np.argwhere(np.triu(level & (gap < FARTHEST * height), 1)):
        old, new = group[second], group[first]
        if old != new:
            group[group == old] = new
    return np.unique(group, return_inverse=True)[1].astype(np.int64) if count else group


def _with_small_parts(
    lines: list[NDArray[np.int64]], boxes: NDArray[np.float64], writing: NDArray[np.bool_], height: float
) -> list[list[int]]:
    """Broken bits, dots and dashes join the line that they lie in."""
    members = [list(map(int, line)) for line in lines]
    known = {index for line in members for index in line}
    for index in np.flatnonzero(writing).tolist():
        if index in known or boxes[index, 4] < max(6.0, 0.004 * height**2):
            continue
        x, y, w, h = boxes[index, :4]
        best, nearest = None, 0.9 * height
        for number, line in enumerate(lines):
            near = boxes[line]
            aside = np.maximum(np.maximum(near[:, 0] - (x + w), x - (near[:, 0] + near[:, 2])), 0)
            beyond = np.maximum(np.maximum(near[:, 1] - (y + h / 2), y + h / 2 - (near[:, 1] + near[:, 3])), 0)
            distance = float((aside + 3 * beyond).min())
            if distance < nearest:
                best, nearest = number, distance
        if best is not None:
            members[best].append(index)
    return members


def _cut_out(
    sheet: Sheet,
    labels: NDArray[np.int32],
    boxes: NDArray[np.float64],
    tall: NDArray[np.int64],
    own: list[int],
    page_height: float,
) -> Strip:
    left, top = boxes[own, 0].min(), boxes[own, 1].min()
    right, bottom = (boxes[own, 0] + boxes[own, 2]).max(), (boxes[own, 1] + boxes[own, 3]).max()
    x0, y0 = max(int(left) - 2, 0), max(int(top) - 2, 0)
    place = (slice(y0, int(bottom) + 2), slice(x0, int(right) + 2))
    chosen = np.zeros(int(labels.max()) + 1, np.uint8)
    chosen[own] = 1
    mask = chosen[labels[place]]
    others = (labels[place] > 0) & (mask == 0)
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    strength = np.where(others, 0, sheet.strength[place] * near).astype(np.float32)
    heights = boxes[tall, 3]
    height = float(np.median(heights[heights > 0.6 * heights.max()]))
    middles = boxes[tall, 1] + boxes[tall, 3] / 2 - y0
    centres = boxes[tall, 0] + boxes[tall, 2] / 2 - x0
    slope = 0.0
    if len(tall) >= 3 and np.ptp(centres) > 2.5 * page_height:
        slope = float(np.clip(np.polyfit(centres, middles, 1)[0], -0.12, 0.12))
    return Strip(strength, mask, (x0, y0), height, slope, float(np.median(middles - slope * centres)))
