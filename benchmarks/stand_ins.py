"""Pictures that stand in for collections of real digits, made from digits whose 28x28 is known.

The same digit is seen twice: as the 28x28 that it came as, and as a stranger's picture of it, through the whole door.
What the second loses against the first is the door's loss, not the model's. A maker takes a digit and a generator,
and returns an encoded file, as a user would give it.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import torch
from compose import INKS, Composed, on_table
from numpy.typing import NDArray
from PIL import Image

from handwriting.data import load, split
from handwriting.learning.glyphs import DIGITS, draw, parse, pens, pieces

Alpha = NDArray[np.float32]
Picture = NDArray[np.uint8]
FINE = 12  # fine pixels in one of the 28


class Digit:
    """One digit: its label, the 28x28 that it came as, and its outline at a fine resolution."""

    def __init__(self, label: int, image: Picture, inside: Alpha) -> None:
        """``inside``: float32 (h, w), how far each fine pixel lies inside the ink; negative outside, room around."""
        self.label, self.image, self._inside = label, image, inside

    def ink(self, wider: float = 0.0) -> Alpha:
        """Ink 0..1 cut to its box; strokes wider by ``wider`` of the 28's pixels, or thinner but never broken."""
        least = -1.2 * float(self._inside.max())
        ink = np.clip(self._inside + max(wider * FINE, least) / 2 + 0.5, 0, 1).astype(np.float32)
        x, y, w, h = cv2.boundingRect((ink > 0.5).astype(np.uint8))
        return np.ascontiguousarray(ink[y : y + h, x : x + w])


def mnist_digits(count: int, rng: np.random.Generator) -> list[Digit]:
    """Digits of MNIST's valid part, which taught the shipped model nothing but its threshold and temperature."""
    valid = split(load("mnist")).valid
    return [_from_image(int(valid.labels[row]), valid.images[row]) for row in rng.permutation(len(valid))[:count]]


def _from_image(label: int, image: Picture) -> Digit:
    fine = cv2.resize(np.pad(image, 3), None, fx=FINE, fy=FINE, interpolation=cv2.INTER_CUBIC)
    shape = (cv2.GaussianBlur(fine.astype(np.float32), (0, 0), 0.4 * FINE) > 0.45 * 255).astype(np.uint8)
    inside = cv2.distanceTransform(shape, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - shape, cv2.DIST_L2, 5)
    return Digit(label, image, np.asarray(inside, np.float32))


def drawn_digits(count: int, seed: int) -> list[Digit]:
    """Digits drawn from the stroke templates, unsteady: flags, feet, closed 4s, crossed 7s."""
    generator = torch.Generator().manual_seed(seed)
    digits = []
    texts = [(label, text) for label, forms in enumerate(DIGITS.values()) for text in forms]
    for number in range(count):
        label, text = texts[number % len(texts)]
        lines = pieces(parse(text), 1, generator)
        width, softness = pens(1, generator)
        image = draw(lines, width, softness, generator)[0].numpy()
        corners = lines[0].numpy()
        low, high = corners.min((0, 1)), corners.max((0, 1))
        scale = FINE * (20 - float(width)) / float((high - low).max())
        room = 5 * FINE
        ends = np.rint((corners - low) * scale + room).astype(np.int32)
        page = np.ones(np.rint((high - low) * scale + 2 * room).astype(int)[::-1], np.uint8)
        cv2.polylines(page, list(ends), False, 0)
        inside = float(width) * FINE / 2 - cv2.distanceTransform(page, cv2.DIST_L2, 5)
        digits.append(Digit(label, image, np.asarray(inside, np.float32)))
    return digits


# --- the pictures ----------------------------------------------------------------------------------------------------


def tight_16(digit: Digit, rng: np.random.Generator) -> bytes:
    """As USPS: cut to the ink, brought to 16 x 16 with or without its aspect, grey, light on dark or the other way."""
    ink = digit.ink()
    height, width = ink.shape
    if rng.random() < 0.5 or max(height, width) > 3 * min(height, width):  # aspect kept
        side = max(height, width)
        ink = _placed(ink, (side, side), (side - height) // 2, (side - width) // 2)
    small = np.asarray(cv2.resize(ink, (16, 16), interpolation=cv2.INTER_AREA), np.float32)
    if rng.random() < 0.5:
        small = np.clip(cv2.GaussianBlur(small, (0, 0), 0.5), 0, 1).astype(np.float32)
    paper, full = rng.uniform(0, 20), rng.uniform(180, 255)
    levels = paper + (full - paper) * small + rng.normal(0, rng.uniform(0, 4), small.shape)
    return _png(255 - levels if rng.random() < 0.5 else levels)


def counted_8(digit: Digit, rng: np.random.Generator) -> bytes:
    """As UCI: a bitmap of 32 x 32 filled from top to bottom, counted in 4 x 4 blocks: 8 x 8 of 0 to 16."""
    ink = digit.ink(rng.uniform(-0.4, 0.8))
    height, width = ink.shape
    wide = int(np.clip(round(32 * width / height * rng.uniform(0.95, 1.25)), 5, 32))
    bitmap = cv2.resize(ink, (wide, 32), interpolation=cv2.INTER_AREA) > 0.5
    page = _placed(bitmap.astype(np.float32), (32, 32), 0, (32 - wide) // 2)
    return _png(page.reshape(8, 4, 8, 4).sum((1, 3)) * (255 / 16))


def pen_crop(digit: Digit, rng: np.random.Generator) -> bytes:
    """A crop of a photographed form: dark ink on grey paper, 30 to 70 pixels, any pen, tight or loose."""
    ink = digit.ink(rng.uniform(-1.5, 1.5))
    side = int(rng.integers(30, 71))
    # From one pixel of every stroke cut off to a third of the picture empty on every side.
    margin = -1 if rng.random() < 0.1 else round(float(rng.choice([rng.uniform(0, 4), rng.uniform(2, 0.3 * side)])))
    fit = (side - 2 * margin) / max(ink.shape)
    ink = _resized(ink, fit)
    height, width = ink.shape
    high = height + 2 * margin
    wide = side if rng.random() < 0.3 else width + 2 * max(margin, 2)
    page = _placed(ink, (high, wide), margin, (wide - width) // 2)
    if rng.random() < 0.3:
        page = np.maximum(page, _stranger(page.shape, rng))
    return _photo(page, rng, light=rng.uniform(0.55, 0.95), depth=rng.uniform(0.35, 0.9), noise=5)


def _stranger(shape: tuple[int, ...], rng: np.random.Generator) -> Alpha:
    """A bit of a neighbour's stroke, or of a rule, at the border."""
    drawn = np.zeros(shape, np.float32)
    height, width = shape
    thick = int(rng.integers(1, max(2, height // 14) + 1))
    along = int(rng.integers(0, height))
    if rng.random() < 0.5:  # a stroke that ends within a tenth of the picture
        reach = max(1, round(0.08 * width))
        cv2.line(drawn, (-5, along), (reach, along + int(rng.integers(-4, 5))), 1.0, thick, cv2.LINE_AA)
    else:  # a rule along an edge, fainter than the ink
        cv2.line(drawn, (0, 0), (width, int(rng.integers(-1, 2))), float(rng.uniform(0.3, 0.8)), 1, cv2.LINE_AA)
    return np.ascontiguousarray(np.rot90(drawn, 2 * int(rng.integers(0, 2))))


def phone_photo(digit: Digit, rng: np.random.Generator) -> bytes:
    """A photo of 200 to 4,000 pixels: shadow, plain, ruled or graph paper, a box that may touch the ink, any pen."""
    ink = digit.ink(rng.uniform(-1.5, 1.5))
    # Drawn at no more than 1,000 pixels and then enlarged, as soft as a camera's optics leave large pictures.
    side = round(float(np.exp(rng.uniform(np.log(200), np.log(4000)))))
    work = min(side, 1000)
    fit = work * rng.uniform(0.25, 0.75) / max(ink.shape)
    ink = _resized(ink, fit)
    wide = max(round(work * rng.uniform(0.7, 1.0)), ink.shape[1] + 20)
    top, left = (int(rng.uniform(0.15, 0.85) * (room - own)) for room, own in zip((work, wide), ink.shape, strict=True))
    page = _placed(ink, (work, wide), top, left)
    paper = rng.choice(["plain", "ruled", "graph", "box"], p=[0.4, 0.2, 0.2, 0.2])
    page = np.maximum(page, _lines(str(paper), page.shape, (top, left, *ink.shape), rng))
    ys, xs = np.mgrid[0:work, 0:wide].astype(np.float32)
    slope = rng.uniform(-1, 1) * (xs / wide - 0.5) + rng.uniform(-1, 1) * (ys / work - 0.5)
    shade = 1 - rng.uniform(0, 0.6) / (1 + np.exp(-slope * rng.uniform(4, 60)))
    return _photo(page, rng, light=rng.uniform(0.6, 0.95), depth=rng.uniform(0.4, 0.9), noise=4, shade=shade, side=side)


def sheet_on_table(digit: Digit, rng: np.random.Generator) -> bytes:
    """A photo of 1,600 pixels: a sheet on a table, at a slant, with one digit on it, 60 to 350 pixels high."""
    shape = (900, 1200) if rng.random() < 0.5 else (1200, 900)
    ink = digit.ink(rng.uniform(-1.5, 1.5))
    ink = _resized(ink, rng.uniform(60, 350) / max(ink.shape))
    top, left = (int(rng.uniform(0.1, 0.9) * (room - own)) for room, own in zip(shape, ink.shape, strict=True))
    page = _placed(ink, shape, top, left)[..., None] * rng.uniform(0.5, 0.9)
    colour = np.array(INKS[str(rng.choice(list(INKS)))], np.float32)
    sheet = _bytes(rng.uniform(200, 245) * (1 - page) + colour * page)
    photo = on_table(Composed(sheet, (str(digit.label),), np.zeros(shape, np.uint8)), rng)
    return _png(photo.picture.astype(np.float32))


def _lines(paper: str, shape: tuple[int, ...], box: tuple[int, ...], rng: np.random.Generator) -> Alpha:
    """What is printed on the paper, 0..1."""
    drawn = np.zeros(shape, np.float32)
    height, width = shape
    thick = max(1, round(height * rng.uniform(0.002, 0.006)))
    level, tilt = float(rng.uniform(0.2, 0.6)), float(rng.uniform(-0.03, 0.03))
    pitch = round(rng.uniform(0.3, 0.7) * box[2])
    if paper == "box":
        top, left, high, wide = box
        room = rng.uniform(-0.03, 0.2, 4) * high
        first, last = (left - room[0], top - room[1]), (left + wide + room[2], top + high + room[3])
        corners = np.rint(np.array([first, last])).astype(int).tolist()
        cv2.rectangle(drawn, corners[0], corners[1], level + 0.3, thick + 1, cv2.LINE_AA)
    if paper in ("ruled", "graph"):
        for row in range(int(rng.integers(0, pitch)) - height // 10, height + height // 10, pitch):
            cv2.line(drawn, (0, row), (width, round(row + tilt * width)), level, thick, cv2.LINE_AA)
    if paper == "graph":
        for column in range(int(rng.integers(0, pitch)) - width // 10, width + width // 10, pitch):
            cv2.line(drawn, (column, 0), (round(column - tilt * height), height), level, thick, cv2.LINE_AA)
    return drawn


def _photo(
    page: Alpha,
    rng: np.random.Generator,
    *,
    light: float,
    depth: float,
    noise: float,
    shade: NDArray[np.float32] | float = 1.0,
    side: int | None = None,
) -> bytes:
    """Ink 0..1 on paper -> a JPEG: lit, vignetted, blurred a little, with grain."""
    height, width = page.shape
    blur = max(0.3, rng.uniform(0.3, 0.9) * max(1.0, max(height, width) / 300))
    soft = cv2.GaussianBlur(page, (0, 0), blur)
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - rng.uniform(0, 0.25) * ((xs - rng.uniform(-0.5, 0.5)) ** 2 + (ys - rng.uniform(-0.5, 0.5)) ** 2) / 2
    levels = 255 * light * vignette * shade * (1 - depth * soft)
    if side is not None and side > max(height, width):
        levels = _resized(levels.astype(np.float32), side / max(height, width))
    levels = levels + rng.standard_normal(levels.shape, np.float32) * rng.uniform(0.5, noise)
    file = io.BytesIO()
    Image.fromarray(_bytes(levels)).save(file, "JPEG", quality=int(rng.integers(60, 96)))
    return file.getvalue()


def _placed(ink: Alpha, shape: tuple[int, int], top: int, left: int) -> Alpha:
    """Ink on an empty page of a shape; what would lie outside is cut off."""
    page = np.zeros(shape, np.float32)
    ys, xs = max(top, 0), max(left, 0)
    part = ink[ys - top : shape[0] - top, xs - left : shape[1] - left]
    page[ys : ys + part.shape[0], xs : xs + part.shape[1]] = part
    return page


def _resized(levels: Alpha, scale: float) -> Alpha:
    """Averaged down, or linear up."""
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(levels, None, fx=scale, fy=scale, interpolation=method), np.float32)


def _bytes(levels: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def _png(levels: NDArray[np.floating]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(_bytes(levels)).save(file, "PNG")
    return file.getvalue()


Maker = Callable[[Digit, np.random.Generator], bytes]
# what it stands for, which digits, how a picture is made, how many; each kind's seed is its place
KINDS: tuple[tuple[str, str, Maker, int], ...] = (
    ("16 x 16, tight (as USPS)", "MNIST", tight_16, 3000),
    ("8 x 8, counted (as UCI)", "MNIST", counted_8, 3000),
    ("pen crops, 30 to 70 pixels", "MNIST", pen_crop, 3000),
    ("phone photos, 200 to 4,000 pixels", "MNIST", phone_photo, 500),
    ("pen crops, 30 to 70 pixels", "drawn", pen_crop, 2000),
    ("sheets on a table, 1,600 pixels", "MNIST", sheet_on_table, 300),
)


def digits_of(source: str, count: int, seed: int) -> list[Digit]:
    """``count`` digits: "MNIST" (valid) or "drawn"."""
    return mnist_digits(count, np.random.default_rng(seed)) if source == "MNIST" else drawn_digits(count, seed)
