"""Which ink is the character: thresholds with a memory, specks and stray marks left out."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging.ink import Ink

# Half of full ink is where the true edge of an antialiased stroke lies; pencil is uneven, so what is joined to sure
# ink counts from a third on.
EDGE_SHARE = 0.35
# Below this share of the paper's light nothing is ink, even without grain (2% is 5 of 255 levels).
LEAST_INK = 0.02


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
    """Ink (h, w) -> bool (h, w): at least a third of full ink, joined to something past Otsu's threshold."""
    floor = ink_floor(ink)
    above = ink.strength[ink.strength > floor]
    if above.size < 2:
        return np.zeros(ink.strength.shape, bool)
    top = float(above.max())
    otsu, _ = cv2.threshold(np.asarray(above / top * 255.0, np.uint8), 0, 255, cv2.THRESH_OTSU)
    core = ink.strength > min(otsu / 255.0, 0.9) * top
    weak = ink.strength > max(floor, EDGE_SHARE * float(np.percentile(ink.strength[core], 75)))
    count, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[np.unique(labels[core])] = True
    keep[0] = False
    return np.asarray(keep[labels], bool)


def choose_parts(strength: NDArray[np.float32], mask: NDArray[np.bool_]) -> Parts:
    """Ink and its mask (h, w), not empty -> the pieces that make the character.

    The main piece has the most ink, counting less at the border and far from the middle. Pieces near it stay unless
    they are specks; pieces cut off by the border are a neighbour's when the main piece is whole.
    """
    height, width = mask.shape
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, wide, high, area = (stats[1:, i].astype(np.float64) for i in range(5))
    weight = np.bincount(labels.ravel(), strength.ravel(), count)[1:]
    cut = (left <= 1) | (top <= 1) | (left + wide >= width - 1) | (top + high >= height - 1)
    away = np.hypot(centres[1:, 0] / width - 0.5, centres[1:, 1] / height - 0.5)
    main = int((weight * np.where(cut, 0.35, 1.0) * (1.2 - away)).argmax())
    size = max(wide[main], high[main])
    stroke = stroke_width(labels == main + 1)
    speck = (area < 0.25 * stroke**2) | ((area < 0.02 * area[main]) & (np.maximum(wide, high) < 0.12 * size))
    neighbour = cut & ~cut[main] & (area < area[main])
    box = [left[main], top[main], left[main] + wide[main], top[main] + high[main]]
    kept = np.zeros(count - 1, bool)
    kept[main] = True
    for i in np.argsort(-area):
        gap_x = max(left[i] - box[2], box[0] - left[i] - wide[i], 0.0)
        gap_y = max(top[i] - box[3], box[1] - top[i] - high[i], 0.0)
        if not kept[i] and not speck[i] and not neighbour[i] and np.hypot(gap_x, gap_y) <= 0.35 * size:
            kept[i] = True
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


def stroke_width(mask: NDArray[np.bool_]) -> float:
    """Mean width of strokes in pixels: twice the area over the length of the outline."""
    shape = mask.astype(np.uint8)
    outlines, _ = cv2.findContours(shape, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    return 2.0 * float(shape.sum()) / max(length, 1.0)
