"""One character, from any picture to the 28x28 that a model sees, with each step told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging.ink import CHARACTER_REACH, Ink, find_ink, grey_levels, has_light_ink
from handwriting.imaging.rules import erase_rules

# LeCun, Bottou, Bengio, Haffner 1998, section III.A: the longest side becomes 20, the centre of mass the middle of 28.
SIDE, BOX = 28, 20
# Pixel index of the middle: over 4,000 MNIST training digits the centre of mass is at 14.00 (s.d. 0.29), not 13.5.
MIDDLE = 14.0
WORK_LEAST, WORK_MOST = 112, 320


class Step(NamedTuple):
    """One stage on the way: its name, a uint8 picture (h, w) of the result, and what was done and why."""

    name: str
    image: NDArray[np.uint8]
    note: str


@dataclass(frozen=True)
class NormalForm:
    """A character as the model sees it, and how it was found."""

    image: NDArray[np.uint8]  # (28, 28), white ink on black
    mask: NDArray[np.bool_]  # (H, W), the character's ink in the picture
    box: tuple[int, int, int, int] | None  # x, y, width, height in the picture; None when nothing was found
    polarity: Literal["dark ink", "light ink"]
    warnings: tuple[str, ...]
    empty: bool  # no ink was found
    steps: tuple[Step, ...]


def normal_form(picture: NDArray[np.uint8]) -> NormalForm:
    """One character, uint8 (H, W) or (H, W, 3) RGB of any size -> NormalForm with a uint8 (28, 28) image.

    Raises PictureError when the array is of another type or has no pixels; never for what it shows.
    """
    grey = grey_levels(picture)
    height, width = grey.shape
    work = _work_size(grey)
    ink = find_ink(work, CHARACTER_REACH, has_light_ink(grey))
    polarity: Literal["dark ink", "light ink"] = "light ink" if ink.light_ink else "dark ink"
    warnings: list[str] = ["inverted: ink was light"] if ink.light_ink else []
    steps = [
        Step("grey", work, f"{width}x{height} pixels, worked on at {work.shape[1]}x{work.shape[0]}"),
        Step("ink", _levels(ink.strength / max(float(ink.strength.max()), 0.01)), f"light flattened; {polarity}"),
    ]
    mask = _ink_mask(ink.strength, ink.noise)
    if mask.any():
        full = float(np.percentile(ink.strength[mask], 60))
        plain, erased = erase_rules(ink.strength, full, max(4.0 * ink.noise, 0.02))
        if erased:
            ink = Ink(plain, ink.light_ink, ink.noise)
            mask = _ink_mask(plain, ink.noise)
    steps.append(Step("mask", mask.astype(np.uint8) * 255, "what is darker than the paper by more than grain"))
    if not mask.any():
        blank = np.zeros((SIDE, SIDE), np.uint8)
        return NormalForm(blank, np.zeros((height, width), bool), None, polarity, (), True, tuple(steps))
    mask = _main_parts(mask)
    steps.append(Step("character", mask.astype(np.uint8) * 255, "specks and stray marks dropped"))
    full = max(float(np.percentile(ink.strength[mask], 60)), 1e-3)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    strokes = (np.clip(ink.strength / full, 0, 1) * near)[y : y + h, x : x + w].astype(np.float32)
    image = fit_ink(strokes)
    steps.append(Step("normal form", image, "longest side 20, centre of mass in the middle of 28x28"))
    full_mask = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    if not full_mask.any():
        full_mask[y * height // work.shape[0], x * width // work.shape[1]] = True
    left, top, wide, high = (int(v) for v in cv2.boundingRect(full_mask.astype(np.uint8)))
    return NormalForm(image, full_mask, (left, top, wide, high), polarity, tuple(warnings), False, tuple(steps))


def fit_ink(ink: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ink of one character, cut to its box, (h, w) float 0..1 or uint8 -> uint8 (28, 28).

    Longest side 20 with the aspect kept, averaged down (or cubic up), centre of mass in the middle of 28x28
    (LeCun et al. 1998, section III.A). No ink gives all 0.
    """
    strokes = ink.astype(np.float32) / 255.0 if ink.dtype == np.uint8 else np.asarray(ink, np.float32)
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    if strokes.size == 0 or not strokes.any():
        return canvas
    height, width = strokes.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = np.clip(cv2.resize(strokes, size, interpolation=method), 0.0, 1.0).astype(np.float32)
    left = _corner(small.sum(0))
    top = _corner(small.sum(1))
    canvas[top : top + size[1], left : left + size[0]] = _levels(small)
    return canvas


def _corner(profile: NDArray[np.float32]) -> int:
    """Where an ink profile begins on the canvas for its centre of mass to come nearest the middle."""
    total = float(profile.sum())
    centre = float((profile * np.arange(len(profile))).sum()) / total if total > 0 else (len(profile) - 1) / 2
    return min(max(round(MIDDLE - centre), 0), SIDE - len(profile))


def _work_size(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at a size where strokes are several pixels wide and a page of pixels is not waded through."""
    longest = max(grey.shape)
    side = min(max(longest, WORK_LEAST), WORK_MOST)
    if side == longest:
        return grey
    scale = side / longest
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)


def _ink_mask(strength: NDArray[np.float32], noise: float) -> NDArray[np.bool_]:
    """Ink strength (h, w) -> bool (h, w): at least a third of full ink, joined to something past Otsu's threshold."""
    floor = max(4.0 * noise, 0.02)
    above = strength[strength > floor]
    if above.size < 4:
        return np.zeros(strength.shape, bool)
    top = float(above.max())
    otsu, _ = cv2.threshold((above / top * 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    core = strength > otsu / 255.0 * top
    full = float(np.percentile(strength[core], 75)) if core.any() else top
    weak = strength > max(floor, 0.35 * full)
    _, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    keep = np.zeros(int(labels.max()) + 1, bool)
    keep[np.unique(labels[core & weak])] = True
    keep[0] = False
    return np.asarray(keep[labels], bool)


def _main_parts(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece and those at least 8% of it."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.asarray((areas >= 0.08 * areas.max())[labels], bool) if count > 1 else mask


def _levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0..1 -> 0..255."""
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), np.uint8)
