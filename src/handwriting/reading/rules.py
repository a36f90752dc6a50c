"""Ruled lines, grids and printed boxes -> gone, the strokes that cross them kept."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.reading.components import Mask, parts

LEAST_HEIGHT = 9  # pixels: less is no writing that could be read
DOTS = 2.5  # times a dot's height: less is no writing on a dotted line
THINNEST = 0.04  # ink of strokes, in squares of their height: less is a margin's line or a table's edge
LONG, BIT = 150, 8  # pixels: of a rule whose line is followed over the whole picture, and of its bits found there
MOST_THICK = 1.2  # of a sure rule, in strokes of the writing; a pixel more, as its edge is ragged


def _opened(mask: Mask, wide: int, high: int) -> Mask:
    """Ink that fits a rectangle of ink."""
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((high, wide), np.uint8)), np.uint8)


def _grown(mask: Mask, wide: int, high: int) -> Mask:
    """Ink and what lies near it."""
    return np.asarray(cv2.dilate(mask, np.ones((high, wide), np.uint8)), np.uint8)


def without_rules(mask: Mask, wide: int) -> Mask:
    """Upright ink uint8 (h, w) of 0 and 1, cut from a picture ``wide`` pixels wide -> without long thin straight lines.

    Twice: the first pass knows only the picture, the second the height of the writing, which finds shorter rules
    (boxes around a number) and does not mistake the bar of a 7 for one.
    """
    if not mask.any():
        return mask
    mask = _without_frames(mask)
    mask, across = _without(mask, reach=int(np.clip(0.5 * wide, 60, 200)))
    height = writing_height(parts(mask)[1])
    if height:
        boxless = _without_boxes(mask, height)
        if boxless is not mask:
            mask, height = boxless, writing_height(parts(boxless)[1]) or height
        mask, _ = _without(mask, reach=int(max(1.2 * height, 24)), height=height, known=across)
    return mask


def writing_height(stats: NDArray[np.int32]) -> float:
    """Components' boxes and areas (n, 5), the ground's first -> how tall characters are, in pixels; 0 without any: the
    tall components' median.

    The dots of a dotted line outnumber the characters on it. So what is too small to be read is not counted, nor what
    is much smaller than several others, none of them thin, that are most of the ink.
    """
    heights, areas = stats[1:, cv2.CC_STAT_HEIGHT].astype(np.float64), stats[1:, cv2.CC_STAT_AREA]
    counted = (areas >= 12) & (heights >= LEAST_HEIGHT)
    height = _of_the_tall(heights[counted])
    larger = counted & (heights > DOTS * height) & (areas > THINNEST * heights**2)
    if np.count_nonzero(larger) >= 3 and 2 * areas[larger].sum() > areas.sum():
        height = _of_the_tall(heights[larger])
    return height


def _of_the_tall(heights: NDArray[np.float64]) -> float:
    return float(np.median(heights[heights > 0.4 * np.percentile(heights, 90)])) if len(heights) else 0.0


def _without(mask: Mask, reach: int, height: float = 0.0, known: Mask | None = None) -> tuple[Mask, Mask]:
    """Ink without the rules that reach so far, and the level rules found, those ``known`` before among them."""
    on_its_side = np.ascontiguousarray(mask.T)
    across = _rules(mask, reach, height)
    down = _rules(on_its_side, max(reach, int(1.9 * height)), height).T
    level = across if known is None else across | known
    if height and level.any():
        down = down | _box_sides(mask, level, height)
    if not height:
        across = across | _continued(mask, across)
        down = down | _continued(on_its_side, np.ascontiguousarray(down.T)).T
    if not across.any() and not down.any():
        return mask, level
    left = np.asarray(mask & ~across & ~down & 1, np.uint8)
    return _mended(left, across | down), level


def _rules(mask: Mask, reach: int, height: float) -> Mask:
    """Ink of thin lines that run at least ``reach`` pixels nearly along the rows -> uint8 (h, w).

    The bars of neighbours that touch (77, 55) run as far as a short rule. So where the writing's ``height`` is known
    (not 0), a run that is shorter than 3.2 heights or thicker than a stroke must be clearly thinner than the strokes.
    """
    runs = _runs(mask, reach)
    if not runs.any():
        return runs
    usual = _usual_height(runs)
    if usual > 0.12 * reach + 2:  # a bar of ink, not a rule
        return np.zeros_like(mask)
    # Where the ink runs on vertically beyond a rule's thickness a stroke crosses: it stays.
    tall = _opened(mask, 1, int(1.5 * usual + 1) + 1)
    thin = np.asarray(runs & ~tall & 1, np.uint8)
    near = _grown(thin, 3, 3)
    labels, stats = parts(near)
    count = len(stats)
    # Of a rule that is sure every bit between two strokes goes; of a doubtful one only pieces of some length.
    stroke = stroke_width(mask)
    sure = _lengths(runs, labels, count, MOST_THICK * stroke + 1) >= 3.2 * height
    doubtful = stats[:, cv2.CC_STAT_WIDTH] >= 0.25 * reach
    keep = np.where(sure, stats[:, cv2.CC_STAT_WIDTH] >= 5, doubtful & (usual < 0.65 * stroke))
    keep[0] = False
    return np.asarray(thin & keep[labels], np.uint8)


def _continued(mask: Mask, rules: Mask) -> Mask:
    """Ink and its rules along the rows -> uint8 (h, w): bits of these very lines elsewhere in the picture.

    A grid is often seen in bits about the writing, each too short to be known as a rule by itself: beside digits bits
    of it are 1s. They lie on a line that is known, as thin as it, and nothing else is there.
    """
    if not rules.any():
        return rules
    more = np.zeros_like(mask)
    labels, stats = parts(_grown(rules, 5, 3))
    columns, known = np.arange(mask.shape[1]), list[NDArray[np.float64]]()
    for index in np.flatnonzero(stats[:, cv2.CC_STAT_WIDTH] >= LONG):
        x, y, w, h, _ = stats[index]
        if index == 0 or h > max(0.2 * w, 8):
            continue
        ys, xs = np.nonzero((labels[y : y + h, x : x + w] == index) & (rules[y : y + h, x : x + w] > 0))
        slope, start = np.polyfit(xs + x, ys + y, 1)
        middles = start + slope * columns
        if any(np.abs(middles[[0, -1]] - other).max() < 3 for other in known):
            continue  # two bits of one line
        known.append(middles[[0, -1]])
        thickness = len(ys) / w
        reach = int(thickness) + 3
        rows = np.rint(middles).astype(np.int64) + np.arange(-reach, reach + 1)[:, None]
        band = mask[np.clip(rows, 0, len(mask) - 1), columns] * ((rows >= 0) & (rows < len(mask)))
        alone = (band.sum(0) <= thickness + 1) & band[reach - 1 : reach + 2].any(0) & (band[0] + band[-1] == 0)
        alone = _opened(alone[None].astype(np.uint8), BIT, 1)[0] > 0
        more[np.clip(rows[:, alone], 0, len(mask) - 1), columns[alone]] = 1
    return np.asarray(more & mask, np.uint8)


def _runs(mask: Mask, reach: int) -> Mask:
    """Ink that lies on straight runs of at least ``reach`` pixels, level or sloping a little."""
    large = mask.size > 300_000  # a page: at half the size, which loses nothing of a line
    small = np.maximum(mask[:-1:2], mask[1::2]) if large else mask
    small = np.ascontiguousarray(np.maximum(small[:, :-1:2], small[:, 1::2])) if large else small
    reach = reach // 2 if large else reach
    size = (small.shape[1], small.shape[0])
    found, run = np.zeros_like(small), np.ones((1, reach), np.uint8)
    least = min((reach + 1) // 2, size[0])  # of ink in a row: what the edge cuts may go on beyond it
    for slope in np.arange(-2, 3) * 3.0 / reach:
        tilt = np.array([[1, 0, 0], [slope, 1, -slope * size[0] / 2]])
        back = np.array([[1, 0, 0], [-slope, 1, slope * size[0] / 2]])
        level = np.asarray(cv2.warpAffine(small, tilt, size, flags=cv2.INTER_NEAREST), np.uint8)
        thick = _grown(level, 1, 3)  # wobbles by a pixel stay one run
        joined = np.asarray(cv2.morphologyEx(thick, cv2.MORPH_CLOSE, np.ones((1, 7), np.uint8)), np.uint8)
        full = np.flatnonzero(cv2.reduce(joined, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S) >= least)
        if not len(full):
            continue
        inner = np.asarray(cv2.erode(joined[full], run), np.uint8)
        if inner.any():  # at most angles there is none
            runs = np.zeros_like(small)
            runs[full] = cv2.dilate(inner, run)
            found |= np.asarray(cv2.warpAffine(runs, back, size, flags=cv2.INTER_NEAREST), np.uint8)
    if large:
        found = np.asarray(cv2.resize(found, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_NEAREST), np.uint8)
    return np.asarray(found & mask, np.uint8)


def _without_boxes(mask: Mask, height: float) -> Mask:
    """Ink without printed boxes, even where writing touches them: two level runs one above the other, joined by
    ink at both ends."""
    runs = _grown(_runs(mask, int(max(0.7 * height, 18))), 3, 3)
    labels, stats = parts(runs)
    count = len(stats)
    long = [k for k in range(1, count) if stats[k, cv2.CC_STAT_WIDTH] > 3 * stats[k, cv2.CC_STAT_HEIGHT]]
    ends = {k: _ends(labels, k, stats[k]) for k in long[:60]}
    thickness = max(_usual_height(runs & mask), 1.0)
    gone = np.zeros_like(mask)
    for first in ends:
        for second in ends:
            (a, b), (c, d) = ends[first], ends[second]
            tall = (c[1] + d[1] - a[1] - b[1]) / 2
            if tall < 0.92 * height or abs(a[0] - c[0]) > 0.2 * tall + 4 or abs(b[0] - d[0]) > 0.2 * tall + 4:
                continue
            if _joined(mask, a, c) and _joined(mask, b, d):
                corners = np.array([a, b, d, c], np.int32)
                cv2.polylines(gone, [corners], True, 1, int(2 * thickness) + 3)
    if not gone.any():
        return mask
    kernel = int(1.6 * thickness + 1) + 1
    thick = _opened(mask, kernel, kernel)
    upright = _opened(mask, 1, kernel)
    across = _opened(mask, kernel, 1)
    rule = gone & mask & ~(upright & across) & 1
    rule = rule | (gone & mask & ~thick & 1)
    return _mended(np.asarray(mask & ~rule & 1, np.uint8), np.asarray(rule, np.uint8))


def _ends(labels: NDArray[np.int32], index: int, stats: NDArray[np.int32]) -> tuple[tuple[int, int], tuple[int, int]]:
    """A run -> (x, y) of its left and of its right end."""
    x, y, w, h, _ = (int(value) for value in stats)
    own = labels[y : y + h, x : x + w] == index
    left, right = np.flatnonzero(own[:, : min(4, w)].any(1)), np.flatnonzero(own[:, max(w - 4, 0) :].any(1))
    return (x + 1, y + int(left.mean())), (x + w - 2, y + int(right.mean()))


def _joined(mask: Mask, top: tuple[int, int], bottom: tuple[int, int]) -> bool:
    """Whether ink runs from one end down to another: in nine of ten rows it lies within some pixels of the way."""
    rows = np.arange(top[1] + 2, bottom[1] - 1)
    if len(rows) < 8:
        return False
    columns = np.rint(np.interp(rows, (top[1], bottom[1]), (top[0], bottom[0]))).astype(np.int64)
    reach = 2 + len(rows) // 25
    near = np.zeros(len(rows), bool)
    for aside in range(-reach, reach + 1):
        near |= mask[rows, np.clip(columns + aside, 0, mask.shape[1] - 1)] > 0
    return float(near.mean()) > 0.9


def _without_frames(mask: Mask) -> Mask:
    """Ink without boxes drawn around other ink and touching none of it."""
    labels, stats = parts(mask)
    for index in np.argsort(-stats[1:, cv2.CC_STAT_AREA])[:20] + 1:
        x, y, w, h, area = stats[index]
        if min(w, h) < 15:
            continue
        rim = min(w, h) // 6  # the same all round: the first and last digit of a number may touch the sides
        inner = (slice(y + rim, y + h - rim), slice(x + rim, x + w - rim))
        own = labels[inner] == index
        others = np.count_nonzero(mask[inner]) - np.count_nonzero(own)
        if np.count_nonzero(own) < 0.1 * area and others > 0.15 * area:
            mask = np.where(labels == index, 0, mask).astype(np.uint8)
    return mask


def _lengths(runs: Mask, pieces: NDArray[np.int32], count: int, most: float) -> NDArray[np.int64]:
    """Runs (h, w) and pieces of them (h, w) -> for each piece the width of the whole run that it lies in; 0 where that
    is thicker than ``most`` pixels: small digits that touch make one run as high as themselves."""
    labels, stats = parts(_grown(runs, 3, 3))
    widths = stats[:, cv2.CC_STAT_WIDTH].astype(np.int64)
    widths[np.bincount(labels[runs > 0], minlength=len(stats)) > most * widths] = 0
    lengths = np.zeros(count, np.int64)
    np.maximum.at(lengths, pieces[labels > 0], widths[labels[labels > 0]])
    return lengths


def stroke_width(mask: Mask) -> float:
    """Ink (h, w) -> the usual width of its strokes: twice the area over the length of the edge."""
    inner = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)), np.uint8)
    area = int(np.count_nonzero(mask))
    return 2.0 * area / max(area - int(np.count_nonzero(inner)), 1)


def _usual_height(runs: Mask) -> float:
    """Ink (h, w) -> mean length of its vertical runs."""
    starts = int(np.count_nonzero(runs[0])) + int(np.count_nonzero(runs[1:] > runs[:-1]))
    return int(np.count_nonzero(runs)) / max(starts, 1)


def _box_sides(mask: Mask, across: Mask, height: float) -> Mask:
    """Thin upright lines whose both ends meet a rule: the sides of a box -> uint8 (h, w)."""
    sides = np.ascontiguousarray(_rules(np.ascontiguousarray(mask.T), max(int(0.8 * height), 12), height).T)
    if not sides.any():
        return sides
    near = _grown(across, 5, 7)
    labels, stats = parts(_grown(sides, 3, 5))
    count = len(stats)
    keep = np.zeros(count, bool)
    for index in range(1, count):
        x, y, w, h, _ = stats[index]
        ends = near[max(y - 3, 0) : y + 4, x : x + w].any() and near[max(y + h - 4, 0) : y + h + 3, x : x + w].any()
        keep[index] = ends and h > 4 * w
    return np.asarray(sides & keep[labels], np.uint8)


def _mended(left: Mask, rules: Mask) -> Mask:
    """What is left, without the crumbs of the rules: components that are nearly all rule are dropped."""
    labels, stats = parts(left)
    count = len(stats)
    gone = _grown(rules, 3, 3)
    touched = np.bincount(labels[(gone > 0) & (left > 0)], minlength=count)
    area = stats[:, cv2.CC_STAT_AREA]
    keep = (touched < 0.5 * area) | (np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) > 14)
    keep[0] = False
    return np.asarray(keep[labels], np.uint8)
