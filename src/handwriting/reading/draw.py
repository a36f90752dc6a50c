"""A picture and what was read in it -> the picture with boxes and labels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handwriting.reading.results import Box, Line, Page

SURE, DOUBTFUL, REJECTED, LINE = (24, 128, 92), (214, 128, 16), (200, 48, 56), (52, 96, 190)
DOUBT_BELOW = 0.9
LABEL = 0.3  # of the characters' height
Corners = tuple[int, int, int, int]  # left, top, right, bottom
PAD = 2  # pixels of a patch around its text
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def annotated(picture: NDArray[np.uint8], page: Page) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) RGB and its Page -> a copy with every line's text above it and a box around each character.

    Where another line stands above, the text is beside its line. Green: sure, amber: less than 90% sure, red: rejected.
    Small pictures are enlarged so that labels can be read.
    """
    scale = max(1, round(700 / max(picture.shape[:2])))
    if scale > 1:
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for line in page.lines:
        _draw_characters(draw, line, scale, canvas.size)
    blocks = [_with_labels(line, scale) for line in page.lines]
    for number, line in enumerate(page.lines):
        if line.text:
            _draw_text(draw, line, scale, canvas.size, blocks[:number] + blocks[number + 1 :])
    return np.asarray(canvas, np.uint8)


def _draw_characters(draw: ImageDraw.ImageDraw, line: Line, scale: int, size: tuple[int, int]) -> None:
    height, thick = _measures(line, scale)
    font = _font(LABEL * height)
    for character in line.characters:
        colour = REJECTED if character.rejected else SURE if character.probability >= DOUBT_BELOW else DOUBTFUL
        x0, y0, x1, y1 = _corners(character.box, scale, thick)
        draw.rectangle((x0, y0, x1, y1), outline=(*colour, 230), width=thick)
        text = "no character" if character.rejected and len(line.characters) == 1 else character.label
        _label(draw, text if not character.rejected else f"({text})", (x0, y1 + 1), font, colour, size)


def _draw_text(draw: ImageDraw.ImageDraw, line: Line, scale: int, size: tuple[int, int], others: list[Corners]) -> None:
    height, thick = _measures(line, scale)
    x0, y0, x1, y1 = _corners(line.box, scale, 3 * thick)
    draw.rectangle((x0, y0, x1, y1), outline=(*LINE, 120), width=thick)
    text, font_size = f"{line.text}  {line.probability:.0%}", 0.42 * height
    font = _font(font_size)
    _, _, wide, high = _extent(draw, text, font)
    above = (x0, y0 - 1.5 * font_size)
    for x, y in (above, (x1 + 4, y0), (x0 - wide - 4, y0)):
        inside = x >= 0 and y >= 0 and x + wide <= size[0] and y + high <= size[1]
        free = not any(x < right and left < x + wide and y < low and top < y + high for left, top, right, low in others)
        if inside and free:
            break
    else:
        x, y = above
    _label(draw, text, (x, y), font, LINE, size)


def _measures(line: Line, scale: int) -> tuple[int, int]:
    """A line -> how tall its characters are drawn, and how thick the lines around them."""
    height = max(character.box[3] for character in line.characters) * scale
    return height, max(1, round(height / 32))


def _with_labels(line: Line, scale: int) -> Corners:
    """The corners of a line with its characters' labels."""
    height, thick = _measures(line, scale)
    x0, y0, x1, y1 = _corners(line.box, scale, 3 * thick)
    return x0, y0, x1, y1 + round(LABEL * height)


def _corners(box: Box, scale: int, margin: int) -> Corners:
    x, y, w, h = (value * scale for value in box)
    return x - margin, y - margin, x + w + margin, y + h + margin


def _label(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: tuple[float, float],
    font: Font,
    colour: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    """White text on a patch of colour, kept inside the picture."""
    left, top, wide, high = _extent(draw, text, font)
    x = min(max(place[0], 0), max(size[0] - wide, 0))
    y = min(max(place[1], 0), max(size[1] - high, 0))
    draw.rectangle((x, y, x + wide, y + high), fill=(*colour, 215))
    draw.text((x + PAD - left, y + PAD - top), text, font=font, fill=(255, 255, 255, 255))


def _extent(draw: ImageDraw.ImageDraw, text: str, font: Font) -> tuple[float, float, float, float]:
    """A text -> where its ink begins, and the width and height of the patch around it, in pixels."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    return left, top, right - left + 2 * PAD, bottom - top + 2 * PAD


def _font(height: float) -> Font:
    return ImageFont.load_default(size=min(max(height, 11.0), 48.0))
