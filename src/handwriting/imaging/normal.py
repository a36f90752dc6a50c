"""One character, from any picture to the 28x28 that a model sees, with each step told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.imaging.ink import CHARACTER_REACH, PAGE_REACH, Ink, find_ink, grey_levels, has_light_ink
from handwriting.imaging.opening import MOST_PIXELS, PictureLike, open_levels
from handwriting.imaging.paper import find_paper, paper_alone
from handwriting.imaging.parts import (
    EDGE_SHARE,
    Parts,
    choose_parts,
    full_ink,
    ink_floor,
    ink_mask,
    stroke_width,
    touches_border,
)
from handwriting.imaging.rules import erase_rules

# LeCun, Bottou, Bengio, Haffner 1998, section III.A: the longest side becomes 20, the centre of mass the middle of 28.
SIDE, BOX = 28, 20
# Pixel index of the middle: over 4,000 MNIST training digits the centre of mass is at 14.00 (s.d. 0.29), not 13.5.
MIDDLE = 14.0
# A character is worked on at a size where its strokes are several pixels wide.
WORK_LEAST, WORK_MOST = 112, 256
RULED_LEAST = 32  # in a smaller picture a bar of a digit cannot be told from a rule
# Stroke width over longest side: 2nd and 98th percentile of 4,000 MNIST training digits, measured as stroke_width does.
THIN, THICK = 0.075, 0.2
THICKENED, THINNED = 0.0825, 0.17  # what is outside is brought a little inside
LOW_CONTRAST = 0.15
SMALL = 0.35  # of the picture's longest side
MOST_THINNED = 0.1  # of the character's longest side; more would open up blots

Box: TypeAlias = "tuple[int, int, int, int]"
Polarity: TypeAlias = Literal["dark ink", "light ink"]


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
    box: Box | None  # x, y, width, height in the picture; None when nothing was found
    polarity: Polarity
    warnings: tuple[str, ...]
    empty: bool  # no ink was found
    steps: tuple[Step, ...]


def normal_form(picture: NDArray[np.uint8]) -> NormalForm:
    """One character, uint8 (H, W) or (H, W, 3) RGB of any size -> NormalForm with a uint8 (28, 28) image.

    On a sheet of paper that lies on something else, the character is looked for on the sheet alone. A picture that is
    in normal form already, as MNIST's are, stays as it is.

    Raises PictureError when the array is of another type or has no pixels; never for what it shows.
    """
    grey = grey_levels(picture)
    if _is_normal(grey):
        return _as_it_is(grey)
    paper = find_paper(picture)
    if paper is None:
        return _form(grey)
    alone, to_picture = paper_alone(picture, paper)
    form = _form(grey_levels(alone))  # of the sheet alone: the table's colours decide nothing
    mask = cv2.warpPerspective(form.mask.astype(np.uint8), to_picture, grey.shape[::-1], flags=cv2.INTER_NEAREST)
    left, top, wide, high = (int(value) for value in cv2.boundingRect(mask))
    seen = "the sheet of paper in the picture, "
    seen += "as it looks from above" if paper.whole else "painted over where it ends"
    steps = (
        Step("picture", _resized(grey, _work_scale(grey)), f"{grey.shape[1]} x {grey.shape[0]} pixels, as grey"),
        Step("paper", form.steps[0].image, seen),
        *form.steps[1:],
    )
    return replace(form, mask=mask > 0, box=None if form.empty else (left, top, wide, high), steps=steps)


def normalised(source: PictureLike, *, max_pixels: int = MOST_PIXELS) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A picture from anywhere -> image and warnings of its NormalForm, without what led there: what a model needs.

    The image is all 0 when nothing was found. Data sets are made of small pictures in normal form: of such a file no
    more than that is found out. ``max_pixels`` and the PictureError that it raises are those of `open_picture`.
    """
    levels = open_levels(source, max_pixels=max_pixels)
    if levels.ndim == 2:
        if _is_normal(levels):
            return levels, ()
        levels = np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB), np.uint8)
    form = normal_form(levels)
    return form.image, form.warnings


def _is_normal(grey: NDArray[np.uint8]) -> bool:
    """Whether grey levels (H, W) are a normal form: light on pure black, longest side 20, centre of mass in the middle.

    Of the 60,000 images of MNIST's train part all but 13 are.
    """
    if grey.shape != (SIDE, SIDE):
        return False
    _, _, wide, high = cv2.boundingRect(grey)
    if max(wide, high) != BOX:
        return False
    mass = cv2.moments(grey)
    return max(abs(mass[moment] / mass["m00"] - MIDDLE) for moment in ("m01", "m10")) <= 1.0


def _as_it_is(image: NDArray[np.uint8]) -> NormalForm:
    """A picture (28, 28) that is in normal form -> the NormalForm that leaves it so."""
    mask = image > EDGE_SHARE * float(image.max())
    left, top, wide, high = (int(value) for value in cv2.boundingRect(mask.astype(np.uint8)))
    steps = (
        Step("picture", image, f"{SIDE} x {SIDE} pixels, as grey"),
        Step("normal form", image, "is in normal form already: left as it is"),
    )
    return NormalForm(image, mask, (left, top, wide, high), "light ink", (), False, steps)


def _form(grey: NDArray[np.uint8]) -> NormalForm:
    """Grey levels (H, W) of a picture of one character -> NormalForm."""
    height, width = grey.shape
    light_ink = has_light_ink(grey)
    polarity: Polarity = "light ink" if light_ink else "dark ink"
    steps = [Step("picture", _resized(grey, _work_scale(grey)), f"{width} x {height} pixels, as grey")]
    x, y, w, h = _neighbourhood(grey, light_ink)
    part = grey[y : y + h, x : x + w]
    scale = _work_scale(part)
    if (w, h) != (width, height):
        steps.append(Step("cut", _resized(part, scale), "the writing is small in the picture: looked at from near"))
    ink = find_ink(part, CHARACTER_REACH, light_ink, scale)
    steps.append(Step("ink", _levels(ink.strength / max(float(ink.strength.max()), 0.01)), _light_note(polarity)))
    mask = ink_mask(ink)
    if mask.any() and max(part.shape) >= RULED_LEAST:
        plain, erased = erase_rules(ink.strength, full_ink(ink.strength, mask), ink_floor(ink))
        if erased:
            ink = replace(ink, strength=plain)
            mask = ink_mask(ink)
            note = f"{erased} straight line{'s' * (erased > 1)} taken out, strokes that cross kept"
            steps.append(Step("lines out", _levels(plain / max(float(plain.max()), 0.01)), note))
    parts = _larger_but_fainter(ink, choose_parts(ink, mask))
    if not parts.mask.any():
        blank = np.zeros((SIDE, SIDE), np.uint8)
        steps.append(Step("nothing", blank, "no ink stands out from the paper"))
        return NormalForm(blank, np.zeros((height, width), bool), None, polarity, (), True, tuple(steps))
    note = f"left out: {', '.join(parts.dropped)}" if parts.dropped else "all of the ink belongs to the character"
    steps.append(Step("character", parts.mask.astype(np.uint8) * 255, note))
    strokes, width_note = _strokes(ink.strength, parts.mask)
    steps.append(Step("strokes", _levels(strokes), width_note))
    image = fit_ink(strokes)
    steps.append(Step("normal form", image, "longest side 20, centre of mass in the middle of 28 x 28"))
    full_mask, box = _in_picture(parts.mask, (x, y, w, h), (height, width))
    warnings = _warnings(ink, parts, (x, y, w, h) == (0, 0, width, height))
    return NormalForm(image, full_mask, box, polarity, warnings, False, tuple(steps))


def _larger_but_fainter(ink: Ink, parts: Parts) -> Parts:
    """What was found, or, when it is small, a whole character too faint for the threshold that a dark blot set."""
    found = cv2.boundingRect(parts.mask.astype(np.uint8))
    if not 0 < max(found[2:]) < SMALL * max(parts.mask.shape):
        return parts
    around = cv2.dilate(parts.mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    rest = replace(ink, strength=np.where(around, np.float32(0), ink.strength))
    other = choose_parts(rest, ink_mask(rest))
    if not other.mask.any() or touches_border(other.mask):
        return parts
    larger = max(cv2.boundingRect(other.mask.astype(np.uint8))[2:]) > 1.5 * max(found[2:])
    return other._replace(dropped=("1 dark blot", *other.dropped)) if larger else parts


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
    return min(max(round(MIDDLE - _centre(profile)), 0), SIDE - len(profile))


def _centre(profile: NDArray[np.float32]) -> float:
    """The centre of mass of an ink profile, its middle when it has no ink."""
    total = float(profile.sum())
    return float((profile * np.arange(len(profile))).sum()) / total if total > 0 else (len(profile) - 1) / 2


def _neighbourhood(grey: NDArray[np.uint8], light_ink: bool) -> Box:
    """Where to look: around the writing when it takes up little of a large picture, else everywhere.

    Writing that is smaller than a third of the picture has strokes narrower than ``PAGE_REACH``, and at that reach
    shadows and folds of the paper hardly show.
    """
    height, width = grey.shape
    everywhere = (0, 0, width, height)
    if max(height, width) < WORK_LEAST:
        return everywhere
    scale = min(1.0, WORK_MOST / max(height, width))
    ink = find_ink(grey, PAGE_REACH, light_ink, scale)
    parts = choose_parts(ink, ink_mask(ink))
    # What the border cuts, or hardly stands out from the grain, is as likely a fold or a shadow.
    if not parts.mask.any() or touches_border(parts.mask) or full_ink(ink.strength, parts.mask) < 10.0 * ink.noise:
        return everywhere
    found = cv2.boundingRect(parts.mask.astype(np.uint8))
    x, y, w, h = (value / scale for value in found)
    longest = max(w, h)
    if longest > SMALL * max(height, width):
        return everywhere
    margin = 0.5 * longest + 4
    left, top = max(0, int(x - margin)), max(0, int(y - margin))
    return left, top, min(width, int(x + w + margin)) - left, min(height, int(y + h + margin)) - top


def _work_scale(grey: NDArray[np.uint8]) -> float:
    """How much larger to make a picture to work on it."""
    longest = max(grey.shape)
    return float(min(max(longest, WORK_LEAST), WORK_MOST) / longest)


def _resized(grey: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The picture ``scale`` times as large: averaged down, or cubic up."""
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)


def _strokes(strength: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[NDArray[np.float32], str]:
    """Ink and the character's mask -> its strokes 0..1 cut to their box, brought toward MNIST's width; and a note."""
    full = full_ink(strength, mask)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    ink = np.asarray(np.clip(strength / full, 0.0, 1.0) * near, np.float32)
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    ink = ink[y : y + h, x : x + w]
    longest = max(w, h)
    share = stroke_width(mask) / longest
    note = f"stroke {100 * share:.0f}% of the height"
    if share < THIN:
        return _widened(ink, (THICKENED - share) * longest), f"{note}, thickened to {100 * THICKENED:.0f}%"
    if share > THICK:
        to = max(THINNED, share - MOST_THINNED)
        thinner = _widened(ink, (to - share) * longest)
        x, y, w, h = cv2.boundingRect((thinner > 0.1).astype(np.uint8))
        if thinner.max() > 0.5:  # else it is a blot, all of one width
            return thinner[y : y + h, x : x + w], f"{note}, thinned to {100 * to:.0f}%"
    return ink, note


def _widened(ink: NDArray[np.float32], change: float) -> NDArray[np.float32]:
    """Strokes wider by ``change`` pixels, thinner when negative: between the two nearest odd discs, mixed."""
    lower = 2 * int(abs(change) / 2)
    share = (abs(change) - lower) / 2
    work = cv2.dilate if change > 0 else cv2.erode
    room = np.pad(ink, lower // 2 + 1)
    first, second = (
        work(room, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) for size in (lower + 1, lower + 3)
    )
    return np.asarray((1 - share) * first + share * second, np.float32)


def _in_picture(mask: NDArray[np.bool_], where: Box, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], Box]:
    """A mask found in a part of the picture, at work size -> (mask of the whole picture, its box)."""
    x, y, w, h = where
    whole = np.zeros(shape, bool)
    size = (w, h)
    part = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA if w < mask.shape[1] else 1)
    whole[y : y + h, x : x + w] = part >= min(0.5, float(part.max()))
    left, top, wide, high = (int(v) for v in cv2.boundingRect(whole.astype(np.uint8)))
    return whole, (left, top, wide, high)


def _light_note(polarity: Polarity) -> str:
    return f"{polarity}: what the strokes take from the light of the paper, shadows and gradients flattened"


def _warnings(ink: Ink, parts: Parts, whole: bool) -> tuple[str, ...]:
    """Plain words on what may have gone wrong."""
    mask = parts.mask
    longest = max(cv2.boundingRect(mask.astype(np.uint8))[2:])
    found = []
    if ink.light_ink:
        found.append("inverted: ink was light")
    if full_ink(ink.strength, mask) < LOW_CONTRAST:
        found.append("low contrast")
    share = stroke_width(mask) / longest
    if share < THIN / 2:
        found.append("stroke too thin")
    elif share > THINNED + MOST_THINNED:
        found.append("stroke too thick")
    if whole and touches_border(mask):
        found.append("touches the border")
    if parts.apart:
        found.append("two separate marks: try `read`")
    return tuple(found)


def _levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0..1 -> 0..255."""
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), np.uint8)
