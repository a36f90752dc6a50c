"""A line's ink -> pieces between cuts -> candidates for characters, each in the form that the model sees.

The line is over-segmented: every gap, and every path from top to bottom that crosses little ink (Wang and Jean 1994,
"Segmentation of merged characters by neural networks and shortest path"), is a cut; any few neighbouring pieces
together are a candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging import fit_ink
from handwriting.reading.lines import Strip

Float = NDArray[np.float32]

SLANT_PRICE = 0.03  # of one step aside, in pixels of ink: straight cuts are preferred
WIDEST = 1.55  # of a candidate, in heights of the line
MOST_PIECES = 6


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
        features: float64 (n,), what ``FEATURES`` names: its geometry, in heights of the line.
        image: uint8 (28, 28), as the model sees it.
    """

    start: int
    end: int
    box: tuple[int, int, int, int]
    features: NDArray[np.float64]
    image: NDArray[np.uint8]


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
    paths = np.empty((len(places) + 2, high), np.int64)
    paths[0], paths[-1] = 0, wide
    paths[1:-1, : row + 1] = _traced(from_above, places)
    paths[1:-1, row:] = _traced(from_below, places)[:, ::-1]
    paths = np.maximum.accumulate(paths, axis=0)
    return Cuts(paths, np.concatenate([[0.0], through, [0.0]]))


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
    for left, right in zip(bounds[:-1], bounds[1:], strict=True):
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
    apart = max(2, round(0.09 * height))
    lowest = cv2.erode(span[None], np.ones((1, 2 * apart + 1), np.uint8))[0]
    valleys = np.flatnonzero((span <= lowest + 1e-4) & (span < 0.45 * height))
    margin = 0.1 * height
    chosen: list[tuple[int, float]] = []
    most = int(np.ceil((last - first) / height * 5))
    for place in sorted(valleys, key=lambda at: float(span[at])):
        if margin <= place <= last - first - margin and all(abs(place + first - other) > apart for other, _ in chosen):
            chosen.append((int(place + first), float(span[place])))
        if len(chosen) >= most:
            break
    return chosen


def candidates(strip: Strip, cuts: Cuts) -> list[Candidate]:
    """A line and its cuts -> every run of neighbouring pieces that is not too wide for one character."""
    high, wide = strip.mask.shape
    steps = np.zeros((high, wide + 1), np.int32)
    rows = np.arange(high)
    for path in cuts.paths[1:-1]:
        np.add.at(steps, (rows, np.clip(path, 0, wide)), 1)
    piece = np.cumsum(steps[:, :wide], axis=1)
    piece_of_ink = np.where(strip.mask > 0, piece, -1)
    count = len(cuts.paths) - 1
    extents = _extents(piece_of_ink, count)
    found = []
    for start in range(count):
        if extents[start] is None:
            continue
        for end in range(start + 1, min(start + MOST_PIECES, count) + 1):
            candidate = _candidate(strip, cuts, piece, extents, start, end)
            if candidate is None:
                continue
            if candidate.box[2] > WIDEST * strip.height and end > start + 1:
                break
            found.append(candidate)
    return found


def _extents(piece: NDArray[np.int32], count: int) -> list[tuple[int, int, int, int] | None]:
    """Pieces' numbers (h, w), -1 off the ink -> for each its x0, y0, x1, y1, ends excluded, or None without ink."""
    ys, xs = np.nonzero(piece >= 0)
    owner = piece[ys, xs]
    low_x, low_y = np.full(count, 10**6), np.full(count, 10**6)
    high_x, high_y = np.full(count, -1), np.full(count, -1)
    np.minimum.at(low_x, owner, xs)
    np.minimum.at(low_y, owner, ys)
    np.maximum.at(high_x, owner, xs)
    np.maximum.at(high_y, owner, ys)
    return [
        (int(low_x[k]), int(low_y[k]), int(high_x[k]) + 1, int(high_y[k]) + 1) if high_x[k] >= 0 else None
        for k in range(count)
    ]


def _candidate(
    strip: Strip,
    cuts: Cuts,
    piece: NDArray[np.int32],
    extents: list[tuple[int, int, int, int] | None],
    start: int,
    end: int,
) -> Candidate | None:
    own = [extent for extent in extents[start:end] if extent is not None]
    if not own or extents[end - 1] is None:
        return None
    x0, y0 = min(e[0] for e in own), min(e[1] for e in own)
    x1, y1 = max(e[2] for e in own), max(e[3] for e in own)
    rim = (slice(max(y0 - 1, 0), y1 + 1), slice(max(x0 - 1, 0), x1 + 1))
    here = piece[rim]
    inside = (here >= start) & (here < end)
    ink = np.where(inside, strip.strength[rim], 0).astype(np.float32)
    height = strip.height
    w, h = x1 - x0, y1 - y0
    gaps = [own[k + 1][0] - max(e[2] for e in own[: k + 1]) for k in range(len(own) - 1)]
    inner = cuts.ink[start + 1 : end]
    total = float(ink.sum())
    features = np.array(
        [
            w / height,
            h / height,
            ((y0 + y1) / 2 - strip.middle - strip.slope * (x0 + x1) / 2) / height,
            total / height**2,
            cuts.ink[start] / height,
            cuts.ink[end] / height,
            max([0, *gaps]) / height,
            float(np.count_nonzero(inner == 0)),
            float(inner[inner > 0].min()) / height if (inner > 0).any() else 0.3,
            total / (w * h),
            float(end - start),
        ]
    )
    return Candidate(start, end, (x0, y0, w, h), features, fit_ink(ink))
