"""A sheet of paper that lies on something else, as photos show it: its corners, and how it looks from above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]

SEARCH_LONGEST = 400  # pixels: of the small picture on which the sheet is looked for; rules and thin pens vanish in it
LEAST_LONGEST, LEAST_SHORTEST = 320, 150  # pixels; smaller pictures are cut to the writing already
MOST_SLENDER = 8  # times as long as wide; sheets are not, and OpenCV's warps end at 32,767 pixels
BRIGHT, DARKEST = 235.0, 20.0  # levels: the picture's lightest parts are brought to the one, were they above the other
LEAST_AREA = 0.12  # of the picture
JUMPS = (6, 10, 16, 26)  # of lightness, colour or grain, of 255, that end a smooth region; all are tried
STEP = 9.0  # of lightness, colour or grain across the sheet's edge: rules have the same paper on both sides
INSIDE, OUTSIDE = 3.0, (4.0, 8.0)  # pixels of the small picture, from an edge, between which there is that step:
# a rule is thin, so past one or the other the same paper goes on
SEEN = 0.8  # share of an edge along which the step is to be found
FAR, SEEN_FAR = (0.35, 0.7, 1.0), 0.6  # the same further out: shares of the way to the picture's edge, and of points
HUE, GRAINED, DARK = 8.0, 1.5, 0.22  # of another kind than paper: levels of a* b*, times its grain, of its lightness
LESS = 0.9  # of a sheet's lightness, past its edge
SHARP = 0.85  # share of a step that an edge makes within a few pixels; most shadows' are softer
CORNER = 0.6  # cosine of the turn at a sheet's corner, 0 for a right angle seen from above; a bent shadow turns less
GREY = np.array((0.0, 128.0, 128.0))  # L*a*b* of black, as OpenCV codes it in bytes
GRAIN_WINDOW = 7  # pixels of the small picture: wider than rules and strokes, which are no grain
MOST_SIDES = 6  # of a sheet that the picture cuts
RIM = 0.5  # pixels of the small picture, kept off the edge, where its own shadow lies


@dataclass(frozen=True)
class Paper:
    """A sheet of paper in a picture.

    Attributes:
        corners: float64 (n, 2), three to six of them, (x, y), clockwise from the top left, a little inside the sheet.
        whole: it has four sides and at most one of them is the picture's edge: it can be seen from above.
    """

    corners: Array
    whole: bool


def find_paper(picture: Bytes) -> Paper | None:
    """uint8 (H, W, 3) RGB or (H, W) -> the sheet that lies on something else in it; None where paper fills the picture.

    Paper is the largest smooth region of straight sides (soft shadows are smooth, a table's edge is not) with another
    colour, lightness or grain past each of them, all the way to the picture's edge. Where the picture cuts the sheet on
    more than one side, a hard shadow could look the same: what lies past it must be of another kind, of another hue,
    grained or next to black, or the sheet must show a corner with less light past both its sides. Smooth is what has
    about the same colour, or, as a shadow may lie across the sheet, the same hue whatever its light.
    """
    high, wide = picture.shape[:2]
    if max(high, wide) < LEAST_LONGEST or min(high, wide) < max(LEAST_SHORTEST, max(high, wide) / MOST_SLENDER):
        return None
    small = shrunk(picture, SEARCH_LONGEST)
    shrink = wide // small.shape[1]
    bright = cv2.convertScaleAbs(small, alpha=BRIGHT / max(float(np.percentile(small[::4, ::4], 99)), DARKEST))
    bright = bright if picture.ndim == 3 else cv2.cvtColor(bright, cv2.COLOR_GRAY2RGB)
    colours = cv2.cvtColor(cv2.medianBlur(cv2.medianBlur(bright, 5), 5), cv2.COLOR_RGB2LAB)
    grain = cv2.medianBlur(_jumps(bright), GRAIN_WINDOW)
    view = _View(colours, grain)
    found: list[Paper] = []
    for region in _smooth(colours, grain // 2):
        for corners in _straight_sided(region):
            sides = _sides(corners, view)
            whole = len(corners) == 4 and sides.free >= 3
            if sides.parted and (whole or sides.surely):
                found.append(Paper(corners, whole))
                break
    if not found:
        return None
    largest = max(found, key=lambda paper: cv2.contourArea(paper.corners.astype(np.float32)))
    return replace(largest, corners=np.asarray((_inset(largest.corners, RIM) + 0.5) * shrink - 0.5, np.float64))


def paper_alone(picture: Bytes, paper: Paper) -> tuple[Bytes, Array]:
    """A picture and the sheet that `find_paper` found -> a picture of nothing but the sheet, and the homography (3, 3)
    from it to the picture it was given.

    A whole sheet is seen from above, its sides as long as the longer ones: no detail is lost. One that the picture
    cuts stays as it is, and what lies past it is painted in the colours of the paper next to it.
    """
    if paper.whole:
        matrix, size = from_above(paper.corners)
        seen = cv2.warpPerspective(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen, np.uint8), np.asarray(np.linalg.inv(matrix), np.float64)
    small = shrunk(picture, SEARCH_LONGEST)
    times = picture.shape[1] // small.shape[1]
    past = np.ones(small.shape[:2], np.uint8)
    cv2.fillPoly(past, [np.rint(paper.corners / times).astype(np.int32)], 0)
    edge = cv2.dilate(past, np.ones((3, 3), np.uint8))
    _, nearest = cv2.distanceTransformWithLabels(edge, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    on_paper = np.argsort(nearest[edge == 0])  # labels count the paper's pixels in the order of its own
    ys, xs = np.nonzero(edge == 0)
    calm = cv2.medianBlur(cv2.medianBlur(small, 5), 5)
    painted = calm[ys[on_paper][nearest - 1], xs[on_paper][nearest - 1]]
    size = picture.shape[1::-1]
    mask = np.ones(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(paper.corners).astype(np.int32)], 0)
    painted = cv2.resize(painted, size, interpolation=cv2.INTER_LINEAR)
    return np.where(mask[..., None] > 0 if picture.ndim == 3 else mask > 0, painted, picture), np.eye(3)


def from_above(corners: Array) -> tuple[Array, tuple[int, int]]:
    """Four corners -> the homography (3, 3) from the picture to the sheet seen from above, and that view's (W, H)."""
    sides = np.hypot(*(np.roll(corners, -1, 0) - corners).T)
    wide, high = max(sides[0], sides[2]), max(sides[1], sides[3])
    target = np.array([(0, 0), (wide, 0), (wide, high), (0, high)]) - 0.5
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))
    return np.asarray(matrix, np.float64), (max(1, round(wide)), max(1, round(high)))


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


class _View(NamedTuple):
    """The small picture without thin strokes: its levels (h, w, 3) in L*a*b*, and how much neighbours differ (h, w)."""

    colours: Any
    grain: Any


class _Side(NamedTuple):
    """A side of a region: its direction (2,), whether something else lies past it, whether of another kind than paper
    in any light, and whether there is less light from its edge on."""

    along: Array
    parted: bool
    another: bool
    less_light: bool


class _Sides(NamedTuple):
    """A region's sides: whether something else lies past each, how many are free of the picture's edge, and whether
    that is surely no paper in shadow."""

    parted: bool
    free: int
    surely: bool


def _jumps(colours: Any) -> Any:
    """Levels (h, w, 3) -> how much each pixel's neighbours differ, uint8 (h, w)."""
    kernel = np.ones((3, 3), np.uint8)
    return reduce(cv2.max, cv2.split(cv2.subtract(cv2.dilate(colours, kernel), cv2.erode(colours, kernel))))


def _smooth(colours: Any, grain: Any) -> Iterator[Bytes]:
    """Levels (h, w, 3) in L*a*b* and grain (h, w) -> the regions (h, w), 1 inside, that may be a sheet: large, smooth
    in colour or in hue, and neither all of the picture nor what lies around a sheet."""
    high, wide = grain.shape
    for seen in (np.asarray, _hues):  # most searches end before the hues are needed
        jumps = cv2.max(_jumps(seen(colours)), grain)
        for jump in JUMPS:
            count, regions, stats, _ = cv2.connectedComponentsWithStats((jumps < jump).astype(np.uint8), connectivity=4)
            at_corners = regions[[0, 0, -1, -1], [0, -1, 0, -1]].tolist()
            for region in range(1, count):
                share = stats[region, cv2.CC_STAT_AREA] / (high * wide)
                if at_corners.count(region) < 4 and share > 0.5 * LEAST_AREA:
                    yield np.asarray(regions == region, np.uint8)
                elif share > 1 - LEAST_AREA:  # larger jumps would but add to it
                    return


def _hues(colours: Any) -> Any:
    """Levels (h, w, 3) in L*a*b* -> a* and b* as they would be in white light, uint8 (h, w, 2)."""
    light = np.maximum(colours[..., :1], 25).astype(np.float32) / 255
    return np.clip(128 + (colours[..., 1:] - np.float32(128)) / light, 0, 255).astype(np.uint8)


def _straight_sided(region: Bytes) -> list[Array]:
    """A region (h, w), 1 inside -> its corners (n, 2), clockwise from the top left: as four if it can be said so, and
    with the most that are allowed, which tell a small cut-off corner; empty when it has no few sides."""
    outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    hull = cv2.convexHull(outline)
    area = cv2.contourArea(hull)
    if area < LEAST_AREA * region.size or cv2.contourArea(outline) < 0.88 * area:
        return []
    around = cv2.arcLength(hull, closed=True)
    known: dict[int, Array] = {}
    for tolerance in (0.01, 0.02, 0.03, 0.04, 0.06):
        corners = cv2.approxPolyDP(hull, tolerance * around, closed=True)[:, 0].astype(np.float64)
        if 3 <= len(corners) <= MOST_SIDES and cv2.contourArea(corners.astype(np.float32)) >= 0.9 * area:
            known.setdefault(len(corners), corners)
    if 4 in known:
        known[4] = _sharpened(known[4], outline[:, 0].astype(np.float64))
    few = dict.fromkeys((4, max(known, default=4)))
    return [_clockwise(known[count]) for count in few if count in known]


def _clockwise(corners: Array) -> Array:
    """Corners (n, 2) in either order -> clockwise from the top left."""
    if cv2.contourArea(corners.astype(np.float32), oriented=True) < 0:  # as y grows downwards, clockwise is positive
        corners = corners[::-1]
    sides = np.roll(corners, -1, 0) - corners
    top = int((sides[:, 0] / np.hypot(*sides.T)).argmax())  # clockwise, the top side is the one that runs to the right
    return np.asarray(np.roll(corners, -top, 0), np.float64)


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


def _sides(corners: Array, view: _View) -> _Sides:
    """A region's corners (n, 2), clockwise -> what lies past its sides."""
    seen = [_side(start, end, view) for start, end in zip(corners, np.roll(corners, -1, 0), strict=True)]
    free = [side for side in seen if side is not None]
    at_corner = any(
        before and after and before.less_light and after.less_light and float(before.along @ after.along) < CORNER
        for before, after in zip([seen[-1], *seen[:-1]], seen, strict=True)
    )
    return _Sides(
        parted=all(side.parted for side in free),
        free=len(free),
        surely=len(free) > 0 and (at_corner or all(side.another for side in free)),
    )


def _side(start: Array, end: Array, view: _View) -> _Side | None:
    """A side from corner (2,) to corner, the sheet to its right -> what lies past it; None at the picture's edge."""
    limit = np.array(view.grain.shape[::-1]) - 1.0
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-9)
    outwards = np.array((along[1], -along[0]))  # of corners that go clockwise as y grows downwards
    points = start + np.linspace(0.05, 0.95, 40)[:, None] * (end - start)
    inside, first = points - INSIDE * outwards, points + OUTSIDE[0] * outwards
    within = np.all([(place >= 0) & (place <= limit) for place in (inside, first)], axis=(0, 2))
    if within.mean() < 0.5:
        return None
    inside, points = inside[within], points[within]
    # How far each point is from the picture's edge, on the way straight out.
    room = np.where(outwards > 0, limit - points, points) / np.maximum(np.abs(outwards), 1e-6)
    reach = room.min(1, keepdims=True)
    near = [points + np.minimum(by, reach) * outwards for by in OUTSIDE]
    far = [points + np.maximum(share * reach, OUTSIDE[0]).clip(max=reach) * outwards for share in FAR]
    there = np.stack([_at(view.colours, place) for place in (*near, *far)])
    grain = np.stack([_at(view.grain, place) for place in (*near, *far)])
    paper, smooth = _at(view.colours, inside), _at(view.grain, points - 2 * INSIDE * outwards)
    steps = np.hypot(np.linalg.norm(there - paper, axis=2), np.maximum(grain - smooth, 0))
    at_edge, further = steps[: len(near)], steps[len(near) :]
    middle, past = np.median(paper, axis=0) - GREY, np.median(there[1:], axis=(0, 1)) - GREY
    lighter = float(past[0]) / max(float(middle[0]), 1.0)
    # In less light the same paper has as much less of its hue and grain.
    hue = float(np.hypot(*(past / max(lighter, 1.0) - middle * min(lighter, 1.0))[1:]))
    grained = float(np.median(grain[1:])) > GRAINED * float(np.median(smooth)) * max(lighter, 1.0) + 1
    return _Side(
        along,
        parted=bool((at_edge.min(0) > STEP).mean() >= SEEN and (further > STEP).mean(1).min() >= SEEN_FAR),
        another=hue > HUE or grained or lighter < DARK,
        less_light=lighter < LESS and float(np.median(at_edge[0])) > SHARP * float(np.median(at_edge[1])),
    )


def _at(levels: Any, points: Array) -> Array:
    x, y = np.rint(points).astype(np.int64).T
    return np.asarray(levels[y.clip(0, levels.shape[0] - 1), x.clip(0, levels.shape[1] - 1)], np.float64)


def _inset(corners: Array, by: float) -> Array:
    """Corners (4, 2), clockwise -> those of the four sides moved inwards by so many pixels."""
    ahead = np.roll(corners, -1, 0) - corners
    ahead /= np.hypot(*ahead.T)[:, None]
    behind = np.roll(ahead, 1, 0)
    # Moving both sides of a corner inwards by d moves the corner by d (ahead - behind) / sin(angle between).
    sine = behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]
    return np.asarray(corners + by * (ahead - behind) / np.maximum(np.abs(sine), 0.3)[:, None], np.float64)
