"""Handwritten number fields and photographed pages, composed from real digits of one writer each, with the truth known.

Ink and rules are laid out on the paper, bent by one homography (rotation, perspective) as a camera would, and only
then lit, blurred, grained and compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.data import Dataset, Source, split

Float = NDArray[np.float32]
Generator = np.random.Generator

SPACINGS = ("touching", "tight", "normal", "wide")
INKS = {"blue": (38, 52, 140), "black": (28, 27, 32), "pencil": (88, 88, 92), "green": (28, 96, 60)}
TABLES = {
    "oak": (120, 85, 55),
    "pine": (180, 150, 115),
    "black": (35, 30, 30),
    "anthracite": (60, 60, 65),
    "grey": (150, 150, 150),
    "blue": (90, 110, 130),
}
RULE_COLOURS = ((120, 150, 210), (150, 150, 155), (90, 90, 95), (200, 90, 90))


@dataclass(frozen=True)
class Composed:
    """A picture with its truth."""

    picture: NDArray[np.uint8]  # (H, W, 3) RGB
    texts: tuple[str, ...]  # a line each, from top to bottom
    owners: NDArray[np.uint8]  # (H, W), 0 no ink, k the k-th digit counted over all lines
    conditions: dict[str, str] = field(default_factory=dict)


@dataclass
class _Sheet:
    """What lies on the paper before the camera sees it: layers (H, W) in 0..1, and each rule layer's colour."""

    ink: Float
    owners: NDArray[np.uint8]
    rules: list[tuple[Float, tuple[int, int, int]]]
    behind: Float | None = None


class Bank:
    """Digits by writer; a number is written by one of them."""

    def __init__(self, digits: Dataset, least: int = 10) -> None:
        self.digits = digits
        self.writers = digits.hands(least)

    def number(self, rng: Generator, writer: int, length: int) -> tuple[str, list[Float]]:
        """The writer's digits, drawn without repeating an image while they last -> text, images (28, 28) in 0..1."""
        own = self.writers[writer]
        chosen = rng.choice(own, length, replace=length > len(own))
        text = "".join(self.digits.classes[self.digits.labels[index]] for index in chosen)
        return text, [self.digits.images[index].astype(np.float32) / 255 for index in chosen]


def strangers(source: Source) -> Dataset:
    """Digits of MNIST's train part that no shipped model learned from, of writers strange to the line network.

    The classifier keeps a fifth of all digits out (the split by class), the line network a fifth of all writers.
    """
    unseen = split(source).valid
    writers = split(source, by="writer").valid.writers
    if unseen.writers is None or writers is None:
        raise ValueError("fields need writers: put qmnist_writers.npz beside the MNIST files")
    return unseen.subset(np.flatnonzero(np.isin(unseen.writers, writers)))


def compose_field(bank: Bank, rng: Generator) -> Composed:
    """One number of 1-8 digits on a strip of paper, its conditions drawn as issue and docs/results/fields.md say."""
    writer = int(rng.integers(len(bank.writers)))
    length = int(rng.integers(1, 9))
    text, digits = bank.number(rng, writer, length)
    spacing = str(rng.choice(SPACINGS, p=(0.2, 0.25, 0.35, 0.2)))
    height = float(rng.uniform(26, 64))
    line, owners, middles = write_line(digits, spacing, height, float(rng.uniform(0, 0.07)), rng)
    margin = (int(height * rng.uniform(0.35, 0.9)), int(height * rng.uniform(0.5, 1.6)))
    ink = np.pad(line, ((margin[0],) * 2, (margin[1],) * 2))
    sheet = _Sheet(ink, np.pad(owners, ((margin[0],) * 2, (margin[1],) * 2)), [])
    lines = str(rng.choice(("none", "ruled", "box", "cells"), p=(0.7, 0.15, 0.09, 0.06)))
    if lines == "cells" and spacing in ("touching", "tight"):
        lines = "box"
    draw_rules(sheet, lines, height, [margin[1] + middle for middle in middles], rng)
    pen = str(rng.choice(("blue", "black", "pencil")))
    light = str(rng.choice(("even", "gradient", "shadow"), p=(0.35, 0.4, 0.25)))
    angle = float(rng.uniform(-6, 6))
    picture, seen = photograph(sheet, pen, light, angle, float(rng.uniform(0, 0.03)), rng, dark=0.75, grain=4.0)
    tilt = "0-2" if abs(angle) < 2 else "2-4" if abs(angle) < 4 else "4-6"
    conditions = {
        "spacing": spacing if length > 1 else "single digit",
        "lines": lines,
        "ink": pen,
        "light": light,
        "rotation": f"{tilt} degrees",
        "height": "26-38 px" if height < 38 else "38-51 px" if height < 51 else "51-64 px",
        "digits": "1-2" if length < 3 else "3-5" if length < 6 else "6-8",
    }
    return Composed(picture, (text,), seen, conditions)


def compose_page(bank: Bank, rng: Generator, longest: int = 1600) -> Composed:
    """A photo of a page: 2-6 lines of one writer, thin pens, grids, shadows, dark exposure, show-through."""
    writer = int(rng.integers(len(bank.writers)))
    height = float(rng.uniform(38, 76))
    size = (int(longest * rng.uniform(0.62, 0.8)), longest)
    if rng.random() < 0.5:
        size = (size[1], size[0])
    ink, owners = np.zeros(size, np.float32), np.zeros(size, np.uint8)
    paper = str(rng.choice(("plain", "ruled", "red grid", "grid"), p=(0.4, 0.2, 0.25, 0.15)))
    pitch = height * float(rng.uniform(1.7, 2.6))
    thin = float(rng.uniform(0, 0.16))
    texts: list[str] = []
    y = pitch * 0.9
    for _ in range(int(rng.integers(2, 7))):
        text, digits = bank.number(rng, writer, int(rng.integers(3, 9)))
        spacing = str(rng.choice(SPACINGS[1:], p=(0.3, 0.45, 0.25)))
        line, own, _ = write_line(digits, spacing, height, 0.04, rng, thin)
        room = size[1] - line.shape[1] - 2 * int(height)
        top, left = int(y - line.shape[0] / 2), int(height + rng.uniform(0, 0.5) * max(room, 0))
        if room < 0 or top < 0.6 * height or top + line.shape[0] > size[0] - 0.6 * height:
            continue
        place = (slice(top, top + line.shape[0]), slice(left, left + line.shape[1]))
        ink[place] = np.maximum(ink[place], line)
        owners[place] = np.where(own > 0, own + sum(map(len, texts)), owners[place])
        texts.append(text)
        y += pitch * float(rng.uniform(0.9, 1.2))
    sheet = _Sheet(ink, owners, [])
    draw_paper(sheet, paper, height, pitch, rng)
    if rng.random() < 0.3:  # the back of the sheet shows through, mirrored and soft
        sheet.behind = np.asarray(cv2.GaussianBlur(ink[:, ::-1], (0, 0), 2.0) * rng.uniform(0.06, 0.16), np.float32)
    pen = str(rng.choice(list(INKS), p=(0.35, 0.35, 0.2, 0.1)))
    light = str(rng.choice(("gradient", "shadow")))
    exposure = float(rng.uniform(0.35, 1.0))
    angle = float(rng.uniform(-6, 6))
    picture, seen = photograph(sheet, pen, light, angle, 0.03, rng, dark=0.5, grain=7.0, exposure=exposure)
    conditions = {
        "paper": paper,
        "ink": pen,
        "light": light,
        "exposure": "dark" if exposure < 0.55 else "fair" if exposure < 0.8 else "bright",
        "pen": "thin" if thin > 0.08 else "plain",
        "back": "shows through" if sheet.behind is not None else "clean",
    }
    return Composed(picture, tuple(texts), seen, conditions)


def from_near(photo: Composed, rng: Generator) -> Composed:
    """A photo of a sheet -> the part of it about the writing: the picture cuts the sheet on most sides."""
    ys, xs = np.nonzero(photo.owners)
    high, wide = photo.owners.shape
    margins = rng.uniform(15, 260, 4)
    top, left = int(max(ys.min() - margins[0], 0)), int(max(xs.min() - margins[1], 0))
    bottom, right = int(min(ys.max() + margins[2], high)), int(min(xs.max() + margins[3], wide))
    part = (slice(top, bottom), slice(left, right))
    conditions = {**photo.conditions, "picture": "cuts the sheet"}
    return Composed(np.ascontiguousarray(photo.picture[part]), photo.texts, photo.owners[part], conditions)


def on_table(page: Composed, rng: Generator, longest: int = 1600) -> Composed:
    """A page's photo, laid on a table and seen by a camera that is not right above it."""
    high, wide = page.picture.shape[:2]
    corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float64)
    tilt, side, angle = rng.uniform(0, 0.3), rng.uniform(-0.12, 0.12), np.radians(rng.uniform(-10, 10))
    nearness = 1 + tilt * (corners[:, 1] / high - 0.5) - side * (corners[:, 0] / wide - 0.5)
    seen = (corners - corners.mean(0)) * nearness[:, None] * (1, 1 - 0.5 * tilt)
    seen = seen @ np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    extent = np.ptp(seen, axis=0)
    aspect = 4 / 3 if extent[0] > extent[1] else 3 / 4
    tall = max(extent[0] / aspect, extent[1]) / rng.uniform(0.72, 0.95)
    frame = np.array((tall * aspect, tall))
    scale = longest / frame.max()
    seen = (seen - seen.min(0) + (frame - extent) * rng.uniform(0.3, 0.7, 2)) * scale
    size = (round(frame[0] * scale), round(frame[1] * scale))
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))
    name = str(rng.choice(list(TABLES)))
    grain = rng.normal(0, 0.12, (size[1] // 40 + 2, size[0] // 4 + 2)).astype(np.float32)
    table = np.array(TABLES[name], np.float32) * (1 + cv2.resize(grain, size, interpolation=cv2.INTER_CUBIC)[..., None])
    table *= float(np.median(page.picture)) / rng.uniform(200, 240)  # one exposure for both
    cover = cv2.warpPerspective(np.ones((high, wide), np.float32), matrix, size)
    table *= 1 - 0.4 * cv2.GaussianBlur(np.roll(cover, (6, 6), (0, 1)), (0, 0), 8)[..., None]  # the sheet's shadow
    paper = cv2.warpPerspective(page.picture.astype(np.float32), matrix, size)
    view = table + cover[..., None] * (paper - table)
    view = view * lighting("gradient", (size[1], size[0]), 0.6, rng)[..., None] + rng.normal(0, 3, (*cover.shape, 1))
    owners = cv2.warpPerspective(page.owners, matrix, size, flags=cv2.INTER_NEAREST)
    conditions = {**page.conditions, "table": name, "picture": "shows all of the sheet"}
    return Composed(
        packed(view.astype(np.float32), int(rng.integers(70, 96))),
        page.texts,
        np.asarray(owners, np.uint8),
        conditions,
    )


def write_line(
    digits: Sequence[Float], spacing: str, height: float, jitter: float, rng: Generator, thin: float = 0.0
) -> tuple[Float, NDArray[np.uint8], list[float]]:
    """Digits (28, 28) side by side -> ink (h, w), owners (h, w), the middles of the gaps in columns.

    Distances are measured between the ink of neighbours along each row, so slanted digits nest as in writing.
    """
    strokes = [_stroke(digit, height * float(rng.uniform(0.92, 1.08)), thin) for digit in digits]
    tall = round(height * (1.35 + 4 * jitter))
    line = np.zeros((tall, int(sum(stroke.shape[1] for stroke in strokes) + 2.2 * height * len(strokes))), np.float32)
    owners = np.zeros(line.shape, np.uint8)
    frontier = np.full(tall, -1e9)  # the rightmost ink of each row so far
    right, middles = int(0.1 * height), []
    for number, stroke in enumerate(strokes, 1):
        high, wide = stroke.shape
        top = int(np.clip(round((tall - high) / 2 + rng.normal(0, jitter) * height), 0, tall - high))
        lefts = np.where((stroke > 0.3).any(1), (stroke > 0.3).argmax(1), 10**6)
        reach = float((lefts - frontier[top : top + high]).min())
        left = right if number == 1 else max(round(_gap(spacing, rng) * height - reach), 0)
        if number > 1:
            middles.append((frontier.max() + left) / 2)
        place = (slice(top, top + high), slice(left, left + wide))
        owners[place] = np.where((stroke > 0.3) & (stroke >= line[place]), number, owners[place])
        line[place] = np.maximum(line[place], stroke)
        rows, columns = np.nonzero(stroke > 0.3)
        np.maximum.at(frontier, rows + top, columns + left)
    end = int(np.flatnonzero(line.any(0)).max()) + 2
    return line[:, :end], owners[:, :end], middles


def _gap(spacing: str, rng: Generator) -> float:
    """Between the ink of neighbours, as a share of the digits' height; negative overlaps."""
    low, high = {"touching": (-0.06, 0.0), "tight": (0.05, 0.14), "normal": (0.14, 0.4), "wide": (0.4, 1.0)}[spacing]
    return float(rng.uniform(low, high))


def _stroke(digit: Float, height: float, thin: float) -> Float:
    """A digit (28, 28) -> its ink at the given size of the 20-pixel box, cut to the ink; ``thin`` pares the stroke."""
    scale = height / 20
    large = cv2.resize(digit, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    large = np.clip((large - 0.18 - thin) / (0.55 - 0.2 * thin), 0, 1)
    rows, columns = np.flatnonzero((large > 0.3).any(1)), np.flatnonzero((large > 0.3).any(0))
    return np.asarray(large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], np.float32)


def draw_rules(sheet: _Sheet, lines: str, height: float, middles: Sequence[float], rng: Generator) -> None:
    """Ruled lines or a printed box around the field's ink, added to the sheet."""
    if lines == "none":
        return
    high, wide = sheet.ink.shape[0], sheet.ink.shape[1]
    layer = np.zeros((high, wide), np.float32)
    rows, columns = np.flatnonzero((sheet.owners > 0).any(1)), np.flatnonzero((sheet.owners > 0).any(0))
    strength = float(rng.uniform(0.4, 0.95))
    thick = int(rng.integers(1, 3))
    if lines == "ruled":
        pitch = height * float(rng.uniform(1.25, 1.8))
        y = rows[-1] + height * float(rng.uniform(-0.12, 0.15))
        for place in np.arange(y - 3 * pitch, high, pitch):
            _rule(layer, (0, place), (wide, place), thick, strength)
    else:
        top, bottom = rows[0] - height * rng.uniform(0.02, 0.3), rows[-1] + height * rng.uniform(0.02, 0.3)
        left, right = columns[0] - height * rng.uniform(0.08, 0.4), columns[-1] + height * rng.uniform(0.08, 0.4)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
            _rule(layer, start, end, thick, strength)
        for x in middles if lines == "cells" else ():
            _rule(layer, (x, top), (x, bottom), thick, strength)
    sheet.rules.append((layer, RULE_COLOURS[int(rng.integers(len(RULE_COLOURS)))]))


def draw_paper(sheet: _Sheet, paper: str, height: float, pitch: float, rng: Generator) -> None:
    """A page's printed rules or grid, added to the sheet."""
    if paper == "plain":
        return
    high, wide = sheet.ink.shape[0], sheet.ink.shape[1]
    layer = np.zeros((high, wide), np.float32)
    strength = float(rng.uniform(0.3, 0.8))
    step = pitch if paper == "ruled" else height * float(rng.uniform(0.45, 1.0))
    for y in np.arange(rng.uniform(0, step), high, step):
        _rule(layer, (0, y), (wide, y), 1, strength)
    for x in np.arange(rng.uniform(0, step), wide, step) if paper != "ruled" else ():
        _rule(layer, (x, 0), (x, high), 1, strength)
    colour = (215, 110, 110) if paper == "red grid" else RULE_COLOURS[int(rng.integers(3))]
    sheet.rules.append((layer, colour))


def _rule(layer: Float, start: tuple[float, float], end: tuple[float, float], thick: int, strength: float) -> None:
    points = [(round(float(x) * 8), round(float(y) * 8)) for x, y in (start, end)]
    cv2.line(layer, points[0], points[1], strength, thick, cv2.LINE_AA, 3)


def photograph(
    sheet: _Sheet,
    pen: str,
    light: str,
    angle: float,
    perspective: float,
    rng: Generator,
    *,
    dark: float,
    grain: float,
    exposure: float = 1.0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A sheet seen by a camera -> picture uint8 (H, W, 3) RGB, owners (H, W). ``dark``: the deepest shadow's light."""
    matrix, size = camera((sheet.ink.shape[0], sheet.ink.shape[1]), angle, perspective, rng)
    colour = np.asarray((rng.uniform(222, 252), rng.uniform(222, 250), rng.uniform(205, 245)), np.float32)
    view = np.broadcast_to(colour, (size[1], size[0], 3)).astype(np.float32)
    if sheet.behind is not None:
        view *= 1 - cv2.warpPerspective(sheet.behind, matrix, size)[..., None]
    for layer, rule in sheet.rules:
        cover = cv2.warpPerspective(layer, matrix, size)[..., None]
        view = view * (1 - cover) + cover * np.asarray(rule, np.float32)
    opacity = float(rng.uniform(0.55, 0.85)) if pen == "pencil" else float(rng.uniform(0.8, 1.0))
    cover = cv2.warpPerspective(sheet.ink, matrix, size, flags=cv2.INTER_LINEAR)[..., None] * opacity
    if pen == "pencil":  # graphite skips over the paper's tooth
        cover = cover * np.clip(1 - np.abs(rng.normal(0, 0.18, cover.shape)), 0, 1)
    view = view * (1 - cover) + cover * np.asarray(INKS[pen], np.float32)
    view = view * (exposure * lighting(light, (size[1], size[0]), dark, rng))[..., None]
    blur = float(rng.uniform(0, 1.2))
    if blur > 0.2:
        view = cv2.GaussianBlur(view, (0, 0), blur)
    noise = float(rng.uniform(0, grain))
    view = view + rng.normal(0, noise, (*view.shape[:2], 1)) + rng.normal(0, noise / 3, view.shape)
    owners = cv2.warpPerspective(sheet.owners, matrix, size, flags=cv2.INTER_NEAREST)
    return packed(view, int(rng.integers(60, 96))), np.asarray(owners, np.uint8)


def packed(view: Float, quality: int) -> NDArray[np.uint8]:
    """RGB levels (H, W, 3) -> uint8, as a JPEG file of this quality gives them back."""
    shot = np.clip(np.rint(view), 0, 255).astype(np.uint8)[..., ::-1]
    _, encoded = cv2.imencode(".jpg", shot, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def camera(
    shape: tuple[int, int], angle: float, perspective: float, rng: Generator
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Paper (H, W), degrees, share of the side by which corners move -> homography, size of the view (W, H)."""
    high, wide = shape
    corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float64)
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), angle, 1.0)
    seen = corners @ turn[:, :2].T + turn[:, 2]
    seen += rng.uniform(-1, 1, seen.shape) * perspective * np.array((min(wide, 4 * high), high))
    seen -= seen.min(0)
    size = (int(np.ceil(seen[:, 0].max())), int(np.ceil(seen[:, 1].max())))
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))
    return np.asarray(matrix, np.float64), size


def lighting(light: str, shape: tuple[int, int], dark: float, rng: Generator) -> Float:
    """Light (H, W) in ``dark``..1: even, a gradient across, or a gradient with a soft-edged shadow."""
    high, wide = shape
    if light == "even":
        return np.ones(shape, np.float32)
    ys, xs = np.mgrid[0:high, 0:wide].astype(np.float32)
    direction = rng.uniform(0, 2 * np.pi)
    slope = (xs / wide - 0.5) * np.cos(direction) + (ys / high - 0.5) * np.sin(direction)
    field_ = 1 - (1 - dark) * rng.uniform(0.2, 0.8) * (slope + 0.5)
    if light == "shadow":
        direction = rng.uniform(0, 2 * np.pi)
        away = (xs - wide * rng.uniform(0.2, 0.8)) * np.cos(direction) + (ys - high * rng.uniform(0.2, 0.8)) * np.sin(
            direction
        )
        edge = rng.uniform(0.01, 0.12) * max(high, wide)
        field_ = field_ * (1 - (1 - dark) * rng.uniform(0.5, 1.0) / (1 + np.exp(-np.clip(away / edge, -40, 40))))
    return np.asarray(np.clip(field_, 0.05, 1), np.float32)
