"""Digits of one hand, and other marks -> numbers on paper and photos of them, with the truth about every pixel of ink.

The material on which the line network and the window network learn. Distances between neighbours are measured along
each row, so slanted digits nest as in writing. Ranges are wider than real paper's on purpose, and none is fitted to a
benchmark: `benchmarks/compose.py` composes by code of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Rng = np.random.Generator

OTHER = -1  # the label of a mark that is no digit
INK = 0.3  # share of full ink from which a pixel belongs to its mark
MOST_MARKS = 10  # in a line


@dataclass(frozen=True)
class Manner:
    """How a line is written.

    Attributes:
        nearest: heights from the left of a mark to the left of the next, at least.
        slant, aspect: standard deviation of a mark's slant, and of the logarithm of its width, about its line's.
        overlap: heights that marks which touch lie over each other, at most.
        gaps: shares of lines whose marks touch, nearly touch, stand apart as usual, and widely.
        strange: shares of lines without, with some, and with nothing but marks that are no digits.
    """

    nearest: float
    slant: float
    aspect: float
    overlap: float = 0.12
    gaps: tuple[float, float, float, float] = (0.35, 0.25, 0.25, 0.15)
    strange: tuple[float, float, float] = (0.81, 0.12, 0.07)


# Of two 1s that stand at the nearest to each other, the first shows no more than its edge where they are crowded.
EVEN, CROWDED = Manner(nearest=0.15, slant=0.05, aspect=0.0), Manner(nearest=0.05, slant=0.06, aspect=0.07)
HALF_TOUCHING = replace(CROWDED, gaps=(0.5, 0.22, 0.18, 0.1))
# Digits that mostly touch: where they are cut is in doubt.
TOUCHING = Manner(
    nearest=0.08, slant=0.06, aspect=0.07, overlap=0.08, gaps=(0.6, 0.2, 0.12, 0.08), strange=(0.97, 0.02, 0.01)
)


@dataclass(frozen=True)
class Material:
    """What is written.

    Attributes:
        hands: each hand's digits: images uint8 (n, 28, 28) in MNIST's normal form, labels int64 (n,).
        marks: uint8 (M, 28, 28): letters, signs and scribbles that are no digits.
        manner: how.
    """

    hands: tuple[tuple[Bytes, NDArray[np.int64]], ...]
    marks: Bytes
    manner: Manner = CROWDED


@dataclass(frozen=True)
class Scene:
    """A picture with its truth.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        owners: uint8 (H, W): k on the ink of the k-th mark, from 1; 0 elsewhere.
        labels: the k-th mark's class, or OTHER.
    """

    picture: Bytes
    owners: Bytes
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """A line on no paper: ink float32 (h, w) in 0..1, owners uint8 (h, w) and labels as a Scene's."""

    ink: Float
    owners: Bytes
    labels: tuple[int, ...]


def write(material: Material, height: float, rng: Rng, first: int = 1, longest: int = MOST_MARKS) -> Written:
    """A number of 1 to ``longest`` marks by one hand, its digits ``height`` pixels high; owners begin at ``first``."""
    images, labels = material.hands[int(rng.integers(len(material.hands)))]
    manner = material.manner
    count = int(rng.integers(1, longest + 1))
    chosen = rng.integers(len(labels), size=count)
    strange = rng.random(count) < rng.choice((0.0, 0.2, 1.0), p=manner.strange)
    slant, aspect = rng.normal(0, 0.12), float(np.exp(rng.normal(0.04, 0.18)))
    thin, jitter = rng.uniform(-0.1, 0.2), rng.uniform(0, 0.08)
    strokes, marks = [], []
    for index, odd in zip(chosen, strange, strict=True):
        size = height * rng.uniform(0.85, 1.12)
        mark = material.marks[int(rng.integers(len(material.marks)))] if odd else images[index]
        if odd:
            size *= rng.uniform(0.5, 1.2)
        leaning, wide = slant + rng.normal(0, manner.slant), aspect * float(np.exp(rng.normal(0, manner.aspect)))
        strokes.append(stroke(mark, size, leaning, wide, thin))
        marks.append(OTHER if odd else int(labels[index]))
    # Along the row where neighbours are nearest, in heights.
    ranges = (-manner.overlap, 0.02), (0.0, 0.15), (0.1, 0.45), (0.35, 1.1)
    low, high = ranges[int(rng.choice(4, p=manner.gaps))]
    gaps = rng.uniform(low, high, count) * height
    tall = int(height * (1.4 + 4 * jitter)) + max(len(ink) for ink in strokes) - int(height)
    line = np.zeros((tall, int(sum(ink.shape[1] for ink in strokes) + 1.6 * height * count) + 8), np.float32)
    owners = np.zeros(line.shape, np.uint8)
    frontier, last = np.full(tall, -1e9), 0
    for number, ink in enumerate(strokes):
        rows, columns = ink.shape
        top = int(np.clip(round((tall - rows) / 2 + rng.normal(0, jitter) * height), 0, tall - rows))
        solid = ink > INK
        lefts = np.where(solid.any(1), solid.argmax(1), 10**6)
        reach = float((lefts - frontier[top : top + rows]).min())
        left = max(round(gaps[number] - reach), last + round(manner.nearest * height)) if number else 2
        last = left
        place = (slice(top, top + rows), slice(left, left + columns))
        owners[place] = np.where(solid & (ink >= line[place]), first + number, owners[place])
        line[place] = np.maximum(line[place], ink)
        ys, xs = np.nonzero(solid)
        np.maximum.at(frontier, ys + top, xs + left)
    end = int(np.flatnonzero(line.any(0)).max()) + 3
    return Written(line[:, :end], owners[:, :end], tuple(marks))


def stroke(mark: Bytes, height: float, slant: float, aspect: float, thin: float) -> Float:
    """A mark uint8 (28, 28) -> its ink float32 (h, w), cut to it: MNIST's box of 20 pixels made ``height`` high.

    ``slant``: columns a row to the right, upwards; ``aspect``: widens; ``thin``: share of full ink pared off the edge.
    """
    scale = height / 20
    rows, columns = int(28 * scale) + 1, int(28 * scale * (aspect + abs(slant))) + 1
    matrix = np.array([(scale * aspect, -slant * scale, max(slant, 0) * 28 * scale), (0, scale, 0)])
    large = cv2.warpAffine(mark, matrix, (columns, rows), flags=cv2.INTER_CUBIC).astype(np.float32) / 255
    ink = np.clip((large - 0.18 - thin) / (0.42 - 0.5 * max(thin, 0)), 0, 1)
    solid = ink > INK
    if not solid.any():  # pared to nothing
        ink, solid = large, large > 0
    ys, xs = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    return np.asarray(ink[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], np.float32)


def compose(material: Material, rng: Rng) -> Scene:
    """One to three lines on paper, ruled, boxed or plain, as a camera or scanner sees them."""
    height = float(np.exp(rng.uniform(np.log(20), np.log(80))))
    lines: list[Written] = []
    for _ in range(int(rng.choice(3, p=(0.72, 0.16, 0.12))) + 1):
        lines.append(write(material, height, rng, first=1 + sum(len(line.labels) for line in lines)))
    pitch = [height * rng.uniform(0.15, 1.2) for _ in lines]
    wide = max(line.ink.shape[1] for line in lines) + int(height * rng.uniform(0.8, 3.5))
    top = height * rng.uniform(0.2, 0.9)
    high = int(top + sum(len(line.ink) + gap for line, gap in zip(lines, pitch, strict=True))) + 2
    ink, owners = np.zeros((high, wide), np.float32), np.zeros((high, wide), np.uint8)
    rules = np.zeros((high, wide), np.float32)
    manner = str(rng.choice(("none", "ruled", "box", "cells", "grid"), p=(0.45, 0.18, 0.17, 0.08, 0.12)))
    for line, gap in zip(lines, pitch, strict=True):
        rows, columns = line.ink.shape
        left = int(rng.uniform(0.1, 0.9) * (wide - columns))
        place = (slice(int(top), int(top) + rows), slice(left, left + columns))
        ink[place] = np.maximum(ink[place], line.ink)
        owners[place] = np.where(line.owners > 0, line.owners, owners[place])
        if manner in ("box", "cells"):
            _box(rules, owners[place] > 0, (int(top), left), line, manner, height, rng)
        top += rows + gap
    _print(rules, manner, height, rng)
    labels = tuple(label for line in lines for label in line.labels)
    return Scene(*_photograph(ink, owners, rules, height, rng), labels)


def _box(
    rules: Float, ink: NDArray[np.bool_], corner: tuple[int, int], line: Written, manner: str, height: float, rng: Rng
) -> None:
    ys, xs = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if len(ys) == 0:
        return
    thick, strength = int(rng.integers(1, 4)), float(rng.uniform(0.4, 1))
    top = corner[0] + ys[0] - height * rng.uniform(-0.05, 0.35)
    bottom = corner[0] + ys[-1] + height * rng.uniform(-0.05, 0.35)
    left, right = corner[1] + xs[0] - height * rng.uniform(0, 0.5), corner[1] + xs[-1] + height * rng.uniform(0, 0.5)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        if rng.random() > 0.06:  # a side may be missing
            _rule(rules, start, end, thick, strength)
    if manner == "cells":
        middles = [np.nonzero(line.owners == owner)[1].mean() for owner in np.unique(line.owners[line.owners > 0])]
        for before, after in pairwise(middles):
            x = corner[1] + (before + after) / 2
            _rule(rules, (x, top), (x, bottom), thick, strength)


def _print(rules: Float, manner: str, height: float, rng: Rng) -> None:
    if manner not in ("ruled", "grid"):
        return
    high, wide = rules.shape
    thick, strength = int(rng.integers(1, 3)), float(rng.uniform(0.3, 0.95))
    pitch = height * float(rng.uniform(1.1, 2.4) if manner == "ruled" else rng.uniform(0.4, 1.1))
    for y in np.arange(rng.uniform(0, pitch), high, pitch):
        _rule(rules, (0, y), (wide, y), thick, strength)
    for x in np.arange(rng.uniform(0, pitch), wide, pitch) if manner == "grid" else ():
        _rule(rules, (x, 0), (x, high), thick, strength)


def _rule(layer: Float, start: tuple[float, float], end: tuple[float, float], thick: int, strength: float) -> None:
    ends = [(round(float(x) * 8), round(float(y) * 8)) for x, y in (start, end)]
    cv2.line(layer, ends[0], ends[1], strength, thick, cv2.LINE_AA, 3)


def _photograph(ink: Float, owners: Bytes, rules: Float, height: float, rng: Rng) -> tuple[Bytes, Bytes]:
    """Layers (h, w) -> picture uint8 (H, W, 3) RGB, owners uint8 (H, W): seen askew, lit, blurred, grained, packed."""
    high, wide = ink.shape
    corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float32)
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), float(rng.uniform(-7, 7)), 1.0)
    seen = corners @ turn[:, :2].T + turn[:, 2] + rng.uniform(-0.03, 0.03, (4, 2)) * (min(wide, 4 * high), high)
    seen -= seen.min(0)
    size = (int(np.ceil(seen[:, 0].max())), int(np.ceil(seen[:, 1].max())))
    matrix = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
    ink, rules = (np.asarray(cv2.warpPerspective(layer, matrix, size), np.float32) for layer in (ink, rules))
    owners = np.asarray(cv2.warpPerspective(owners, matrix, size, flags=cv2.INTER_NEAREST), np.uint8)
    paper, pen, rule = rng.uniform((200, 200, 180), 253), rng.uniform(10, 120, 3), rng.uniform(70, 220, 3)
    if rng.random() < 0.3:  # pencil: paler, and it skips over the paper's tooth
        pen[:] = rng.uniform(60, 120)
        ink = ink * rng.uniform(0.5, 0.9) * np.clip(1 - np.abs(rng.normal(0, 0.2, ink.shape)), 0, 1).astype(np.float32)
    view = np.ones((*ink.shape, 3), np.float32) * paper.astype(np.float32)
    if rng.random() < 0.12:  # the back of the sheet shows through
        view *= 1 - cv2.GaussianBlur(ink[:, ::-1], (0, 0), 2)[..., None] * np.float32(rng.uniform(0.05, 0.16))
    for layer, colour in ((rules, rule), (ink, pen)):
        view += layer[..., None] * (colour.astype(np.float32) - view)
    view *= _light(size, rng)[..., None]
    blur = float(rng.uniform(0, 0.03 * height + 0.4))
    if blur > 0.25:
        view = np.asarray(cv2.GaussianBlur(view, (0, 0), blur), np.float32)
    view += rng.normal(0, rng.uniform(0, 6), (*ink.shape, 1))
    if rng.random() < 0.05:
        view = 255 - view
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 97))]
    packed = cv2.imencode(".jpg", np.clip(view, 0, 255).astype(np.uint8), quality)[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8), owners


def _light(size: tuple[int, int], rng: Rng) -> Float:
    """Light (H, W) in 0.2..1: an exposure, a smooth field, and at times a soft-edged shadow."""
    wide, high = size
    coarse = rng.uniform(rng.uniform(0.5, 1), 1, (3, 4)).astype(np.float32)
    coarse *= np.float32(rng.uniform(0.5, 1))
    light = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.float32)
    if rng.random() < 0.35:
        ys, xs = np.mgrid[0:high, 0:wide].astype(np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        away = (xs - wide * rng.uniform(0.1, 0.9)) * np.cos(angle) + (ys - high * rng.uniform(0.1, 0.9)) * np.sin(angle)
        edge = rng.uniform(0.01, 0.15) * max(size)
        light = light * (1 - rng.uniform(0.15, 0.5) / (1 + np.exp(-np.clip(away / edge, -40, 40))))
    return np.asarray(np.clip(light, 0.2, 1), np.float32)
