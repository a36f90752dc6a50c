"""A line's ink -> pieces between cuts -> candidates for characters, each in the form that the model sees.

The line is over-segmented: every gap, and every path from top to bottom that crosses little ink (Wang and Jean 1994,
"Segmentation of merged characters by neural networks and shortest path"), is a cut; any few neighbouring pieces
together are a candidate.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging import fit_ink
from handwriting.reading.lines import Strip

Float = NDArray[np.float32]

SLANT_PRICE = 0.03  # of one step aside, in pixels of ink: straight cuts are preferred
WIDEST = 1.5  # of a candidate, in heights of the line
MOST_PIECES = 9
CLOSE = 0.035  # heights; nearer cuts are taken for one


@dataclass(frozen=True)
class Cuts:
    """Paths from the top of a strip to its bottom, left to right.

    Attributes:
        paths: int64 (n, h): the column at which each path passes each row; the first and last are the strip's ends.
        ink: float64 (n,): ink crossed, in pixels; 0 for a gap.
    """

    paths: NDArray[np.int64]
    ink: NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """Pieces ``start`` up to, not including, ``end`` of a line, taken for one character.

    Attributes:
        box: (x, y, w, h) in the strip.
        ink: float32 (h, w) in 0..1, its own strokes, with a pixel around them where the strip has one.
    """

    start: int
    end: int
    box: tuple[int, int, int, int]
    ink: Float

    def image(self) -> NDArray[np.uint8]:
        """The candidate as the model sees it, uint8 (28, 28)."""
        return fit_ink(self.ink)


FEATURES = (
    "width",
    "height",
    "off_middle",
    "ink",
    "left_cut",
    "right_cut",
    "inner_gap",
    "inner_gaps",
    "inner_cut",
    "density",
    "pieces",
)


def find_cuts(strip: Strip) -> Cuts:
    """A strip -> its cuts: one for each gap, and the cheapest ways through ink that could hold two characters."""
    ink = np.where(strip.mask > 0, np.maximum(strip.strength, 0.35), 0).astype(np.float32)
    high, wide = ink.shape
    row = int(np.clip(round(strip.middle + strip.slope * wide / 2), 1, high - 2)) if high > 3 else high // 2
    down, from_above = _cheapest(ink[: row + 1])
    up, from_below = _cheapest(ink[: row - 1 if row else None : -1] if row else ink[::-1])
    price = down + up - ink[row]
    places, through = _chosen(price, strip.height)
    paths = np.empty((len(places), high), np.int64)
    paths[:, : row + 1] = _traced(from_above, places)
    paths[:, row:] = _traced(from_below, places)[:, ::-1]
    dents, dent_ink = _between_dents(ink, strip.height)
    paths, through = _distinct(
        np.concatenate([paths, dents]), np.concatenate([through, dent_ink]), strip.mask, strip.height
    )
    ends = np.full((1, high), wide, np.int64)
    return Cuts(np.concatenate([0 * ends, paths, ends]), np.concatenate([[0.0], through, [0.0]]))


def _between_dents(ink: Float, height: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Straight cuts from a dent in the ink's upper outline to one in its lower outline -> paths (n, h), ink (n,).

    Where two round strokes press together the cut runs along the ink, which no cheapest path does, but both ends of
    it show as dents. A dent without a partner is cut from straight up or down.
    """
    high = len(ink)
    solid = ink > 0.3
    filled = np.asarray(solid.any(0), np.bool_)
    top = np.where(filled, solid.argmax(0), high)
    bottom = np.where(filled, high - 1 - solid[::-1].argmax(0), -1)
    above = _dents(np.where(filled, top, high).astype(np.float64), 0.05 * height)
    below = _dents(np.where(filled, high - 1 - bottom, high).astype(np.float64), 0.05 * height)
    pairs = {(x, x) for x in (*above, *below) if filled[x]}
    pairs |= {(x, z) for x in above for z in below if abs(x - z) < 0.45 * height and filled[x] and filled[z]}
    paths, crossed = [], []
    rows = np.arange(high)
    for x, z in sorted(pairs):
        path = np.rint(np.interp(rows, (top[x], max(bottom[z], top[x] + 1)), (x, z))).astype(np.int64)
        amount = float(ink[rows, path].sum())
        if amount < 0.62 * height:
            paths.append(path)
            crossed.append(max(amount, 0.3))
    return np.array(paths, np.int64).reshape(-1, high), np.array(crossed, np.float64)


def _dents(depth: NDArray[np.float64], least: float) -> list[int]:
    """Depth of the outline (w,) -> where it is deepest between two places that are less deep by ``least``."""
    found: list[int] = []
    lowest, deepest, at = depth[0], -np.inf, 0
    for x, value in enumerate(depth):
        if value > deepest:
            deepest, at = value, x
        if deepest - value >= least:
            if deepest - lowest >= least:
                same = np.flatnonzero(depth[at:x] >= deepest - 0.5)
                found.append(at + int(same[-1]) // 2 if len(same) else at)
            lowest, deepest = value, value
        if value < lowest:
            lowest, deepest = value, value
    return found


def _distinct(
    paths: NDArray[np.int64], ink: NDArray[np.float64], mask: NDArray[np.uint8], height: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cuts without near copies of cheaper ones, from left to right."""
    on_ink = paths[:, mask.any(1)]
    kept: list[int] = []
    close = max(1.6, CLOSE * height)
    for index in np.argsort(ink, kind="stable").tolist():
        if not (np.abs(on_ink[kept] - on_ink[index]).mean(1) < close).any():
            kept.append(index)
    kept.sort(key=on_ink.mean(1).__getitem__)
    return paths[kept], ink[kept]


def _cheapest(ink: Float) -> tuple[Float, NDArray[np.int8]]:
    """Ink (h, w) -> what the cheapest path from the top to each place of the last row crosses (w,), and its steps."""
    high, wide = ink.shape
    cost = ink[0].copy()
    steps = np.zeros((high, wide), np.int8)
    ways = np.full((3, wide), np.inf, np.float32)
    for row in range(1, high):
        ways[0] = cost
        ways[1, 1:] = cost[:-1] + SLANT_PRICE
        ways[2, :-1] = cost[1:] + SLANT_PRICE
        steps[row] = ways.argmin(0)
        cost = ways.min(0) + ink[row]
    return cost, steps


def _traced(steps: NDArray[np.int8], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Steps (h, w) and ends (n,) in the last row -> columns (n, h) of the paths to them."""
    high = len(steps)
    paths = np.empty((len(places), high), np.int64)
    at = places.copy()
    aside = np.array([0, -1, 1])
    for row in range(high - 1, -1, -1):
        paths[:, row] = at
        at = at + aside[steps[row, at]]
    return paths


def _chosen(price: Float, height: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Price of a cut at each column (w,) -> the columns to cut at, and what each cut crosses of ink."""
    gap = price < 0.3 + SLANT_PRICE * 0.8 * height
    edges = np.flatnonzero(np.diff(np.concatenate([[0], gap.astype(np.int8), [0]])))
    found: list[tuple[int, float]] = []
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    for start, end in runs:
        if start > 0 and end < len(price):
            inside = price[start:end]
            best = np.flatnonzero(inside <= inside.min() + 1e-3)
            found.append((int(start + best[len(best) // 2]), 0.0))
    bounds = [0, *[place for place, _ in found], len(price)]
    for left, right in pairwise(bounds):
        found.extend(_through(price, left, right, height))
    found.sort()
    return np.array([place for place, _ in found], np.int64), np.array([ink for _, ink in found], np.float64)


def _through(price: Float, left: int, right: int, height: float) -> list[tuple[int, float]]:
    """Cuts through the ink between two gaps: the cheapest valleys of the price, not close to each other."""
    inside = np.flatnonzero(price[left:right] > 0.3 + SLANT_PRICE * 0.8 * height) + left
    if len(inside) == 0 or inside[-1] - inside[0] < 0.42 * height:
        return []
    first, last = int(inside[0]), int(inside[-1])
    span = price[first : last + 1]
    apart = max(2, round(0.06 * height))
    lowest = cv2.erode(span[None], np.ones((1, 2 * apart + 1), np.uint8))[0]
    valleys = np.flatnonzero((span <= lowest + 1e-4) & (span < 0.45 * height))
    margin = 0.1 * height
    chosen: list[tuple[int, float]] = []
    most = int(np.ceil((last - first) / height * 6))
    for place in sorted(valleys, key=lambda at: float(span[at])):
        if margin <= place <= last - first - margin and all(abs(place + first - other) > apart for other, _ in chosen):
            chosen.append((int(place + first), float(span[place])))
        if len(chosen) >= most:
            break
    return chosen


def candidates(strip: Strip, cuts: Cuts) -> list[Candidate]:
    """A line and its cuts -> every run of neighbouring pieces that is not too wide for one character."""
    ink = strip.mask > 0
    columns = np.arange(strip.mask.shape[1])
    count = len(cuts.paths) - 1
    low, high = cuts.paths.min(1), cuts.paths.max(1)
    found: list[Candidate] = []
    for start in range(count):
        for end in range(start + 1, min(start + MOST_PIECES, count) + 1):
            left, right = max(int(low[start]) - 1, 0), int(high[end]) + 1
            inside = (columns[left:right] >= cuts.paths[start][:, None]) & (
                columns[left:right] < cuts.paths[end][:, None]
            )
            own = inside & ink[:, left:right]
            rows, across = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
            if len(rows) == 0:
                if end == start + 1:
                    break  # a piece without ink begins no character
                continue
            box = (left + int(across[0]), int(rows[0]), int(across[-1] - across[0]) + 1, int(rows[-1] - rows[0]) + 1)
            if box[2] > WIDEST * strip.height and end > start + 1:
                break
            if found and found[-1].start == start and found[-1].box == box and cuts.ink[end - 1] == cuts.ink[end] == 0:
                continue  # only an empty piece was added
            if max(box[2], box[3]) < 0.2 * strip.height:
                continue
            found.append(Candidate(start, end, box, _ink(strip, box, inside, left)))
    return found


def _ink(strip: Strip, box: tuple[int, int, int, int], inside: NDArray[np.bool_], left: int) -> Float:
    x, y, w, h = box
    high, wide = strip.mask.shape
    x0, x1 = max(x - 1, left, 0), min(x + w + 1, left + inside.shape[1], wide)
    rows = slice(max(y - 1, 0), min(y + h + 1, high))
    return np.where(inside[rows, x0 - left : x1 - left], strip.strength[rows, x0:x1], 0).astype(np.float32)


def inks(strip: Strip, cuts: Cuts) -> NDArray[np.float64]:
    """A line and its cuts -> the ink of each piece, in square heights of the line."""
    mask, rows = strip.mask, np.arange(len(strip.mask))
    sums = np.concatenate([np.zeros((len(mask), 1), np.int64), np.cumsum(mask, axis=1, dtype=np.int64)], axis=1)
    before = np.array([int(sums[rows, path].sum()) for path in cuts.paths])
    return np.asarray(np.maximum(np.diff(before), 0) / strip.height**2, np.float64)


def shape(strip: Strip, candidate: Candidate) -> tuple[float, float, float]:
    """Width and height of a candidate, and how far its middle lies below the line's, in heights of the line."""
    x, y, w, h = candidate.box
    below = y + h / 2 - strip.middle - strip.slope * (x + w / 2)
    return w / strip.height, h / strip.height, below / strip.height


def features(strip: Strip, cuts: Cuts, candidate: Candidate) -> NDArray[np.float64]:
    """A candidate's geometry, in heights of the line -> float64 (n,), what ``FEATURES`` names."""
    height, total = strip.height, float(candidate.ink.sum())
    holes = np.flatnonzero((candidate.ink > 0.3).any(0))
    inner = cuts.ink[candidate.start + 1 : candidate.end]
    return np.array(
        [
            *shape(strip, candidate),
            total / height**2,
            cuts.ink[candidate.start] / height,
            cuts.ink[candidate.end] / height,
            float(np.diff(holes).max(initial=1) - 1) / height,
            float(np.count_nonzero(inner == 0)),
            float(inner[inner > 0].min()) / height if (inner > 0).any() else 0.3,
            total / (candidate.box[2] * candidate.box[3]),
            float(candidate.end - candidate.start),
        ]
    )
