"""A sheet of paper that lies on something else, as photos show it: its corners, and how it looks from above."""

from __future__ import annotations

from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]

SEARCH_LONGEST = 400  # pixels: of the small picture on which the sheet is looked for; rules and thin pens vanish in it
LEAST_LONGEST, LEAST_SHORTEST = 320, 150  # pixels; smaller pictures are cut to the writing already
BRIGHT, DARKEST = 235.0, 20.0  # levels: the picture's lightest parts are brought to the one, were they above the other
LEAST_AREA = 0.12  # of the picture
JUMPS = (6, 10, 16, 26)  # of lightness or colour between neighbours, of 255, that end a smooth region; all are tried
STEP = 9.0  # of lightness or colour across the sheet's edge: rules have the same paper on both sides
INSIDE, OUTSIDE = 3.0, (4.0, 8.0)  # pixels of the small picture, from an edge, between which there is that step:
# a rule is thin, so past one or the other the same paper goes on
SEEN = 0.8  # share of an edge along which the step is to be found
RIM = 0.5  # pixels of the small picture, kept off the edge, where its own shadow lies


def find_paper(picture: Bytes) -> Array | None:
    """uint8 (H, W, 3) RGB or (H, W) -> corners (x, y) float64 (4, 2) of the sheet in it, clockwise from the top left.

    Paper is the largest smooth region of four straight sides (soft shadows are smooth, a table's edge is not) with
    another colour or lightness past at least three of them; the fourth may be the picture's own edge. None when there
    is no such region, as where paper fills the picture.
    """
    high, wide = picture.shape[:2]
    if max(high, wide) < LEAST_LONGEST or min(high, wide) < LEAST_SHORTEST:
        return None
    small = shrunk(picture, SEARCH_LONGEST)
    size, shrink = small.shape[1::-1], wide // small.shape[1]
    bright = cv2.convertScaleAbs(small, alpha=BRIGHT / max(float(np.percentile(small[::4, ::4], 99)), DARKEST))
    bright = bright if picture.ndim == 3 else cv2.cvtColor(bright, cv2.COLOR_GRAY2RGB)
    colours = cv2.cvtColor(cv2.medianBlur(cv2.medianBlur(bright, 5), 5), cv2.COLOR_RGB2LAB)
    found: list[Array] = []
    kernel = np.ones((3, 3), np.uint8)
    jumps = reduce(cv2.max, cv2.split(cv2.subtract(cv2.dilate(colours, kernel), cv2.erode(colours, kernel))))
    for jump in JUMPS:
        count, regions, stats, _ = cv2.connectedComponentsWithStats((jumps < jump).astype(np.uint8), connectivity=4)
        large = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] > 0.5 * LEAST_AREA * size[0] * size[1]]
        at_corners = regions[[0, 0, -1, -1], [0, -1, 0, -1]].tolist()
        for region in large:
            if at_corners.count(region) > 2:  # it fills the picture, or lies around the paper
                continue
            corners = _four_sided(np.asarray(regions == region, np.uint8))
            if corners is not None and _lies_on_something(corners, colours.astype(np.float64)):
                found.append(corners)
    if not found:
        return None
    largest = max(found, key=lambda corners: cv2.contourArea(corners.astype(np.float32)))
    return np.asarray((_inset(largest, RIM) + 0.5) * shrink - 0.5, np.float64)


def shrunk(picture: Bytes, longest: int) -> Bytes:
    """uint8 (H, W) or (H, W, 3) -> the same, at most ``longest`` pixels wide and high, averaged.

    By a whole number, the last rows and columns that are left over cut off: three times as quick as to any size.
    """
    times = -(-max(picture.shape[:2]) // longest)
    size = (picture.shape[1] // times, picture.shape[0] // times)
    if times == 1 or min(size) == 0:
        return picture
    part = picture[: size[1] * times, : size[0] * times]
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


def from_above(corners: Array) -> tuple[Array, tuple[int, int]]:
    """Corners (4, 2) as `find_paper` gives them -> the homography (3, 3) from the picture to the sheet as it looks from
    above, and that view's size (W, H). Its sides are as long as the picture's longer ones: no detail is lost."""
    sides = np.hypot(*(np.roll(corners, -1, 0) - corners).T)
    wide, high = max(sides[0], sides[2]), max(sides[1], sides[3])
    target = np.array([(0, 0), (wide, 0), (wide, high), (0, high)]) - 0.5
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))
    return np.asarray(matrix, np.float64), (max(1, round(wide)), max(1, round(high)))


def _four_sided(region: Bytes) -> Array | None:
    """A region (h, w), 1 inside -> its corners (4, 2), clockwise from the top left; None when it has no four sides."""
    outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    hull = cv2.convexHull(outline)
    area = cv2.contourArea(hull)
    if area < LEAST_AREA * region.size or cv2.contourArea(outline) < 0.88 * area:
        return None
    around = cv2.arcLength(hull, closed=True)
    for tolerance in (0.01, 0.02, 0.03, 0.04, 0.06):
        corners = cv2.approxPolyDP(hull, tolerance * around, closed=True)[:, 0].astype(np.float64)
        if len(corners) <= 4:
            break
    if len(corners) != 4 or cv2.contourArea(corners.astype(np.float32)) < 0.9 * area:
        return None
    corners = _sharpened(corners, outline[:, 0].astype(np.float64))
    if cv2.contourArea(corners.astype(np.float32), oriented=True) < 0:  # as y grows downwards, clockwise is positive
        corners = corners[::-1]
    return np.asarray(np.roll(corners, -int(corners.sum(1).argmin()), 0), np.float64)


def _sharpened(corners: Array, outline: Array) -> Array:
    """Corners (4, 2) -> where lines fitted to the outline along each side meet: sharper than the outline's own."""
    lines = []
    for start, end in zip(corners, np.roll(corners, -1, 0), strict=True):
        along = (end - start) / np.hypot(*(end - start))
        off = outline - start
        place = off @ along
        aside = np.abs(off @ np.array((-along[1], along[0])))
        near = outline[(place > 0.1 * place.max()) & (place < 0.9 * np.hypot(*(end - start))) & (aside < 4)]
        if len(near) < 8:
            return corners
        vx, vy, x, y = cv2.fitLine(near.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01).ravel()
        lines.append((np.array((vx, vy), np.float64), np.array((x, y), np.float64)))
    met = []
    for (before, on_before), (after, on_after) in zip(np.roll(np.array(lines), 1, 0), np.array(lines), strict=True):
        matrix = np.stack([before, -after], 1)
        if abs(np.linalg.det(matrix)) < 0.2:
            return corners
        met.append(on_before + before * np.linalg.solve(matrix, on_after - on_before)[0])
    return np.array(met)


def _lies_on_something(corners: Array, colours: Array) -> bool:
    """Whether three sides, and the fourth too unless it is the picture's edge, part two colours along their length."""
    high, wide = colours.shape[:2]
    limit = np.array((wide, high)) - 1.0
    free = 0
    for start, end in zip(corners, np.roll(corners, -1, 0), strict=True):
        along = (end - start) / max(float(np.hypot(*(end - start))), 1e-9)
        outwards = np.array((along[1], -along[0]))  # of corners that go clockwise as y grows downwards
        points = start + np.linspace(0.05, 0.95, 40)[:, None] * (end - start)
        inside, *outside = (points + by * outwards for by in (-INSIDE, *OUTSIDE))
        within = np.all([(place >= 0) & (place <= limit) for place in (inside, *outside)], axis=(0, 2))
        if within.mean() < 0.5:
            continue
        paper = _at(colours, inside[within])
        steps = np.min([np.linalg.norm(_at(colours, place[within]) - paper, axis=1) for place in outside], axis=0)
        if (steps > STEP).mean() < SEEN:
            return False
        free += 1
    return free >= 3


def _at(colours: Array, points: Array) -> Array:
    x, y = np.rint(points).astype(np.int64).T
    return np.asarray(colours[y, x], np.float64)


def _inset(corners: Array, by: float) -> Array:
    """Corners (4, 2), clockwise -> those of the four sides moved inwards by so many pixels."""
    ahead = np.roll(corners, -1, 0) - corners
    ahead /= np.hypot(*ahead.T)[:, None]
    behind = np.roll(ahead, 1, 0)
    # Moving both sides of a corner inwards by d moves the corner by d (ahead - behind) / sin(angle between).
    sine = behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]
    return np.asarray(corners + by * (ahead - behind) / np.maximum(np.abs(sine), 0.3)[:, None], np.float64)
