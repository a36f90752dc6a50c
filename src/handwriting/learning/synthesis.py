"""Training material of our own: drawn digits, and what is no digit for the reject head -> images uint8 (N, 28, 28).

``drawn_digits`` adds the hands that MNIST (American, 1990s) has few of: 1 with flag and foot, closed and slanted 4,
crossed 7, looped 2, slashed 0. ``negatives`` shows what a reader meets beside whole digits: letters, scribbles, lines,
parts of digits, digits that touch, blots. ``crowded`` shows digits with a sliver of a neighbour or a clipped edge,
which are to be accepted still. Pieces and pairs are cut from the training images that are passed in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Generator, Tensor

from handwriting.imaging import normal_form
from handwriting.learning import photo
from handwriting.learning.glyphs import BOX, DIGITS, LETTERS, MIDDLE, SIZE, draw, glyphs, parse, pens, pieces

STRAIGHT = 1.9  # pixels: ink that spreads less than this (std) across its main axis passes as a 1
FAINT = 0.15  # ink below this does not count towards the box
NARROW = 6  # columns of a digit that are never cut

# Strokes of forms, tables and arithmetic. A single upright line is left out (1), as is a closed box (0).
LINES = (
    "0,5! 10,5",
    "0,4! 10,6",
    "5,0! 5,10! | 0,5! 10,5",
    "0,3! 10,3! | 0,7! 10,7",
    "3,0! 3,10! | 7,0! 7,10",
    "0,10! 0,0! 10,0",
    "10,0! 0,0! 0,10! 10,10",
    "0,0! 0,10! 10,10! 10,0",
    "3,0! 3,10! | 7,0! 7,10! | 0,3! 10,3! | 0,7! 10,7",
    "5,0! 5,10! | 0,10! 10,10! | 0,0! 10,0",
    "0,0! 10,5! 0,10",
    "10,0! 0,5! 10,10",
    "0,10! 5,0! 10,10",
    "0,2! 10,2! | 0,5! 10,5! | 0,8! 10,8",
    "1,6! 4,10! 10,0",
    "1,0! 9,10",
    "0,5 2.5,3 5,5 7.5,7 10,5",
)
# A path through this many free points; fewer would often draw a digit.
SCRIBBLES = tuple(" ".join([point] * count) for count in (7, 9, 12, 16) for point in ("5,5", "5,5!"))

# Which turned digits are no digit: (turn, labels). The others (2 and 5 mirrored, 6 and 9 upside down) may be one.
TURNS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("mirror", (3, 4, 6, 7, 9)),
    ("upside down", (3, 4, 7)),
    ("quarter left", (2, 3, 4, 5, 6, 7, 9)),
    ("quarter right", (2, 3, 4, 5, 6, 7, 9)),
)
# Pieces that often look whole: every piece of a 1; the right of a 7; the top of a 2; the lobes of 6, 8 and 9.
PIECES: dict[str, tuple[int, ...]] = {
    "left": (0, 2, 3, 4, 5, 6, 7, 8, 9),
    "right": (0, 2, 3, 4, 5, 6, 8, 9),
    "top": (0, 3, 4, 5, 7),
    "bottom": (0, 2, 3, 4, 5, 7),
}


Source = tuple[Tensor, Tensor]  # images uint8 (N, 28, 28) and labels int64 (N,) to cut pieces from
Negative = Callable[[int, Source, Generator], Tensor]  # how many, cut from what -> uint8 (count, 28, 28)


def refit(images: Tensor) -> Tensor:
    """Ink float32 (N, H, W) in [0, 1] -> float32 (N, 28, 28): longest side 20, centre of mass in the middle.

    The tensor twin of ``imaging.fit_ink``, for thousands at once; an image without ink stays empty.
    """
    height, width = images.shape[1:]
    ink = images > FAINT
    left, right = _edges(ink.any(1))
    top, bottom = _edges(ink.any(2))
    scale = BOX / torch.maximum(right - left, bottom - top).clamp(min=1)
    mass = images.sum((1, 2)).clamp(min=1e-6)
    centre_x = (images.sum(1) * (torch.arange(width) + 0.5)).sum(1) / mass
    centre_y = (images.sum(2) * (torch.arange(height) + 0.5)).sum(1) / mass
    # Twice as fine, then averaged: a page is sampled down, and plain bilinear sampling would drop thin strokes.
    offset = (torch.arange(2 * SIZE) + 0.5) / 2 - MIDDLE
    x = (centre_x[:, None] + offset / scale[:, None]) / width * 2 - 1
    y = (centre_y[:, None] + offset / scale[:, None]) / height * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, 2 * SIZE, -1), y[:, :, None].expand(-1, -1, 2 * SIZE)], -1)
    fine = F.grid_sample(images[:, None], grid, align_corners=False)
    return F.avg_pool2d(fine, 2)[:, 0]


def _edges(taken: Tensor) -> tuple[Tensor, Tensor]:
    """bool (N, L) -> first and one past the last true place, float (N,); 0 and 0 when there is none."""
    places = torch.arange(taken.shape[1])
    last = torch.where(taken, places + 1, 0).amax(1)
    first = torch.where(taken, places, taken.shape[1]).amin(1)
    return torch.minimum(first, last).float(), last.float()


def spread(images: Tensor) -> Tensor:
    """Ink (N, H, W) -> standard deviation in pixels across the ink's main axis (N,): a straight stroke has little."""
    weight = images / images.sum((1, 2), keepdim=True).clamp(min=1e-6)
    y, x = torch.arange(images.shape[1]).float(), torch.arange(images.shape[2]).float()
    columns, rows = weight.sum(1), weight.sum(2)
    mean_x, mean_y = columns @ x, rows @ y
    xx, yy = columns @ x.square() - mean_x.square(), rows @ y.square() - mean_y.square()
    xy = torch.einsum("nyx,y,x->n", weight, y, x) - mean_x * mean_y
    smaller = (xx + yy) / 2 - ((xx - yy).square() / 4 + xy.square()).sqrt()
    return smaller.clamp(min=0).sqrt()


def take(source: Source, count: int, generator: Generator, labels: tuple[int, ...] | None = None) -> Source:
    """``count`` images drawn with repetition from the source, of the given labels only."""
    images, known = source
    allowed = torch.arange(len(known)) if labels is None else torch.isin(known, torch.tensor(labels)).nonzero()[:, 0]
    rows = allowed[torch.randint(len(allowed), (count,), generator=generator)]
    return images[rows], known[rows]


def to_bytes(images: Tensor) -> Tensor:
    """float32 in [0, 1] -> uint8."""
    return images.clamp(0, 1).mul(255).round_().to(torch.uint8)


def drawn_digits(count: int, generator: Generator) -> Source:
    """``count`` digits drawn from the templates, the ten classes alike -> images uint8 (count, 28, 28), labels."""
    images, labels = [], []
    for label, forms in enumerate(DIGITS.values()):
        drawn, _ = glyphs(forms, count // 10 + (label < count % 10), generator)
        images.append(drawn)
        labels.append(torch.full((len(drawn),), label))
    return torch.cat(images), torch.cat(labels)


def photographed(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Characters uint8 (N, 28, 28) written on paper, photographed and found again by ``imaging.normal_form``.

    What that door does to real pictures (edges hardened by its threshold, strokes widened or thinned, specks and
    rules left over, the box a little off) reaches the training this way, by the very code that users' photos pass.
    Pictures are 22 to 84 pixels (one in ten 8 to 20, cut close), dark ink of varied strength on grey paper, lit
    unevenly, blurred, with grain.

    Returns:
        uint8 (M, 28, 28), and for each its row in ``images`` (M,), ascending; what was found empty is left out.
    """
    found, rows = [], []
    sizes = torch.randint(11, 43, (len(images),), generator=generator) * 2
    tiny = torch.rand(len(images), generator=generator) < 0.1
    sizes[tiny] = torch.randint(4, 11, (int(tiny.sum()),), generator=generator) * 2
    for size in sorted(set(sizes.tolist())):
        chosen = (sizes == size).nonzero()[:, 0]
        for row, picture in zip(chosen.tolist(), _photos(images[chosen], size, generator).numpy(), strict=True):
            form = normal_form(picture)
            if not form.empty:
                found.append(torch.from_numpy(form.image))
                rows.append(row)
    order = torch.tensor(rows, dtype=torch.int64).argsort()
    return torch.stack([found[place] for place in order.tolist()]), torch.tensor(rows, dtype=torch.int64)[order]


def _photos(images: Tensor, size: int, generator: Generator) -> Tensor:
    """Characters uint8 (n, 28, 28) -> grey pictures uint8 (n, size, size) of dark ink on paper."""
    count = len(images)
    ink = images.float().div(255).unsqueeze(1)
    # The margin around the character; below 22 pixels little is left, so that its form can still be told.
    zoom = photo.uniform(ink, generator, 0.78, 1.25 if size > 20 else 0.85).flatten()
    aspect = photo.uniform(ink, generator, 0.9, 1.1).flatten()
    turn = photo.uniform(ink, generator, -0.12, 0.12).flatten()
    move = 0.1 * (2 * torch.rand(2, count, generator=generator) - 1)
    matrix = torch.stack([zoom * aspect, turn, move[0], -turn, zoom / aspect, move[1]], 1).view(-1, 2, 3)
    finer = 1 if size > 20 else 4  # small pictures are averaged down, as a camera's or scanner's pixels do
    grid = F.affine_grid(matrix, [count, 1, size * finer, size * finer], align_corners=False)
    ink = F.grid_sample(ink, grid, mode="bicubic", align_corners=False).clamp(0, 1)
    ink = F.avg_pool2d(photo.hard_edges(ink, generator), finer)
    for effect, chance in ((photo.ruled, 0.1), (photo.blur, 0.5)):
        rows = (torch.rand(count, generator=generator) < chance).nonzero()[:, 0]
        if len(rows) and size > 20:
            ink[rows] = effect(ink[rows], generator)
    x, y = photo.axes(ink)
    paper = photo.uniform(ink, generator, 0.45, 1.0)
    light = 1 + photo.uniform(ink, generator, -0.25, 0.25) * x + photo.uniform(ink, generator, -0.25, 0.25) * y
    dark = photo.uniform(ink, generator, 0.05, 0.65)  # what the ink leaves of the paper's light
    grey = paper * light * (1 - ink * (1 - dark))
    grain = photo.normal(ink, generator, size, size) * photo.uniform(ink, generator, 0, 0.04)
    return to_bytes(grey + grain)[:, 0]


# --- digits that stand in a crowd ----------------------------------------------------------------------------------


def side_by_side(left: Tensor, right: Tensor, gap: Tensor, drop: Tensor) -> tuple[Tensor, Tensor]:
    """Two digits uint8 (N, 28, 28) on one line -> ink float32 (N, 36, 72), the column where the right one begins (N,).

    ``gap``: free columns between them, negative where they overlap; ``drop``: rows by which the right one sits lower.
    """
    count, high, wide = len(left), SIZE + 8, 72
    start = 34
    canvas = torch.zeros(count, high, wide)
    boundary = torch.full((count,), float(start))
    for images, is_right in ((left, False), (right, True)):
        ink = images.float() / 255
        first, last = _edges((ink > FAINT).any(1))
        shift_x = (boundary + gap - first) if is_right else (boundary - last)
        shift_y = 4 + (drop if is_right else torch.zeros(count))
        column = torch.arange(wide) - shift_x[:, None].long()
        row = torch.arange(high) - shift_y[:, None].long()
        index = row.clamp(0, SIZE - 1)[:, :, None] * SIZE + column.clamp(0, SIZE - 1)[:, None, :]
        inside = ((row >= 0) & (row < SIZE))[:, :, None] & ((column >= 0) & (column < SIZE))[:, None, :]
        placed = ink.flatten(1).gather(1, index.flatten(1)).view(count, high, wide) * inside
        canvas = torch.maximum(canvas, placed)
    return canvas, boundary + gap


def keep_columns(images: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Ink (N, H, W) with everything outside columns low..high (N,) wiped."""
    column = torch.arange(images.shape[2])
    return images * ((column >= low[:, None]) & (column < high[:, None]))[:, None, :]


def _pair(source: Source, count: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random neighbours, mostly touching -> ink (N, 36, 72), where the right begins, both labels."""
    left, left_labels = take(source, count, generator)
    right, right_labels = take(source, count, generator)
    gap = torch.randint(-4, 3, (count,), generator=generator).float()
    drop = torch.randint(-4, 5, (count,), generator=generator).float()
    canvas, begins = side_by_side(left, right, gap, drop)
    return canvas, begins, left_labels, right_labels


def crowded(count: int, source: Source, generator: Generator) -> Source:
    """Digits with a sliver of a neighbour, or with an edge clipped, still to be read -> uint8 images, labels."""
    canvas, begins, left_labels, right_labels = _pair(source, count, generator)
    ink = canvas > FAINT
    first, last = _edges(ink.any(1))
    sliver = torch.randint(-1, 4, (count,), generator=generator).float()  # columns; negative clips the digit itself
    is_left = torch.rand(count, generator=generator) < 0.5
    # Of a narrow 1 that its neighbour reaches over, a cut there would leave no more than the ends.
    low = torch.where(is_left, first, torch.minimum(begins - sliver, last - NARROW))
    high = torch.where(is_left, torch.maximum(begins.clamp(max=34) + sliver, first + NARROW), last)
    return to_bytes(refit(keep_columns(canvas, low, high))), torch.where(is_left, left_labels, right_labels)


# --- what is no digit ----------------------------------------------------------------------------------------------


def letters(count: int, source: Source, generator: Generator) -> Tensor:  # noqa: ARG001 (one signature for all)
    """Letters and signs drawn from the templates, look-alikes of digits left out."""
    return glyphs(tuple(text for forms in LETTERS.values() for text in forms), count, generator)[0]


def pen_lines(count: int, source: Source, generator: Generator) -> Tensor:  # noqa: ARG001
    """Rules, crosses, brackets, ticks and borders."""
    return glyphs(LINES, count, generator)[0]


def scribbles(count: int, source: Source, generator: Generator) -> Tensor:  # noqa: ARG001
    """A pen going round and round: smooth or zigzag, through 7 to 16 random points."""
    parts = []
    for index, text in enumerate(SCRIBBLES):
        share = count // len(SCRIBBLES) + (index < count % len(SCRIBBLES))
        if share:
            lines = pieces(parse(text), share, generator, jitter=3.0)
            width, softness = pens(share, generator)
            parts.append(draw(lines, width.clamp(max=3), softness, generator))
    return torch.cat(parts)


def other_marks(in_fonts: int, by_pen: int, generator: Generator) -> Tensor:
    """So many letters and signs, and so many scribbles -> uint8 (N, 28, 28): what may stand among digits in a line."""
    none = torch.zeros(0, 28, 28, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    return torch.cat([letters(in_fonts, none, generator), scribbles(by_pen, none, generator)])


def pairs(count: int, source: Source, generator: Generator) -> Tensor:
    """Two digits in one box, close or touching."""
    return to_bytes(refit(_pair(source, count, generator)[0]))


def one_and_a_half(count: int, source: Source, generator: Generator) -> Tensor:
    """A digit and 40 to 80% of its neighbour's width."""
    canvas, begins, _, _ = _pair(source, count, generator)
    first, last = _edges((canvas > FAINT).any(1))
    share = 0.4 + 0.4 * torch.rand(count, generator=generator)
    is_left = torch.rand(count, generator=generator) < 0.5
    low = torch.where(is_left, first, begins - share * (begins - first) - 2)
    high = torch.where(is_left, begins + share * (last - begins) + 2, last)
    return to_bytes(refit(keep_columns(canvas, low, high)))


def two_halves(count: int, source: Source, generator: Generator) -> Tensor:
    """The right of one digit with the left of the next: a cut on both sides of where two digits meet."""
    canvas, begins, _, _ = _pair(source, count, generator)
    first, last = _edges((canvas > FAINT).any(1))
    keep_left, keep_right = (0.25 + 0.4 * torch.rand(2, count, generator=generator)).unbind()
    cut = keep_columns(canvas, begins - keep_left * (begins - first), begins + keep_right * (last - begins))
    return to_bytes(refit(cut))


def digit_parts(count: int, source: Source, generator: Generator) -> Tensor:
    """A quarter to a half of one digit, from any side."""
    parts = []
    for index, (side, labels) in enumerate(PIECES.items()):
        images, _ = take(source, count // 4 + (index < count % 4), generator, labels)
        ink = images.float() / 255
        if side in ("top", "bottom"):
            ink = ink.transpose(1, 2)
        first, last = _edges((ink > FAINT).any(1))
        reach = (0.25 + 0.25 * torch.rand(len(ink), generator=generator)) * (last - first)
        if side in ("left", "top"):
            ink = keep_columns(ink, first, first + reach)
        else:
            ink = keep_columns(ink, last - reach, last)
        parts.append(refit(ink.transpose(1, 2) if side in ("top", "bottom") else ink))
    return to_bytes(torch.cat(parts))


def turned(count: int, source: Source, generator: Generator) -> Tensor:
    """Digits mirrored or turned so that they are none."""
    parts = []
    for index, (turn, labels) in enumerate(TURNS):
        images, _ = take(source, count // len(TURNS) + (index < count % len(TURNS)), generator, labels)
        if turn == "mirror":
            images = images.flip(2)
        else:
            images = images.rot90({"upside down": 2, "quarter left": 1, "quarter right": 3}[turn], (1, 2))
        parts.append(images)
    return torch.cat(parts)


def textures(count: int, source: Source, generator: Generator) -> Tensor:  # noqa: ARG001
    """Blots, grain, stripes and clouds; the coarsest are refitted as a reader would refit a blot."""
    cells = 3 + torch.randint(0, 12, (count,), generator=generator)
    level = 0.9 * torch.randn(count, 1, 1, generator=generator) + 0.6
    images = torch.empty(count, SIZE, SIZE)
    for size in range(3, 15):
        rows = (cells == size).nonzero()[:, 0]
        field = torch.randn(len(rows), 1, size, size, generator=generator)
        if len(rows):
            images[rows] = F.interpolate(field, size=SIZE, mode="bicubic", align_corners=False)[:, 0]
    images = ((images - level) * 5 + 0.5).clamp(0, 1)
    fitted = torch.rand(count, generator=generator) < 0.5
    images[fitted] = refit(images[fitted])
    return to_bytes(images)


def blanks(count: int, source: Source, generator: Generator) -> Tensor:  # noqa: ARG001
    """Nothing, or one or two specks."""
    x = torch.arange(SIZE) + 0.5
    images = torch.zeros(count, SIZE, SIZE)
    for _ in range(2):
        centre = 3 + 22 * torch.rand(count, 2, 1, generator=generator)
        radius = 3 * torch.rand(count, 1, 1, generator=generator) - 0.7  # below zero: no speck
        distance = torch.hypot((x - centre[:, 0])[:, None, :], (x - centre[:, 1])[:, :, None])
        images = torch.maximum(images, (radius - distance + 0.5).clamp(0, 1) * (radius > 0))
    return to_bytes(images)


# kind -> share of the negatives
NEGATIVES: tuple[tuple[Negative, float], ...] = (
    (letters, 0.44),
    (pen_lines, 0.05),
    (scribbles, 0.06),
    (pairs, 0.12),
    (one_and_a_half, 0.08),
    (two_halves, 0.07),
    (digit_parts, 0.08),
    (turned, 0.05),
    (textures, 0.03),
    (blanks, 0.02),
)
MAY_LOOK_LIKE_1 = (two_halves, digit_parts, one_and_a_half)


def negatives(count: int, source: Source, generator: Generator) -> Tensor:
    """About ``count`` images of what is no whole digit, uint8 (n <= count, 28, 28), kind after kind.

    Pieces that are but one straight stroke are dropped: nobody can tell them from a 1.
    """
    parts = []
    for kind, share in NEGATIVES:
        images = kind(max(round(share * count), 1), source, generator)
        if kind in MAY_LOOK_LIKE_1:
            images = images[spread(images.float() / 255) > STRAIGHT]
        parts.append(images)
    return torch.cat(parts)[:count]
