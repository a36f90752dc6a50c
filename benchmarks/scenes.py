"""What people photograph numbers on, scene by scene: notebooks, forms, tables, boards, stains, folds, shadows.

Each scene is one difficulty, composed with numbers of strangers' digits (`compose.strangers`: MNIST train, of which no
model learned); MNIST test is not opened. Written to docs/results/scenes.md and .json. A picture is right when every
number on it is read exactly, in reading order, and nothing else gives a digit.

    python benchmarks/scenes.py --data-dir DIR [--pictures 20] [--keep DIR] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from compose import Bank, lighting, packed, strangers, write_line
from crops import share
from numpy.typing import NDArray
from tables import markdown, write

import handwriting as hw
from handwriting.data import load

Float = NDArray[np.float32]
Colour = tuple[float, float, float]
WHITE, BLUE, BLACK = (245.0, 244.0, 238.0), (30.0, 35.0, 110.0), (22.0, 22.0, 28.0)
RULE, RED = (140.0, 165.0, 215.0), (222.0, 105.0, 105.0)

WORDS = (
    *("the", "of", "and", "please", "return", "this", "form", "before", "friday", "amount", "paid", "customer"),
    *("signature", "birth", "telephone", "account", "holder", "postal", "city", "invoice", "total", "delivery"),
    *("school", "homework", "chapter", "exercises", "quick", "jumps", "lazy", "wizards", "boxes", "judge"),
)


class Page:
    """Paper in floating-point levels (H, W, 3), and what has been written on it."""

    def __init__(
        self, bank: Bank, rng: np.random.Generator, high: int, wide: int, paper: Colour = WHITE, pen: Colour = BLUE
    ) -> None:
        self.view = np.empty((high, wide, 3), np.float32)
        self.view[:] = paper
        self.texts: list[str] = []
        self.rng, self.pen = rng, pen
        self._bank, self._writer = bank, int(rng.integers(len(bank.writers)))

    def layer(self, cover: Float, colour: Colour) -> None:
        """Colours what a layer (H, W) in 0..1 covers."""
        self.view += cover[..., None] * (np.array(colour, np.float32) - self.view)

    def number(self, x: int, y: int, height: float, length: int, *, skips: float = 0.0, joined: bool = False) -> int:
        """Writes a number, its top left near (x, y) -> where it ends. ``skips``: of chalk and pencil over the grain."""
        text, digits = self._bank.number(self.rng, self._writer, length)
        ink, _, _ = write_line(digits, "normal", height, 0.03, self.rng)
        if skips:
            ink = ink * np.clip(1 - np.abs(self.rng.normal(0, skips, ink.shape)), 0, 1).astype(np.float32)
        room = self.view[y : y + ink.shape[0], x : x + ink.shape[1]]
        ink = ink[: room.shape[0], : room.shape[1], None]
        room += ink * (np.array(self.pen, np.float32) - room)
        if joined:
            self.texts[-1] += text
        else:
            self.texts.append(text)
        return x + int(ink.shape[1])

    def numbers(self, x: int, tops: Sequence[int], height: float, length: int, *, skips: float = 0.0) -> None:
        """Writes one number below the other."""
        for top in tops:
            self.number(x, top, height, length, skips=skips)

    def line(self, start: tuple[int, int], end: tuple[int, int], colour: Colour = RULE, thick: int = 2) -> None:
        """Draws a straight line."""
        cv2.line(self.view, start, end, colour, thick, cv2.LINE_AA)

    def box(self, corner: tuple[int, int], size: tuple[int, int], colour: Colour = RULE, thick: int = 2) -> None:
        """Draws a rectangle; ``thick`` of -1 fills it."""
        cv2.rectangle(self.view, corner, (corner[0] + size[0], corner[1] + size[1]), colour, thick, cv2.LINE_AA)

    def disc(self, middle: tuple[int, int], radius: int, colour: Colour) -> None:
        """Draws a filled circle."""
        cv2.circle(self.view, middle, radius, colour, -1, cv2.LINE_AA)

    def print(self, text: str, corner: tuple[int, int], scale: float, colour: Colour = (60, 60, 60)) -> None:
        """Prints words."""
        cover = np.zeros(self.view.shape[:2], np.uint8)
        cv2.putText(cover, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, max(1, round(1.6 * scale)), cv2.LINE_AA)
        self.layer(np.asarray(cover / 255, np.float32), colour)

    def dimmed(self, light: NDArray[np.floating]) -> None:
        """Light (H, W), or of columns (W,), falls on it."""
        self.view *= np.broadcast_to(light, self.view.shape[:2])[..., None].astype(np.float32)

    def grid(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each pixel's (y, x)."""
        ys, xs = np.mgrid[: self.view.shape[0], : self.view.shape[1]]
        return ys, xs

    def photo(self) -> NDArray[np.uint8]:
        """The page as a phone gives it: light from a side, slightly soft, grained, compressed."""
        view = self.view * lighting("gradient", self.view.shape[:2], 0.65, self.rng)[..., None]
        soft = cv2.GaussianBlur(view, (0, 0), float(self.rng.uniform(0.5, 1.1)))
        view = soft + self.rng.normal(0, self.rng.uniform(1, 5), (*view.shape[:2], 1))
        return packed(view.astype(np.float32), int(self.rng.integers(75, 96)))


New = Callable[..., Page]  # (high, wide, paper, pen) -> Page


def _notebook(new: New) -> Page:
    page = _blank_notebook(new)
    page.numbers(280, (130, 310, 490, 670), 64, 7)
    return page


def _blank_notebook(new: New) -> Page:
    page = new(1200, 1600)
    for y in range(120, 1200, 90):
        page.line((0, y), (1600, y + 6))
    page.line((210, 0), (204, 1200), RED)
    for y in (160, 520, 1050):
        page.disc((70, y), 26, (60, 55, 50))
    return page


def _squared(new: New) -> Page:
    page = _blank_squared(new)
    for row in range(4):
        for column in range(7):
            page.number(112 + 52 * column, 100 + 156 * row, 46, 1, joined=column > 0)
    return page


def _blank_squared(new: New) -> Page:
    page = new(800, 1300)
    for place in range(0, 1300, 52):
        page.line((place, 0), (place, 800))
        page.line((0, place), (1300, place))
    return page


def _red_grid(new: New) -> Page:
    page = new(1200, 900, WHITE, BLACK)
    for place in range(0, 1200, 34):
        page.line((place, 0), (place, 1200), RED)
        page.line((0, place), (900, place), RED)
    page.numbers(120, (150, 350, 550, 800), 62, 6)
    return page


def _table(new: New) -> Page:
    page = new(900, 1300)
    for x in range(60, 1300, 390):
        page.line((x, 60), (x, 840), (70, 70, 75))
    for y in range(60, 860, 130):
        page.line((60, y), (1230, y), (70, 70, 75))
    for row in range(4):
        for column in range(3):
            page.number(130 + 390 * column, 78 + 130 * row, 58, 3)
    return page


def _added_up(new: New) -> Page:
    page = new(900, 760)
    page.numbers(240, (80, 230, 380), 80, 4)
    page.line((150, 560), (660, 552), BLUE, 5)
    page.number(240, 610, 80, 4)
    return page


def _dotted_line(new: New) -> Page:
    page = new(240, 1000)
    page.number(120, 30, 70, 6)
    for x in range(60, 940, 14):
        page.disc((x, 152), 3, (80, 80, 80))
    return page


def _dashed_box(new: New) -> Page:
    page = new(260, 1000)
    page.number(140, 50, 70, 5)
    for x in range(90, 900, 22):
        for y in (40, 200):
            page.line((x, y), (x + 12, y), (90, 90, 90))
    return page


def _postal_boxes(new: New) -> Page:
    page = new(240, 900, WHITE, BLACK)
    for place in range(5):
        page.box((80 + 124 * place, 40), (100, 150), RED, 3)
        page.number(96 + 124 * place, 52, 92, 1, joined=place > 0)
    return page


def _printed_form(new: New) -> Page:
    page = new(640, 1400)
    words = "Please write your number into the field below, one digit to a place."
    for y in (70, 112, 154, 560):
        page.print(words, (60, y), 1.0)
    page.box((60, 260), (900, 170), (60, 60, 60))
    page.number(120, 280, 80, 7)
    return page


def _printed_words(new: New) -> Page:
    page = new(640, 1400)
    for y in range(90, 620, 110):
        page.print(" ".join(page.rng.choice(WORDS, 6)).capitalize(), (60, y), float(page.rng.uniform(0.9, 1.4)))
    return page


def _header(new: New) -> Page:
    page = new(600, 1200)
    page.box((0, 0), (1200, 110), (50, 60, 110), -1)
    page.print("INVOICE", (60, 75), 1.8, (240, 240, 240))
    page.box((60, 260), (220, 220), (40, 80, 160), -1)
    page.number(480, 280, 80, 6)
    return page


def _barcode(new: New) -> Page:
    page = new(500, 1200)
    page.number(300, 300, 80, 6)
    x = 100
    while x < 700:
        wide = int(page.rng.integers(2, 9))
        page.box((x, 60), (wide, 140), BLACK, -1)
        x += wide + int(page.rng.integers(3, 9))
    return page


def _two_sizes(new: New) -> Page:
    page = new(700, 1300)
    page.number(150, 80, 40, 5)
    page.number(150, 260, 120, 5)
    return page


def _many_lines(new: New) -> Page:
    page = new(1600, 1200)
    page.numbers(120, range(60, 1480, 118), 42, 8)
    return page


def _spiral(new: New) -> Page:
    page = new(900, 1300)
    page.numbers(200, (200, 450), 68, 7)
    for x in range(40, 1300, 60):
        page.disc((x, 40), 16, (70, 65, 60))
        page.line((x, 0), (x + 4, 36), (120, 120, 125), 5)
    return page


def _fold(new: New) -> Page:
    page = new(900, 1400)
    page.numbers(320, (150, 420), 72, 6)
    page.dimmed(1 - 0.75 * np.exp(-np.abs(np.arange(1400) - 150) / 90))
    return page


def _creases(new: New) -> Page:
    page = new(800, 1200)
    page.numbers(200, (150, 480), 72, 7)
    return _creased(page)


def _blank_creased(new: New) -> Page:
    return _creased(new(800, 1200))


def _creased(page: Page) -> Page:
    ys, xs = page.grid()
    for off in (ys - 330 - 0.02 * xs, xs - 610 + 0.03 * ys):
        page.dimmed(1 - 0.3 * np.exp(-((off / 3) ** 2)) + 0.12 * np.tanh(off / 30) * np.exp(-np.abs(off) / 120))
    return page


def _hard_shadow(new: New) -> Page:
    page = new(900, 1300)
    page.numbers(200, (150, 400, 650), 72, 6)
    dark = np.zeros((900, 1300), np.float32)
    cv2.fillPoly(dark, [np.array([(500, 0), (1300, 0), (1300, 900), (750, 900), (620, 500)])], 1)
    page.dimmed(1 - 0.55 * cv2.GaussianBlur(dark, (0, 0), 7))
    return page


def _dark_photo(new: New) -> Page:
    page = new(400, 1200)
    page.number(200, 120, 72, 6)
    page.dimmed(np.full((400, 1200), 0.15))
    return page


def _coffee_ring(new: New) -> Page:
    page = new(800, 1200)
    page.numbers(200, (150, 430), 72, 7)
    ring = np.zeros((800, 1200), np.float32)
    cv2.circle(ring, (700, 400), 230, 1, 22, cv2.LINE_AA)
    page.layer(np.asarray(cv2.GaussianBlur(ring, (0, 0), 4) * 0.35, np.float32), (150, 100, 50))
    return page


def _red_stamp(new: New) -> Page:
    page = new(500, 1100, WHITE, BLACK)
    page.number(160, 160, 80, 7)
    stamp = np.zeros((500, 1100), np.float32)
    cv2.circle(stamp, (520, 240), 150, 0.7, 8, cv2.LINE_AA)
    cv2.circle(stamp, (520, 240), 120, 0.7, 3, cv2.LINE_AA)
    page.layer(stamp, (210, 60, 70))
    return page


def _highlighter(new: New) -> Page:
    page = new(260, 1000)
    page.box((90, 60), (850, 130), (250, 245, 110), -1)
    page.number(120, 50, 70, 6)
    return page


def _chalkboard(new: New) -> Page:
    page = new(700, 1400, (45, 60, 50), (225, 228, 220))
    page.numbers(200, (120, 380), 110, 6, skips=0.35)
    wiped = cv2.GaussianBlur(page.rng.normal(0, 1, (700, 1400)).astype(np.float32), (0, 0), 25)
    page.view += 250 * wiped[..., None]
    return page


def _kraft(new: New) -> Page:
    page = new(300, 1200, (165, 125, 85), (240, 240, 235))
    page.number(120, 50, 90, 6)
    return page


def _sticky_note(new: New) -> Page:
    page = new(900, 1200, (110, 80, 55), BLACK)
    page.dimmed(1 + page.rng.normal(0, 0.05, (900, 1)))
    cv2.fillPoly(page.view, [np.array([(300, 200), (900, 230), (880, 720), (280, 700)])], (250, 225, 90), cv2.LINE_AA)
    page.number(390, 380, 84, 5)
    return page


def _scanner_edges(new: New) -> Page:
    page = new(1000, 800)
    page.numbers(150, (150, 400, 650), 64, 5)
    page.view[:, :25], page.view[:18], page.view[:, -40:] = 12, 8, 20
    return page


def _tilted(new: New) -> Page:
    page = new(800, 1000)
    page.numbers(200, (260, 420), 70, 6)
    turn = cv2.getRotationMatrix2D((500, 400), 10, 1)
    page.view = np.asarray(cv2.warpAffine(page.view, turn, (1000, 800), borderMode=cv2.BORDER_REPLICATE), np.float32)
    return page


def _on_its_side(new: New) -> Page:
    return _turned(new, 1)


def _upside_down(new: New) -> Page:
    return _turned(new, 2)


def _turned(new: New, quarters: int) -> Page:
    page = new(800, 1000)
    page.numbers(200, (160, 320, 480), 70, 6)
    page.view = np.ascontiguousarray(np.rot90(page.view, quarters))
    return page


SCENES: dict[str, Callable[[New], Page]] = {
    "notebook: rules, margin, holes": _notebook,
    "squared paper, a digit a square": _squared,
    "red grid, black pen": _red_grid,
    "table of twelve cells": _table,
    "numbers added up": _added_up,
    "on a dotted line": _dotted_line,
    "in a dashed box": _dashed_box,
    "postal boxes": _postal_boxes,
    "a field of a printed form": _printed_form,
    "below a printed header": _header,
    "beside a barcode": _barcode,
    "a small and a large number": _two_sizes,
    "thirteen lines of small digits": _many_lines,
    "spiral binding": _spiral,
    "beside a book's fold": _fold,
    "folded twice": _creases,
    "hard shadow": _hard_shadow,
    "dark photo": _dark_photo,
    "coffee ring": _coffee_ring,
    "stamped over": _red_stamp,
    "highlighter": _highlighter,
    "chalkboard": _chalkboard,
    "white ink on kraft paper": _kraft,
    "sticky note on a desk": _sticky_note,
    "scan with black edges": _scanner_edges,
    "tilted by 10 degrees": _tilted,
    "on its side": _on_its_side,
    "upside down": _upside_down,
    "a notebook's page, nothing written": _blank_notebook,
    "squared paper, nothing written": _blank_squared,
    "folded twice, nothing written": _blank_creased,
    "five lines of printed words, no number": _printed_words,
}


def main() -> None:
    """Measure and write docs/results/scenes.md and .json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="where the MNIST files are (default: HANDWRITING_DATA, or downloaded)")
    parser.add_argument("--pictures", type=int, default=20, help="of each scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the pictures that are read wrongly")
    parser.add_argument("--quick", action="store_true", help="2 pictures of each scene, nothing written")
    options = parser.parse_args()
    bank = Bank(strangers(load("mnist", data_dir=options.data_dir)))
    count = 2 if options.quick else options.pictures
    rows, figures = [], {}
    for place, (name, scene) in enumerate(SCENES.items()):
        right, numbers, found = 0, 0, 0
        for which in range(count):
            rng = np.random.default_rng((options.seed, place, which))
            page = scene(lambda *given, rng=rng: Page(bank, rng, *given))
            picture = page.photo()
            read = [line.text for line in hw.read(picture).lines if line.text]
            right += read == page.texts
            numbers, found = numbers + len(page.texts), found + sum(text in read for text in page.texts)
            if options.keep is not None and read != page.texts:
                options.keep.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(options.keep / f"{scene.__name__[1:]}-{which}.png"), picture[..., ::-1])
                print(f"{scene.__name__[1:]}-{which}: {page.texts}, read {read}")
        rows.append((name, share(right, count), f"{found} of {numbers}"))
        figures[name] = {"pictures": count, "right": right, "numbers": numbers, "numbers_read": found}
    text = (
        f"{count} pictures of each scene, composed by `benchmarks/scenes.py` of digits that no model learned from. "
        "Right: every number read exactly, in reading order, and no digit besides; in brackets its 95% interval "
        "(Wilson).\n\n"
    ) + markdown(("scene", "pictures right", "numbers read"), rows)
    print(text)
    if not options.quick:
        write("scenes", "What people photograph numbers on", text, {"scenes": figures})


if __name__ == "__main__":
    main()
