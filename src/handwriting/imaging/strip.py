"""The way from a photo to the 28x28 as one picture: a strip of steps, with the answers and warnings."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handwriting.imaging.normal import NormalForm, Step

TILE, GAP, MARGIN, CAPTION = 260, 28, 44, 118
COLUMNS = 4
PAPER, WORDS, FAINT = (250, 249, 246), (30, 34, 40), (108, 114, 122)
FOUND, WARNED, EDGE = (22, 119, 190), (190, 80, 20), (205, 205, 200)


def draw_strip(
    picture: NDArray[np.uint8],
    form: NormalForm,
    answers: Sequence[tuple[str, float]] = (),
    *,
    title: str = "",
    rejected: bool = False,
) -> NDArray[np.uint8]:
    """A picture, its normal form and the answers -> uint8 (H, W, 3) RGB: the steps as a strip with captions.

    Args:
        picture: uint8 (H, W, 3) or (H, W), as it was given to `normal_form`.
        form: what `normal_form` made of it.
        answers: (class, probability in 0..1) pairs, best first; at most five are drawn.
        title: a line above the strip, such as the file's name.
        rejected: say that the answer is not to be trusted.
    """
    boxed = Step("what was found", _with_box(picture, form), _found_note(form))
    tiles = [*form.steps, boxed]
    columns = min(COLUMNS, len(tiles) + 1)
    rows = -(-(len(tiles) + 1) // columns)
    width = 2 * MARGIN + columns * TILE + (columns - 1) * GAP
    top = MARGIN + (52 if title else 0)
    height = top + rows * (TILE + CAPTION) + MARGIN // 2
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((MARGIN, MARGIN - 14), _fitted(draw, title, 30, width - 2 * MARGIN), WORDS, _font(30))
    for number, tile in enumerate(tiles):
        _draw_tile(canvas, _corner(number, columns, top), number + 1, tile)
    _draw_answers(draw, _corner(len(tiles), columns, top), form, answers, rejected)
    return np.asarray(canvas, np.uint8)


def strip_png(strip: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, 3) RGB -> the bytes of a PNG."""
    encoded = io.BytesIO()
    Image.fromarray(strip).save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


def _corner(number: int, columns: int, top: int) -> tuple[int, int]:
    row, column = divmod(number, columns)
    return MARGIN + column * (TILE + GAP), top + row * (TILE + CAPTION)


def _draw_tile(canvas: Image.Image, corner: tuple[int, int], number: int, step: Step) -> None:
    """One step: its picture, fitted into a square, above its name and note."""
    draw = ImageDraw.Draw(canvas)
    x, y = corner
    image = Image.fromarray(step.image).convert("RGB")
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # The 28x28 is shown as the pixels that the model gets.
    method = Image.Resampling.NEAREST if max(image.size) <= 40 else Image.Resampling.LANCZOS
    image = image.resize(size, method)
    at = (x + (TILE - size[0]) // 2, y + (TILE - size[1]) // 2)
    draw.rectangle((x, y, x + TILE - 1, y + TILE - 1), (236, 235, 230))
    canvas.paste(image, at)
    draw.rectangle((x, y, x + TILE - 1, y + TILE - 1), outline=EDGE)
    draw.text((x, y + TILE + 8), f"{number}  {step.name}", WORDS, _font(20))
    _draw_lines(draw, (x, y + TILE + 36), step.note, FAINT, 3)


def _draw_answers(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    form: NormalForm,
    answers: Sequence[tuple[str, float]],
    rejected: bool,
) -> None:
    """The answers as bars, and the warnings below them."""
    x, y = corner
    if form.empty or not answers:
        draw.text((x, y), "nothing found" if form.empty else "no answers asked for", WORDS, _font(24))
        y += 40
    for rank, (label, probability) in enumerate(answers[:5] if not form.empty else ()):
        size = 46 if rank == 0 else 20
        line = 58 if rank == 0 else 30
        left = x + 54
        draw.text((x, y), label, WORDS if rank == 0 else FAINT, _font(size))
        bar = (y + 14, y + 40) if rank == 0 else (y + 5, y + 19)
        room = TILE - 54 - 76
        draw.rectangle((left, bar[0], left + room, bar[1]), (232, 231, 226))
        if probability * room >= 1:
            draw.rectangle((left, bar[0], left + round(probability * room), bar[1]), FOUND if rank == 0 else FAINT)
        draw.text((left + room + 8, bar[0] - 2), f"{probability:.1%}", WORDS, _font(20 if rank == 0 else 16))
        y += line
    notes = (["rejected: no character that this model knows"] if rejected and not form.empty else []) + list(
        form.warnings
    )
    for note in notes:
        y = _draw_lines(draw, (x, y + 6), f"! {note}", WARNED, 2)


def _draw_lines(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, colour: tuple[int, int, int], most: int
) -> int:
    """Words broken into lines of a tile's width; returns where the next line would begin."""
    x, y = corner
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, _font(15)) <= TILE:
            lines[-1] = longer
        else:
            lines.append(word)
    for line in lines[:most]:
        draw.text((x, y), line, colour, _font(15))
        y += 21
    return y


def _with_box(picture: NDArray[np.uint8], form: NormalForm) -> NDArray[np.uint8]:
    """The picture at tile size with the character's ink tinted and its box drawn."""
    whole = Image.fromarray(picture).convert("RGB")
    scale = 2 * TILE / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    whole = whole.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
    if form.box is not None:
        mask = Image.fromarray(form.mask.astype(np.uint8) * 150).resize(size, Image.Resampling.BILINEAR)
        whole.paste(Image.new("RGB", size, FOUND), mask=mask)
        x, y, w, h = (value * scale for value in form.box)
        ImageDraw.Draw(whole).rectangle((x - 5, y - 5, x + w + 4, y + h + 4), outline=WARNED, width=4)
    return np.asarray(whole, np.uint8)


def _found_note(form: NormalForm) -> str:
    if form.box is None:
        return "nothing"
    x, y, w, h = form.box
    return f"{w} x {h} pixels at ({x}, {y}); {form.polarity}"


def _fitted(draw: ImageDraw.ImageDraw, text: str, size: int, room: int) -> str:
    """The text, its beginning cut off when it is wider than the room."""
    while draw.textlength(text, _font(size)) > room:
        text = "…" + text[2:]
    return text


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
