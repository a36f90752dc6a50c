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
from handwriting.reading import Page, read
from handwriting.reading.turning import box_before, read_upright
from tests.reading.conftest import Paper

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
    ink = picture[..., 0] < 110
    for line in page.lines:
        for character in line.characters:
            x, y, w, h = character.box
            assert ink[y : y + h, x : x + w].mean() > 0.08
            ink[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2] = False
    assert not ink.any()


def test_what_reads_well_is_read_once_and_a_short_number_stays_as_it_stands(paper: Paper, digits: Classifier) -> None:
    seen: list[Page] = []

    def reader(picture: NDArray[np.uint8]) -> Page:
        seen.append(read(picture, model=digits))
        return seen[-1]

    assert read_upright(paper("4096", "27183"), reader).turned == 0
    assert len(seen) == 1
    for text in ("7", "9166"):
        assert read(np.ascontiguousarray(np.rot90(paper(text), 2)), model=digits).turned == 0


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
