"""Ruled, graph and box lines: found, and taken out without eating the strokes that cross them.

Everything here is written for lines along the rows; columns are done on the transposed picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging.ink import shrunk

# Rules are looked for up to this slope (0.1 is 5.7 degrees) and thickness (share of the picture's longest side) ...
MOST_SLOPE, MOST_THICK = 0.1, 0.05
# ... from this length on (share of the side along which they run), and at most so many in each direction.
LEAST_LENGTH, MOST_RULES = 0.4, 24
FAINT = 0.7  # a line with less of the writing's ink is printed
SEARCH_SIDE = 160  # the longest side of the picture in which they are looked for


@dataclass(frozen=True)
class Rule:
    """A line whose centre is at ``row + slope * column`` for columns ``start`` to ``end``."""

    row: float
    slope: float
    start: int
    end: int
    half: int  # pixels on either side of the centre that belong to it
    level: float  # its ink
    to_edge: tuple[bool, bool] = (True, True)  # whether the very first and last column have its ink

    def scaled(self, scale: float) -> Rule:
        """The same line in a picture ``scale`` times as large."""
        start, end = (round((c + 0.5) * scale - 0.5) for c in (self.start, self.end))
        row = (self.row + 0.5) * scale - 0.5 + self.slope * (scale - 1) / 2
        return Rule(row, self.slope, start, end, math.ceil(self.half * scale), self.level, self.to_edge)

    def at(self, column: float) -> float:
        """The row of the centre at a column."""
        return self.row + self.slope * column


def erase_rules(strength: NDArray[np.float32], full: float, floor: float) -> tuple[NDArray[np.float32], int]:
    """Ink strength (h, w) -> (the same without rules and box lines, how many were taken out).

    A line is taken for a rule when it is straight, thin, and ends on both sides at the edge of the picture or at
    another such line (a box), and when what remains without it is writing with room around it. The bar of a 7 and the
    foot of a 1 end in the open; in a tight cut, where they reach the edge, the rest of the digit does too. A stem that
    reaches both edges has the rest of its digit on both sides.

    Args:
        strength: ink, 0 on paper.
        full: ink strength of the writing.
        floor: strength below which there is no ink.
    """
    small = shrunk(strength, SEARCH_SIDE)
    scale = max(strength.shape) / max(small.shape)
    level = max(floor, 0.15 * full)
    found = _anchored(find_rules(small, level), find_rules(np.ascontiguousarray(small.T), level), small.shape, full)
    across, down = (tuple(rule.scaled(scale) for rule in rules) for rules in found)
    for rows, columns in dict.fromkeys(((across, down), (across, ()), ((), down))):
        if rows or columns:
            kept = _without(strength, rows, full)
            kept = np.ascontiguousarray(_without(np.ascontiguousarray(kept.T), columns, full).T)
            if _is_writing(kept, rows, columns, full):
                return kept, len(rows) + len(columns)
    return strength, 0


def find_rules(strength: NDArray[np.float32], level: float) -> list[Rule]:
    """Ink strength (h, w) -> straight thin lines along the rows, the most covered first."""
    width = strength.shape[1]
    thick = max(3, round(MOST_THICK * max(strength.shape)))
    # What is thin from top to bottom: an opening with a column keeps everything that is not.
    thin = strength - cv2.morphologyEx(strength, cv2.MORPH_OPEN, np.ones((2 * thick | 1, 1), np.uint8))
    ys, xs = np.nonzero(thin > level)
    slopes = np.linspace(-MOST_SLOPE, MOST_SLOPE, 2 * max(4, round(MOST_SLOPE * width / 1.5)) + 1)
    rules: list[Rule] = []
    refused = 0
    while refused < 4 and len(rules) < MOST_RULES:
        voted = _most_voted(ys, xs, slopes, 0.6 * LEAST_LENGTH * width)
        if voted is None:
            break
        rule = _measured(strength, *voted, thick, level)
        row, slope = (rule.row, rule.slope) if rule else voted
        near = np.abs(ys - slope * xs - row) <= (rule.half + 1 if rule else 2)
        ys, xs = ys[~near], xs[~near]
        if rule is None:
            refused += 1
        else:
            rules.append(rule)
            slopes = slope + np.linspace(-0.015, 0.015, 7)  # rules of one paper are parallel
    return rules


def _most_voted(
    ys: NDArray[np.int64], xs: NDArray[np.int64], slopes: NDArray[np.float64], least: float
) -> tuple[float, float] | None:
    """Points -> (row, slope) of the line through most of them, by a Hough vote; None below ``least`` points."""
    if len(ys) < least:
        return None
    rows = np.rint(ys[None, :] - slopes[:, None] * xs[None, :]).astype(np.int64)
    first = int(rows.min())
    span = int(rows.max()) - first + 1
    bins = rows - first + span * np.arange(len(slopes))[:, None]
    votes = np.bincount(bins.ravel(), minlength=span * len(slopes)).reshape(len(slopes), span)
    most = int(votes.max())
    if most < least:
        return None
    # A thick line wins at many slopes alike; the points near the middle one of them then say it exactly.
    winners = np.flatnonzero(votes.max(1) >= 0.97 * most)
    middle = int(winners[len(winners) // 2])
    near = np.abs(rows[middle] - first - int(votes[middle].argmax())) <= 3
    x, y = xs[near].astype(np.float64), ys[near].astype(np.float64)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else float(slopes[middle])
    return float(y.mean() - slope * x.mean()), slope


def _measured(strength: NDArray[np.float32], row: float, slope: float, thick: int, level: float) -> Rule | None:
    """A line that got many votes -> its exact centre, extent, thickness and ink; None when it is no rule."""
    height, width = strength.shape
    columns = np.arange(width)
    offsets = np.arange(-thick - 2, thick + 3)
    lines = np.rint(row + slope * columns).astype(np.int64)[None, :] + offsets[:, None]
    outside = (lines < 0) | (lines >= height)
    band = np.where(outside, 0.0, strength[np.clip(lines, 0, height - 1), columns[None, :]])
    middle = slice(thick, thick + 5)
    covered = (band[middle].max(0) > level) | outside[middle].all(0)
    start, end = _longest_run(covered, max(1, round(0.02 * width)))
    inside = ~outside[thick + 2, start:end]
    if end - start < LEAST_LENGTH * width or inside.sum() < 0.6 * LEAST_LENGTH * width:
        return None
    # The median over the columns: strokes that cross are few.
    profile = np.median(band[:, start:end][:, inside], axis=1)
    peak = int(profile[middle].argmax()) + thick
    own = profile > 0.4 * profile[peak]
    first = last = peak
    while first > 0 and own[first - 1]:
        first -= 1
    while last < len(own) - 1 and own[last + 1]:
        last += 1
    if profile[peak] <= level or last - first + 1 > thick + 1 or first == 0 or last == len(own) - 1:
        return None
    centre = row + float(offsets[first] + offsets[last]) / 2.0
    half = (last - first + 1) // 2 + 1
    inked = (band[first : last + 1].max(0) > 0.5 * profile[peak]) | outside[first : last + 1].all(0)
    return Rule(centre, slope, start, end - 1, half, float(profile[peak]), (bool(inked[0]), bool(inked[-1])))


def _longest_run(covered: NDArray[np.bool_], gap: int) -> tuple[int, int]:
    """The longest stretch of True, gaps up to ``gap`` bridged -> (start, end past the last)."""
    where = np.flatnonzero(covered)
    if where.size == 0:
        return 0, 0
    breaks = np.flatnonzero(np.diff(where) > gap + 1)
    starts = where[np.concatenate([[0], breaks + 1])]
    ends = where[np.concatenate([breaks, [len(where) - 1]])] + 1
    longest = int((ends - starts).argmax())
    return int(starts[longest]), int(ends[longest])


def _anchored(
    across: list[Rule], down: list[Rule], shape: tuple[int, ...], full: float
) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """Keeps the lines that end at the edge of the picture or at each other, until none more falls."""
    height, width = shape
    slack = 0.03 * max(height, width) + 1

    def meets(rule: Rule, column: int, length: int, others: list[Rule]) -> bool:
        # The bar of a tightly cut digit ends just before the edge; a rule does not, unless it fades out.
        fades = rule.level < FAINT * full
        if (column <= slack and (fades or rule.to_edge[0])) or (
            column >= length - 1 - slack and (fades or rule.to_edge[1])
        ):
            return True
        row = rule.at(column)
        return any(abs(o.at(row) - column) <= slack and o.start - slack <= row <= o.end + slack for o in others)

    while True:
        rows = [r for r in across if meets(r, r.start, width, down) and meets(r, r.end, width, down)]
        columns = [r for r in down if meets(r, r.start, height, rows) and meets(r, r.end, height, rows)]
        if len(rows) == len(across) and len(columns) == len(down):
            return tuple(rows), tuple(columns)
        across, down = rows, columns


def _without(strength: NDArray[np.float32], rules: tuple[Rule, ...], full: float) -> NDArray[np.float32]:
    """The picture with each rule filled from the ink above and below it: strokes that cross it go on."""
    kept = strength.copy()
    height, width = strength.shape
    for rule in rules:
        columns = np.arange(max(0, rule.start - rule.half - 1), min(width, rule.end + rule.half + 2))
        centre = np.rint(rule.row + rule.slope * columns).astype(np.int64)
        above = _row_max(kept, centre - rule.half - 1, columns)
        below = _row_max(kept, centre + rule.half + 1, columns)
        for offset in range(-rule.half, rule.half + 1):
            rows = centre + offset
            valid = (rows >= 0) & (rows < height)
            share = (offset + rule.half + 1) / (2 * rule.half + 2)
            through = above * (1 - share) + below * share
            old = kept[rows[valid], columns[valid]]
            # Ink darker than the rule is a stroke that lies on it.
            room = max(full - 1.3 * rule.level, 0.0)
            own = np.clip(old - 1.3 * rule.level, 0.0, room) * (full / room) if room > 0.2 * full else 0.0 * old
            kept[rows[valid], columns[valid]] = np.minimum(old, np.maximum(through[valid], own))
    return np.asarray(kept, np.float32)


def _row_max(strength: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """The ink at (row, column) pairs; 0 outside the picture."""
    valid = (rows >= 0) & (rows < strength.shape[0])
    ink = strength[np.clip(rows, 0, strength.shape[0] - 1), columns]
    return np.asarray(np.where(valid, ink, 0.0), np.float32)


def _is_writing(kept: NDArray[np.float32], rows: tuple[Rule, ...], columns: tuple[Rule, ...], full: float) -> bool:
    """Whether what remains without the rules is writing, and the rules are sure to be none of it."""
    height, width = kept.shape
    ink = (kept > 0.4 * full).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    sides = stats[1:, cv2.CC_STAT_WIDTH : cv2.CC_STAT_HEIGHT + 1].max(1, initial=0)
    if sides.max(initial=0) < 0.12 * max(height, width):
        return False
    touching = {"row": ink[:2].any() or ink[-2:].any(), "column": ink[:, :2].any() or ink[:, -2:].any()}
    for rules, side in ((rows, "row"), (columns, "column")):
        faint = all(rule.level < FAINT * full for rule in rules)
        if rules and len(rules) < 3 and not faint and touching[side]:
            return False
    # One line down, and nothing across: written on one side of it, or it is the stem of a 4.
    if len(columns) == 1 and not rows and columns[0].level >= FAINT * full:
        rule, (ys, xs) = columns[0], np.nonzero(ink)
        off = xs - rule.row - rule.slope * ys
        return bool(min((off < -rule.half).sum(), (off > rule.half).sum()) < 0.05 * len(xs))
    return True
