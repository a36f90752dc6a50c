"""Pictures that lie on their side or upside down, as phones give them that were held flat over a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handwriting.reading.results import Box, Character, Page

# Chosen on 220 composed pages, sheets and fields of strangers' digits, each turned by 0, 90, 180 and 270 degrees, so
# that none is turned that was upright. Upside down many a number is another, so several are needed to tell.
DOUBTFUL, SURE, GAIN = 0.9, 0.8, 0.15  # of `sureness`: below the first a page is tried in other turns; least; and more
LEAST, LEAST_UPSIDE_DOWN = 3, 8  # marks that are characters
MOST = 150  # marks: more are a page of something else, and take their time


def read_upright(picture: NDArray[np.uint8], read: Callable[[NDArray[np.uint8]], Page]) -> Page:
    """uint8 (H, W, 3) and what reads one -> its Page, of the picture turned where it reads much better so.

    A short number by itself is not taken upside down: 9166 would be one either way. Nor is a single mark tried.
    """
    page = read(picture)
    if not 1 < len(_marks(page)) <= MOST or sureness(page) >= DOUBTFUL:
        return page
    others = [_back(read(np.ascontiguousarray(np.rot90(picture, k))), k, picture.shape) for k in (1, 2, 3)]
    best = max([page, *others], key=_accepted)  # holes of a binding, rejected, make an upright page look bad
    found = sum(not mark.rejected for mark in _marks(best))
    enough = found >= (LEAST_UPSIDE_DOWN if best.turned == 180 else LEAST)
    return best if enough and sureness(best) >= max(SURE, sureness(page) + GAIN) else page


def sureness(page: Page) -> float:
    """A page -> mean probability of its marks, 0 of those that are rejected; 0 of no marks."""
    return _accepted(page) / max(len(_marks(page)), 1)


def _accepted(page: Page) -> float:
    return sum(mark.probability for mark in _marks(page) if not mark.rejected)


def _marks(page: Page) -> list[Character]:
    return [character for line in page.lines for character in line.characters]


def _back(page: Page, quarters: int, shape: tuple[int, ...]) -> Page:
    """A page read from a picture (H, W, 3) turned by so many quarters -> its boxes in the picture as it was."""
    lines = tuple(
        replace(
            line,
            box=box_before(line.box, quarters, shape),
            characters=tuple(
                replace(character, box=box_before(character.box, quarters, shape)) for character in line.characters
            ),
        )
        for line in page.lines
    )
    return Page(lines, turned=90 * quarters)


def box_before(box: Box, quarters: int, shape: tuple[int, ...]) -> Box:
    """A box in a picture (H, W) that was turned counter-clockwise by 1 to 3 quarters -> the box before."""
    x, y, w, h = box
    high, wide = shape[:2]
    if quarters == 1:
        return wide - y - h, x, h, w
    if quarters == 2:
        return wide - x - w, high - y - h, w, h
    return y, high - x - w, h, w
