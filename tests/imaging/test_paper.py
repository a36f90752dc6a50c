"""A sheet of paper on a table: found where it is, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handwriting.imaging import find_paper, normal_form, paper_alone
from handwriting.imaging.paper import from_above
from tests.imaging.drawn_pictures import Picture, likeness, on_paper, on_table, seven, shadow

SIZE = (1000, 800)
LOWER = np.array([(0.0, 300.0), (1000.0, 320.0), (1000.0, 800.0), (0.0, 800.0)])
CUT_AT_A_CORNER = np.array([(300.0, 200.0), (1100.0, 150.0), (1100.0, 900.0), (250.0, 900.0)])
ASKEW = np.array([(210.0, 90.0), (760.0, 130.0), (900.0, 700.0), (120.0, 640.0)])


def sheet(ink: NDArray[np.float32] | None = None, light: float | NDArray[np.float32] = 225.0) -> Picture:
    plain = on_paper(np.zeros((600, 700), np.float32) if ink is None else ink, light)
    return np.repeat(plain[..., None], 3, 2)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("shade", [30.0, 130.0])
def test_corners_are_found_clockwise_from_the_top_left_a_little_inside(turns: int, shade: float) -> None:
    picture = np.ascontiguousarray(np.rot90(on_table(sheet(), ASKEW, SIZE, shade), turns))
    paper = find_paper(picture)
    assert paper is not None
    assert paper.whole
    found = paper.corners
    true = ASKEW.copy()
    for turn in range(turns):  # counter-clockwise: (x, y) -> (y, width - x)
        true = np.stack([true[:, 1], (SIZE[0] if turn % 2 == 0 else SIZE[1]) - true[:, 0]], 1)
    true = np.roll(true, -int(true.sum(1).argmin()), 0)
    assert np.abs(found - true).max() < 12
    inside = [cv2.pointPolygonTest(true.astype(np.float32), corner.tolist(), measureDist=True) for corner in found]
    assert min(inside) > 0  # nothing of the table, nor of the sheet's own shadow


def test_a_sheet_that_is_seen_flat_keeps_its_top() -> None:
    flat = np.array([(430.0, 100.0), (1520.0, 120.0), (1750.0, 420.0), (270.0, 400.0)])
    paper = find_paper(on_table(sheet(), flat, (2000, 500)))
    assert paper is not None
    assert np.abs(paper.corners - flat).max() < 30


def test_shadows_and_writing_do_not_hide_it() -> None:
    ink = np.zeros((600, 700), np.float32)
    ink[100:300, 100:250] = seven(200, 150)
    assert find_paper(on_table(sheet(ink, shadow(600, 700)), ASKEW, SIZE)) is not None


def test_one_side_may_be_the_pictures_own_edge() -> None:
    below = np.array([(210.0, 300.0), (760.0, 290.0), (790.0, 800.0), (150.0, 800.0)])
    paper = find_paper(on_table(sheet(), below, SIZE))
    assert paper is not None
    assert paper.whole
    assert np.abs(paper.corners - below).max() < 16


def boxed(thick: int) -> Picture:
    page = sheet(cv2.copyMakeBorder(seven(), 200, 200, 275, 275, cv2.BORDER_CONSTANT).astype(np.float32))
    cv2.rectangle(page, (100, 100), (600, 500), (40, 40, 40), thick)
    return page


@pytest.mark.parametrize(
    "picture",
    [
        sheet(),
        sheet(light=shadow(600, 700)),
        boxed(2),
        boxed(9),
        sheet()[:150, :300],
        sheet()[:100],
        on_table(sheet(), np.array([(0.3, 0.2), (0.7, 0.2), (0.72, 0.85), (0.28, 0.85)]) * (3600, 320), (3600, 320)),
    ],
    ids=["blank", "shadow", "box", "thick box", "small", "strip", "slender"],
)
def test_there_is_none_where_paper_fills_the_picture(picture: Picture) -> None:
    assert find_paper(picture) is None


def hard_shadow() -> Picture:
    light = np.where(np.arange(800)[:, None] < 300, 90.0, 225.0) * np.ones((800, 1000))
    return np.repeat(on_paper(np.zeros((800, 1000), np.float32), light.astype(np.float32))[..., None], 3, 2)


def bar(left: int, thick: int) -> Picture:
    page = np.full((600, 600, 3), 230, np.uint8)
    page[:, left : left + thick] = 40
    return page


@pytest.mark.parametrize(
    "picture", [hard_shadow(), bar(200, 60), bar(20, 90)], ids=["hard shadow", "thick 1", "thick 1 beside the edge"]
)
def test_neither_a_hard_shadow_nor_a_thick_stroke_ends_a_sheet(picture: Picture) -> None:
    assert find_paper(picture) is None


@pytest.mark.parametrize(
    "corners",
    [LOWER, CUT_AT_A_CORNER],
    ids=["three sides cut", "two sides cut"],
)
def test_past_a_sheet_that_the_picture_cuts_the_table_is_painted_over(corners: NDArray[np.float64]) -> None:
    ink = np.zeros((600, 700), np.float32)
    ink[250:450, 300:450] = seven(200, 150)
    picture = on_table(sheet(ink), corners, SIZE)
    paper = find_paper(picture)
    assert paper is not None
    assert not paper.whole
    alone, to_picture = paper_alone(picture, paper)
    assert np.array_equal(to_picture, np.eye(3))
    assert (alone != picture).any(2)[:100].all()  # the table lay there
    assert alone[:100].min() > 200
    assert np.array_equal(alone[450:600, 400:700], picture[450:600, 400:700])
    form = normal_form(picture)
    assert likeness(form.image, normal_form(on_paper(seven())).image) > 0.6
    assert form.box is not None
    assert form.box[1] > 300


GREY = (1.0, 1.0, 1.0)


def test_grain_tells_a_table_as_light_as_the_paper() -> None:
    paper = find_paper(on_table(sheet(), ASKEW, SIZE, shade=222.0, grain=0.12, tint=GREY))
    assert paper is not None
    assert paper.whole
    assert find_paper(on_table(sheet(), ASKEW, SIZE, shade=222.0, grain=0.0, tint=GREY)) is None


def test_a_hard_shadow_across_the_sheet_does_not_part_it() -> None:
    picture = on_table(sheet(), ASKEW, SIZE, shade=150.0, tint=(1.0, 0.75, 0.5))
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]]
    paper = find_paper(np.where((ys > 0.5 * xs + 100)[..., None], 0.4 * picture, picture).astype(np.uint8))
    assert paper is not None
    assert paper.whole
    assert np.abs(paper.corners - ASKEW).max() < 14


def test_a_corner_tells_a_cut_sheet_from_a_hard_shadow() -> None:
    paper = find_paper(on_table(sheet(), CUT_AT_A_CORNER, SIZE, shade=110.0, grain=0.0, tint=GREY))
    assert paper is not None
    assert not paper.whole
    assert find_paper(on_table(sheet(), LOWER, SIZE, shade=110.0, grain=0.0, tint=GREY)) is None


def test_a_lit_corner_between_two_shadows_is_no_sheet() -> None:
    light = np.full((800, 1000), 225.0)
    light[:, :350] *= 0.5
    soft = 1 - 0.5 / (1 + np.exp((np.arange(800)[:, None] - 250) / 30))
    picture = on_paper(np.zeros((800, 1000), np.float32), (light * soft).astype(np.float32))
    assert find_paper(np.repeat(picture[..., None], 3, 2)) is None


def test_what_is_next_to_black_is_no_shadow() -> None:
    dark = on_table(sheet(), LOWER, SIZE, shade=18.0, grain=0.0, tint=GREY)
    paper = find_paper(dark)
    assert paper is not None
    assert not paper.whole


def test_grey_pictures_have_sheets_too() -> None:
    picture = on_table(sheet(), LOWER, SIZE)[..., 1]
    paper = find_paper(picture)
    assert paper is not None
    assert paper_alone(picture, paper)[0].shape == picture.shape


def test_from_above_takes_the_corners_to_a_rectangle() -> None:
    matrix, (wide, high) = from_above(ASKEW)
    seen = cv2.perspectiveTransform(ASKEW[None], matrix)[0] + 0.5
    assert np.allclose(seen, [(0, 0), (wide, 0), (wide, high), (0, high)], atol=1)
    assert wide >= np.hypot(*(ASKEW[1] - ASKEW[0]))


def test_a_character_on_the_sheet_is_found_and_its_mask_lies_in_the_photo() -> None:
    ink = np.zeros((600, 700), np.float32)
    ink[150:350, 100:250] = seven(200, 150)
    picture = on_table(sheet(ink), ASKEW, SIZE)
    form = normal_form(picture)
    assert likeness(form.image, normal_form(on_paper(seven())).image) > 0.8
    assert [step.name for step in form.steps][:2] == ["picture", "paper"]
    assert form.mask.shape == picture.shape[:2]
    dark = picture[form.mask].mean()
    assert dark < 100 < picture[300, 600].mean()
    x, y, w, h = form.box or (0, 0, 0, 0)
    assert form.mask[y : y + h, x : x + w].sum() == form.mask.sum() > 500


def test_an_empty_sheet_is_empty() -> None:
    form = normal_form(on_table(sheet(), ASKEW, SIZE))
    assert form.empty
    assert form.box is None
    assert not form.mask.any()
