"""Which ink is the character: thresholds with a memory, specks and stray marks left out."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging.ink import Ink

# Half of full ink is where the true edge of an antialiased stroke lies; pencil is uneven, so what is joined to sure ink
# counts from a third on; and in a picture enlarged this much thin strokes never filled a pixel.
EDGE_SHARE, SMALL_EDGE_SHARE = 0.35, 0.2
SMALL_SCALE = 1.5
# Below this share of the paper's light nothing is ink, even without grain (2% is 5 of 255 levels).
LEAST_INK = 0.02
# A character is at least this share of the picture's longest side; what is smaller is grain.
LEAST_SIDE = 0.02
# The steepest edge of a stroke, in shares of its ink a pixel: tight cuts, blurred photos and marker all pass 0.18,
# and what a closing leaves of a soft shadow at the border stays below 0.15.
SHARP = 0.16


class Parts(NamedTuple):
    """The pieces of ink that make the character, and what was left out."""

    mask: NDArray[np.bool_]  # (h, w)
    dropped: tuple[str, ...]  # what was left out, in words
    apart: bool  # two large pieces stand side by side


def ink_floor(ink: Ink) -> float:
    """Strength below which a pixel may be grain."""
    return max(4.0 * ink.noise, LEAST_INK)


def full_ink(strength: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """The strength of a full stroke: strokes' edges are weaker, so a little above the median under the mask."""
    return max(float(np.percentile(strength[mask], 60)), 1e-3)


def ink_mask(ink: Ink) -> NDArray[np.bool_]:
    """Ink (h, w) -> bool (h, w): a third (in small pictures a fifth) of full ink, joined to what passes Otsu's."""
    floor = ink_floor(ink)
    above = ink.strength[ink.strength > floor]
    if above.size < 2:
        return np.zeros(ink.strength.shape, bool)
    top = float(above.max())
    otsu, _ = cv2.threshold(np.asarray(above / top * 255.0, np.uint8), 0, 255, cv2.THRESH_OTSU)
    core = ink.strength > min(otsu / 255.0, 0.9) * top
    share = SMALL_EDGE_SHARE if ink.scale >= SMALL_SCALE else EDGE_SHARE
    weak = ink.strength > max(floor, share * float(np.percentile(ink.strength[core], 75)))
    count, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[np.unique(labels[core])] = True
    keep[0] = False
    return np.asarray(keep[labels], bool)


def choose_parts(ink: Ink, mask: NDArray[np.bool_]) -> Parts:
    """Ink and its mask (h, w) -> the pieces that make the character; an empty mask when there is none.

    The main piece has the most ink, counting less at the border and far from the middle. Pieces near it stay unless
    they are specks; pieces cut off by the border are a neighbour's when the main piece is whole.
    """
    height, width = mask.shape
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, wide, high, area = (stats[1:, i].astype(np.float64) for i in range(5))
    weight = np.bincount(labels.ravel(), ink.strength.ravel(), count)[1:]
    cut = (left <= 1) | (top <= 1) | (left + wide >= width - 1) | (top + high >= height - 1)
    away = np.hypot(centres[1:, 0] / width - 0.5, centres[1:, 1] / height - 0.5)
    grainy = weight / np.maximum(area, 1.0) < 10.0 * ink.noise
    writing = np.maximum(wide, high) >= np.where(grainy, 4 * LEAST_SIDE, LEAST_SIDE) * max(height, width)
    # A shadow's rest hugs the border; what spreads around the middle is a soft, tightly cut character.
    middle = (left < width / 2) & (left + wide > width / 2) & (top < height / 2) & (top + high > height / 2)
    for i in np.flatnonzero(cut & writing & ~middle) if not ink.even else ():
        writing[i] = not _is_shadow(ink, np.asarray(labels, np.int32), int(i) + 1, np.asarray(stats[i + 1], np.int32))
    if not writing.any():
        return Parts(np.zeros_like(mask), (), False)
    # Size counts more than darkness: a dark blot is no rival of a pencil stroke.
    main = int((np.sqrt(weight) * np.maximum(wide, high) * writing * np.where(cut, 0.35, 1.0) * (1.2 - away)).argmax())
    size = max(wide[main], high[main])
    stroke = stroke_width(labels == main + 1)
    speck = (
        ~writing & ~cut
        | (area < 0.25 * stroke**2)
        | ((area < 0.02 * area[main]) & (np.maximum(wide, high) < 0.12 * size))
    )
    neighbour = cut & (~cut[main] & (area < area[main]) | ~writing)
    box = [left[main], top[main], left[main] + wide[main], top[main] + high[main]]
    kept = np.zeros(count - 1, bool)
    kept[main] = True
    growing = True
    while growing:  # a piece may be near only what joined after its turn
        growing = False
        for i in np.argsort(-area):
            gap_x = max(left[i] - box[2], box[0] - left[i] - wide[i], 0.0)
            gap_y = max(top[i] - box[3], box[1] - top[i] - high[i], 0.0)
            if not kept[i] and not speck[i] and not neighbour[i] and np.hypot(gap_x, gap_y) <= 0.35 * size:
                kept[i] = growing = True
                box = [
                    min(box[0], left[i]),
                    min(box[1], top[i]),
                    max(box[2], left[i] + wide[i]),
                    max(box[3], top[i] + high[i]),
                ]
    beside = (left > left[main] + 0.9 * wide[main]) | (left + wide < left[main] + 0.1 * wide[main])
    apart = bool((beside & ~neighbour & (weight > 0.35 * weight[main]) & (high > 0.5 * high[main])).any())
    stray = ~kept & ~speck & ~neighbour
    dropped = tuple(
        f"{int(which.sum())} {name}"
        for which, name in ((speck & ~kept, "speck(s)"), (neighbour, "cut by the border"), (stray, "far off"))
        if which.any()
    )
    return Parts(np.asarray(np.concatenate([[False], kept])[labels], bool), dropped, apart)


def _is_shadow(ink: Ink, labels: NDArray[np.int32], label: int, stat: NDArray[np.int32]) -> bool:
    """Whether a piece at the border is soft, or no stronger than grain: what is left of a shadow or a gradient."""
    x, y, w, h = (int(v) for v in stat[:4])
    where = np.s_[max(0, y - 3) : y + h + 3, max(0, x - 3) : x + w + 3]
    own = (labels[where] == label).astype(np.uint8)
    strength = ink.strength[where]
    full = full_ink(strength, own > 0)
    if full < 10.0 * ink.noise:
        return True
    if full < 20.0 * ink.noise:  # grain has steep edges of its own
        strength = np.asarray(cv2.GaussianBlur(strength, (0, 0), 1.5), np.float32)
    steep = np.hypot(cv2.Sobel(strength, cv2.CV_32F, 1, 0), cv2.Sobel(strength, cv2.CV_32F, 0, 1)) / 8.0
    near = cv2.dilate(own, np.ones((5, 5), np.uint8)) > 0
    return float(np.percentile(steep[near], 90)) * max(1.0, ink.scale) < SHARP * full


def touches_border(mask: NDArray[np.bool_]) -> bool:
    """Whether the picture's edge cuts the mask."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def stroke_width(mask: NDArray[np.bool_]) -> float:
    """Mean width of strokes in pixels: twice the area over the length of the outline."""
    shape = mask.astype(np.uint8)
    outlines, _ = cv2.findContours(shape, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    return 2.0 * float(shape.sum()) / max(length, 1.0)
