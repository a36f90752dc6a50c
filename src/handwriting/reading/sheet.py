"""A picture of a page -> the sheet that is read: ink upright, light flattened, rules gone, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging import find_paper, paper_alone, shrunk
from handwriting.reading.components import Mask, inked, parts
from handwriting.reading.rules import without_rules, writing_height

Float = NDArray[np.float32]

WORK_LONGEST = 1280  # pixels; a page's digits stay taller than 20 pixels at it
WORK_SHORTEST = 100  # smaller pictures are enlarged: cuts between touching digits need pixels
CHANNEL_SIDE = 400  # pixels of the picture on which the channel is chosen
RIM = 12  # pixels of paper kept around the ink
STEEPEST = 12.0  # degrees of skew that are looked for
# Marks with a neighbour in their row from which on these tell where, within so many degrees; and the most marks asked.
NEIGHBOURS, NEAR, MOST_MARKS = 8, 2.0, 600
# A component that reaches across so much of the picture and changes by less than such a share of its depth within 7
# pixels of its edge is a shadow too narrow for `flatten`: a book's fold has 0.19, ink and printed lines 0.38 or more.
ACROSS, SOFT = 0.98, 0.28
# Pixels within which ink is at the picture's edge; the shares of its two sides that must lie along the edges, and that
# of its hull that is ink, for it to fill a corner; and the most of the picture's sides that such a corner takes.
RAGGED, FILLED, SOLID, CORNER = 4, (0.3, 0.75), 0.7, 0.5


@dataclass(frozen=True)
class Sheet:
    """The ink of a page, upright.

    Attributes:
        strength: float32 (h, w) in 0..1: how much ink, 0 where there is none.
        mask: uint8 (h, w), 1 on ink.
        ruled: float32 (h, w) in 0..1: ``strength`` before rules and boxes were taken out.
        way_back: float64 (3, 3): the homography from (x, y, 1) on the sheet to the original picture's pixels.
        size: (W, H) of the original picture.
        past_it: something that the picture shows past the edge of a sheet, which it cuts, was left out.
    """

    strength: Float
    mask: Mask
    ruled: Float
    way_back: NDArray[np.float64]
    size: tuple[int, int]
    past_it: bool = False

    def box(self, xs: NDArray[np.int64], ys: NDArray[np.int64]) -> tuple[int, int, int, int]:
        """Sheet pixels -> the box (x, y, w, h) around them in the original picture."""
        middles = np.stack([xs, ys], 1) + 0.5
        seen = cv2.perspectiveTransform(middles[None], self.way_back)[0]
        aside = cv2.perspectiveTransform(middles[None, :1] + (1, 0), self.way_back)[0, 0]
        half = 0.5 * float(np.hypot(*(aside - seen[0])))
        low = np.clip(np.floor(seen.min(0) - half + 0.01), 0, np.array(self.size) - 1)
        high = np.clip(np.ceil(seen.max(0) + half - 0.01), low + 1, self.size)
        return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def lay_out(picture: NDArray[np.uint8], *, all_of_it: bool = False) -> Sheet:
    """uint8 (H, W, 3) RGB -> Sheet: seen from above where a sheet of paper lies on something else, scaled to a working
    size, flattened, deskewed, rules and grids removed. ``all_of_it``: no sheet is looked for."""
    whole = (picture.shape[1], picture.shape[0])
    paper = None if all_of_it else find_paper(picture)
    back: NDArray[np.float64] = np.eye(3)
    if paper is not None:
        picture, back = paper_alone(picture, paper)
    high, wide = picture.shape[:2]
    scale = min(1.0, WORK_LONGEST / max(high, wide))
    if min(high, wide) * scale < WORK_SHORTEST and max(high, wide) < WORK_LONGEST / 2:
        scale = 2.0
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    if scale != 1:
        # Down to the half, four neighbours see every pixel; averaging areas takes seven times as long.
        method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR if scale >= 0.5 else cv2.INTER_AREA
        picture = np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
    strength, noise = flatten(picture)
    mask, level = ink_mask(strength, noise)
    strength = np.asarray(strength * cv2.dilate(mask, np.ones((3, 3), np.uint8)), np.float32)
    angle = skew(mask)
    turn = np.eye(2, 3)
    if abs(angle) > 0.4:
        turn, size = _turned(size, angle)
        strength = np.asarray(cv2.warpAffine(strength, turn, size, flags=cv2.INTER_LINEAR), np.float32)
        mask = (strength > level).astype(np.uint8)
    # A page is mostly paper: what follows looks at the written part alone, with a rim of paper.
    left, top, w, h = cv2.boundingRect(mask)
    x, y = max(left - RIM, 0), max(top - RIM, 0)
    written = (slice(y, top + h + RIM), slice(x, left + w + RIM))
    place = np.array([(1.0, 0, x), (0, 1.0, y), (0, 0, 1.0)])
    upright = np.vstack([cv2.invertAffineTransform(turn), (0, 0, 1)]) @ place
    mask, ruled = without_rules(np.ascontiguousarray(mask[written]), size[0]), strength[written]
    mask = without_corners(mask, upright, picture.shape[1::-1])
    strong = ruled[mask > 0]
    if strong.size:
        ruled = np.clip(ruled / max(float(np.percentile(strong, 60)), 0.02), 0, 1)
    strength = ruled * cv2.dilate(mask, np.ones((3, 3), np.uint8))
    back = back @ np.diag([1 / scale, 1 / scale, 1]) @ upright
    return Sheet(
        np.asarray(strength, np.float32),
        mask,
        np.asarray(ruled, np.float32),
        back,
        whole,
        paper is not None and not paper.whole,
    )


def flatten(picture: NDArray[np.uint8]) -> tuple[Float, Float]:
    """RGB (H, W, 3) -> how much of the paper's light the ink takes, and its grain's s.d. there, float32 (H, W) each.

    The paper is a grey closing with a disc wider than strokes but smaller than shadows. Of the channels the red one
    is read when it is enough: red and pale blue rules hardly show in it, all pens but red ones do.
    """
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    if _is_light_on_dark(grey):
        picture, grey = 255 - picture, np.asarray(255 - grey, np.uint8)
    red = np.ascontiguousarray(picture[..., 0])
    # Which channel is decided on a small picture: a page's flattening is a good part of its reading's time.
    small, small_red = (_taken(shrunk(level, CHANNEL_SIDE)) for level in (grey, red))
    seen = (small[0] > 4 * small[1]) & (small[0] > 0.5 * float(small[0].max()))
    enough = seen.any() and float(np.median(small_red[0][seen])) > 0.8 * float(np.median(small[0][seen]))
    return _taken(red if enough else grey)


def _taken(grey: NDArray[np.uint8]) -> tuple[Float, Float]:
    high, wide = grey.shape
    size = max(15.0, min(0.5 * min(high, wide), max(max(high, wide) / 12, 60.0)))
    shrink = min(1.0, 13 / size)  # the closing's disc spans 13 pixels at most: paper and shadows are smooth
    small = cv2.resize(grey, (max(1, round(wide * shrink)), max(1, round(high * shrink))), interpolation=cv2.INTER_AREA)
    calm = cv2.medianBlur(small, 3) if min(small.shape) > 3 else small
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, round(size * shrink) | 1),) * 2)
    closed = cv2.morphologyEx(calm, cv2.MORPH_CLOSE, disc, borderType=cv2.BORDER_REPLICATE)
    smooth = cv2.GaussianBlur(closed, (0, 0), max(0.8, size * shrink / 8), borderType=cv2.BORDER_REPLICATE)
    # A closing takes the lightest of the grain: the level is put back to the middle, where the paper shows.
    share = np.clip((small + 4.0) / (smooth + 4.0) * 200, 0, 255).astype(np.uint8)
    level = np.clip(cv2.medianBlur(share, 2 * round(size * shrink) + 1) / 200, 0.88, 1.0)
    light = ((smooth + 4.0) * level).astype(np.float32)
    paper = np.asarray(cv2.resize(light, (wide, high), interpolation=cv2.INTER_LINEAR), np.float32)
    levels = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.6)
    # The grain is measured on bands of 12 rows in every 60.
    bands = np.concatenate([levels[top : top + 12] for top in range(0, high, 60)])
    noise = 1.5 * float(cv2.absdiff(bands, cv2.medianBlur(bands, 3)).mean())
    # In place: a page's memory takes longer to get than to work on.
    strength = np.asarray(levels, np.float32)
    strength += 4
    strength /= paper
    np.subtract(1, strength, out=strength)
    np.clip(strength, 0, 1, out=strength)
    return strength, np.divide(noise, paper, out=paper)


def _is_light_on_dark(grey: NDArray[np.uint8]) -> bool:
    """Whether what stands out of its surroundings' median is lighter than they are.

    Third powers: ink is little and far from the paper, shadows and gradients are wide and near it. What surrounds the
    picture's edge is in doubt: repeated, a scan's narrow black margin would surround the paper beside it; mirrored, a
    dark corner would be the paper. So both must say so.
    """
    small = shrunk(grey, 240)
    window = max(5, min(small.shape) // 2) | 1
    rim = min(window // 2, min(small.shape) - 1)
    mirrored = cv2.copyMakeBorder(small, rim, rim, rim, rim, cv2.BORDER_REFLECT_101)
    inside = (slice(rim, rim + small.shape[0]), slice(rim, rim + small.shape[1]))
    surroundings = cv2.medianBlur(small, window), cv2.medianBlur(mirrored, window)[inside]
    return all(_lighter_stands_out(small.astype(np.float64) - around) for around in surroundings)


def _lighter_stands_out(out: NDArray[np.float64]) -> bool:
    third = out * out * out
    return float(third[third > 0].sum()) > -1.5 * float(third[third < 0].sum())


def ink_mask(strength: Float, noise: Float) -> tuple[Mask, float]:
    """Ink share and the grain's s.d. (h, w) -> uint8 (h, w), 1 on ink, and the share from which ink begins.

    Past a floor above the grain, and joined to something that is clearly ink.
    """
    weak = (strength > 0.05) & (strength > 4 * noise)
    above = strength[weak]
    if above.size < 12:
        return np.zeros(strength.shape, np.uint8), 1.0
    top = float(np.percentile(above, 99))
    split, _ = cv2.threshold(np.clip(above / top * 255, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    full = float(np.percentile(above[above >= split / 255 * top], 60))
    level = max(0.05, 0.36 * full)
    weak &= strength > level
    labels, stats = parts(weak.astype(np.uint8))
    rows, columns = inked(weak)
    own, share, grain = labels[rows, columns], strength[rows, columns], noise[rows, columns]
    strong = np.bincount(own[(share > max(level, 0.55 * full)) & (share > 7 * grain)], minlength=len(stats)) > 0
    strong &= stats[:, cv2.CC_STAT_AREA] >= 6
    across = (stats[:, 2:4] >= ACROSS * np.array(strength.shape[::-1])).any(1)
    for number in np.flatnonzero(strong & across).tolist():
        x, y, w, h = stats[number, :4].tolist()
        around = (slice(max(y - 4, 0), y + h + 4), slice(max(x - 4, 0), x + w + 4))
        strong[number] = _sharpness(strength[around], labels[around] == number) > SOFT
    mask = np.zeros(strength.shape, np.uint8)
    mask[rows, columns] = strong[own]
    return mask, level


def without_corners(mask: Mask, way_back: NDArray[np.float64], size: tuple[int, int]) -> Mask:
    """Ink (h, w) and its homography to the picture (W, H) -> without what fills a corner of the picture: a table beside
    a sheet laid askew. Strokes that lie in a corner are not solid."""
    ys, xs = inked(mask)
    if not len(xs):
        return mask
    places = np.floor(cv2.perspectiveTransform(np.stack([xs, ys], 1)[None] + 0.5, way_back)[0]).astype(np.int64)
    last = np.array(size) - 1
    edge = (places < RAGGED) | (places > last - RAGGED)
    corner = edge.all(1)
    if not corner.any():
        return mask
    kept = mask.copy()
    labels = parts(mask)[0][ys, xs]
    for number in np.unique(labels[corner]).tolist():
        own = labels == number
        extent = np.ptp(places[own], axis=0) + 1
        if (extent > CORNER * (last + 1)).any():
            continue
        along = [len(np.unique(places[own & edge[:, 1 - axis], axis])) / extent[axis] for axis in (0, 1)]
        hull = cv2.convexHull(places[own].astype(np.int32))
        solid = own.sum() > SOLID * cv2.contourArea(hull)
        if solid and min(along) > FILLED[0] and max(along) > FILLED[1]:
            kept[ys[own], xs[own]] = 0
    return np.asarray(kept, np.uint8)


def _sharpness(strength: Float, own: NDArray[np.bool_]) -> float:
    """A component and its surroundings (h, w) -> the share of its depth by which ink changes within 7 pixels of its
    edge, at the median; 0 where it has none."""
    edge = own & (cv2.erode(own.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) == 0)
    if not edge.any():
        return 0.0
    window = np.ones((7, 7), np.uint8)
    change = cv2.dilate(strength, window) - cv2.erode(strength, window)
    return float(np.median(change[edge])) / max(float(np.percentile(strength[own], 90)), 1e-6)


def skew(mask: Mask) -> float:
    """Ink (h, w) -> degrees by which the page is turned counter-clockwise, 0 when nothing tells.

    The angle at which the ink's row sums differ most (Postl 1986): rules and lines of writing both say it. Where marks
    stand in rows it is looked for near their angle: numbers that stand far apart fall into one row at some angle too.
    """
    ys, xs = inked(mask)
    if len(xs) < 50:
        return 0.0
    wide, high = int(xs.max() - xs.min()), int(ys.max() - ys.min())
    if wide < 2 * min(high, 80):
        return 0.0
    if len(xs) > 20000:
        keep = np.random.default_rng(0).choice(len(xs), 20000, replace=False)
        xs, ys = xs[keep], ys[keep]
    bin_size = max(1.0, max(mask.shape) / 400)

    def sharpness(degrees: float) -> float:
        rows = ((ys - np.tan(np.radians(degrees)) * xs) / bin_size).astype(np.int64)
        counts = np.bincount(rows - rows.min()).astype(np.float64)
        return float((counts**2).sum())

    coarse = np.arange(-STEEPEST, STEEPEST + 0.1, 1.0)
    angles = _to_neighbours(mask)
    if len(angles) >= NEIGHBOURS:
        near = np.abs(coarse - np.median(angles)) <= NEAR
        coarse = coarse[near] if near.any() else coarse
    best = float(coarse[int(np.argmax([sharpness(angle) for angle in coarse]))])
    fine = best + np.arange(-0.8, 0.81, 0.2)
    best = float(fine[int(np.argmax([sharpness(angle) for angle in fine]))])
    return best if 0.0 not in coarse or sharpness(best) > 1.03 * sharpness(0.0) else 0.0


def _to_neighbours(mask: Mask) -> NDArray[np.float64]:
    """Ink (h, w) -> the angles (n,), in degrees, from marks of the writing's height to their nearest on the right."""
    _, stats = parts(mask)
    height, boxes = writing_height(stats), stats[1:].astype(np.float64)
    boxes = boxes[(boxes[:, 3] > 0.5 * height) & (boxes[:, 3] < 1.8 * height) & (boxes[:, 2] < 2.5 * height)]
    if not 0 < len(boxes) <= MOST_MARKS:
        return np.zeros(0)
    left, right = boxes[:, 0], boxes[:, 0] + boxes[:, 2]
    x, y = (left + right) / 2, boxes[:, 1] + boxes[:, 3] / 2
    ahead, aside = x[None] - x[:, None], y[None] - y[:, None]
    row = (ahead > 0.4 * height) & (left[None] - right[:, None] < 1.2 * height)
    row &= np.abs(aside) < 0.35 * np.maximum(ahead, height) + 0.15 * height
    nearest = np.where(row, np.hypot(ahead, 2 * aside), np.inf).argmin(1)
    own = np.flatnonzero(row.any(1))
    return np.asarray(np.degrees(np.arctan2(aside[own, nearest[own]], ahead[own, nearest[own]])), np.float64)


def _turned(size: tuple[int, int], angle: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The affine that turns a (W, H) picture upright on a canvas which holds all of it, and that canvas' size."""
    wide, high = size
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), angle, 1.0)
    corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float64) @ turn[:, :2].T + turn[:, 2]
    turn[:, 2] -= corners.min(0)
    extent = np.ceil(np.ptp(corners, axis=0)).astype(int)
    return np.asarray(turn, np.float64), (int(extent[0]), int(extent[1]))
