"""A picture and what was read in it -> the picture with boxes and labels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handwriting.reading.page import Box, Line, Page

SURE, DOUBTFUL, REJECTED, LINE = (24, 128, 92), (214, 128, 16), (200, 48, 56), (52, 96, 190)
DOUBT_BELOW = 0.9


def annotated(picture: NDArray[np.uint8], page: Page) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) RGB and its Page -> a copy with every line's text above it and a box around each character.

    Green: sure, amber: less than 90% sure, red: rejected. Small pictures are enlarged so that labels can be read.
    """
    scale = max(1, round(700 / max(picture.shape[:2])))
    if scale > 1:
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for line in page.lines:
        _draw_line(draw, line, scale, canvas.size)
    return np.asarray(canvas, np.uint8)


def _draw_line(draw: ImageDraw.ImageDraw, line: Line, scale: int, size: tuple[int, int]) -> None:
    height = max(character.box[3] for character in line.characters) * scale
    thick = max(1, round(height / 32))
    for character in line.characters:
        colour = REJECTED if character.rejected else SURE if character.probability >= DOUBT_BELOW else DOUBTFUL
        x0, y0, x1, y1 = _corners(character.box, scale, thick)
        draw.rectangle((x0, y0, x1, y1), outline=(*colour, 230), width=thick)
        text = "no character" if character.rejected and len(line.characters) == 1 else character.label
        _label(draw, text if not character.rejected else f"({text})", (x0, y1 + 1), 0.3 * height, colour, size)
    x0, y0, x1, y1 = _corners(line.box, scale, 3 * thick)
    if line.text:
        draw.rectangle((x0, y0, x1, y1), outline=(*LINE, 120), width=thick)
        font_size = 0.42 * height
        _label(draw, f"{line.text}  {line.probability:.0%}", (x0, y0 - 1.5 * font_size), font_size, LINE, size)


def _corners(box: Box, scale: int, margin: int) -> tuple[int, int, int, int]:
    x, y, w, h = (value * scale for value in box)
    return x - margin, y - margin, x + w + margin, y + h + margin


def _label(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: tuple[float, float],
    height: float,
    colour: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    """White text on a patch of colour, kept inside the picture."""
    font = ImageFont.load_default(size=min(max(height, 11.0), 48.0))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = 2
    wide, high = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(place[0], 0), max(size[0] - wide, 0))
    y = min(max(place[1], 0), max(size[1] - high, 0))
    draw.rectangle((x, y, x + wide, y + high), fill=(*colour, 215))
    draw.text((x + pad - left, y + pad - top), text, font=font, fill=(255, 255, 255, 255))
