"""Pages that lie on their side or upside down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from handwriting.classifier import Classifier
from handwriting.cli.app import app
from handwriting.reading import Character, Line, Page, read
from handwriting.reading.turning import MOST, box_before, read_upright
from tests.reading.conftest import Paper, assert_boxes_hold_the_ink

TEXTS = ("40962", "27183", "50834")


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_page_on_its_side_or_upside_down_is_read_and_its_boxes_lie_in_it(
    quarters: int, paper: Paper, digits: Classifier
) -> None:
    picture = np.ascontiguousarray(np.rot90(paper(*TEXTS), quarters))
    page = read(picture, model=digits)
    assert page.text == "\n".join(TEXTS)
    assert page.turned == 360 - 90 * quarters
    assert page.as_json("page.jpg")["turned"] == page.turned
    assert_boxes_hold_the_ink(page, picture)


def test_what_reads_well_is_read_once_and_a_short_number_stays_as_it_stands(paper: Paper, digits: Classifier) -> None:
    seen: list[Page] = []

    def reader(picture: NDArray[np.uint8]) -> Page:
        seen.append(read(picture, model=digits))
        return seen[-1]

    assert read_upright(paper("4096", "27183"), reader).turned == 0
    assert len(seen) == 1
    for text in ("7", "9166", "27453"):
        assert read(np.ascontiguousarray(np.rot90(paper(text), 2)), model=digits).turned == 0


def test_a_page_that_gives_more_digits_as_it_stands_is_not_turned_for_its_rejected_marks() -> None:
    box = (0, 0, 1, 1)
    sure, none = Character("1", 0.99, box), Character("0", 0.5, box, rejected=True)

    def reader(picture: NDArray[np.uint8]) -> Page:
        upright = len(seen) == 0
        seen.append(picture.shape)
        return Page((Line("", 0.9, box, (sure,) * 14 + (none,) * 20 if upright else (sure,) * 12),))

    seen: list[tuple[int, ...]] = []
    assert read_upright(np.zeros((20, 30, 3), np.uint8), reader).turned == 0
    assert len(seen) == 4


def test_a_page_of_more_marks_than_a_page_of_numbers_has_is_read_once() -> None:
    mark = Character("1", 0.5, (0, 0, 1, 1), rejected=True)
    for count, readings in ((MOST, 4), (MOST + 1, 1)):
        seen: list[tuple[int, ...]] = []

        def reader(picture: NDArray[np.uint8], count: int = count, seen: list[tuple[int, ...]] = seen) -> Page:
            seen.append(picture.shape)
            return Page((Line("", 0.0, (0, 0, 1, 1), (mark,) * count),))

        assert read_upright(np.zeros((20, 30, 3), np.uint8), reader).turned == 0
        assert seen == [(20, 30, 3), (30, 20, 3), (20, 30, 3), (30, 20, 3)][:readings]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_box_comes_back_to_where_it_was(quarters: int) -> None:
    before = np.zeros((30, 50), bool)
    before[4:11, 20:23] = True
    rows, columns = np.nonzero(np.rot90(before, quarters))
    box = int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    assert box_before(box, quarters, before.shape) == (20, 4, 3, 7)


def test_the_command_tells_how_it_turned_a_page(paper: Paper, tmp_path: Path) -> None:
    Image.fromarray(np.rot90(paper(*TEXTS), 3)).save(tmp_path / "page.png")
    result = CliRunner().invoke(app, ["read", str(tmp_path / "page.png")])
    assert result.exit_code == 0
    assert "page.png: read turned by 90 degrees counter-clockwise" in result.stderr
    assert "27183" in result.stdout
