from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import handwriting as hw
from handwriting.classifier import Classifier
from handwriting.cli.app import app
from handwriting.data import Dataset
from handwriting.errors import PictureError
from handwriting.reading import Character, Line, Page, annotated, luhn_holds, read
from handwriting.reading.sheet import lay_out, without_corners
from tests.imaging.drawn_pictures import on_table
from tests.reading.conftest import Paper, Picture, assert_boxes_hold_the_ink


def test_lines_are_read_from_top_to_bottom(paper: Paper, digits: Classifier) -> None:
    page = read(paper("4096", "150", "27183"), model=digits)
    assert [line.text for line in page.lines] == ["4096", "150", "27183"]
    assert page.text == "4096\n150\n27183"
    assert all(line.probability > 0.5 for line in page.lines)


def test_most_numbers_of_many_writers_are_read_exactly(paper: Paper, digits: Classifier) -> None:
    rng = np.random.default_rng(1)
    wanted = ["".join(rng.choice(list("0123456789"), 4)) for _ in range(15)]
    found = [read(paper(text, choice=7 * k), model=digits).text for k, text in enumerate(wanted)]
    assert np.mean([a == b for a, b in zip(found, wanted, strict=True)]) >= 0.8


def test_touching_digits_are_parted(paper: Paper, digits: Classifier) -> None:
    wanted = ["36", "52", "80", "94", "27", "65", "08", "43"]
    found = [read(paper(text, gap=-3, choice=3 * k), model=digits).text for k, text in enumerate(wanted)]
    assert np.mean([a == b for a, b in zip(found, wanted, strict=True)]) >= 0.5


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_page_has_no_lines(value: int, digits: Classifier) -> None:
    assert read(np.full((300, 400, 3), value, np.uint8), model=digits).lines == ()


def test_grain_and_shadow_alone_are_no_lines(digits: Classifier) -> None:
    rng = np.random.default_rng(3)
    light = np.linspace(90, 240, 500)[None] + rng.normal(0, 4, (300, 500))
    page = read(np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, 2), model=digits)
    assert all(character.rejected for line in page.lines for character in line.characters)


def with_bits_of_a_grid(picture: Picture) -> Picture:
    """A page of 700 x 900 with bits of a pale grid drawn below its first line: one in five looks like a 7."""
    for place, (x, y) in enumerate((x, y) for x in range(60, 860, 90) for y in range(200, 680, 60)):
        bits = [[(x - 5, y), (x + 5, y), (x - 1, y + 16)]]
        if place % 5:
            bits = [[(x, y), (x + 1, y + 16)], [(x - 8, y + 7), (x + 8, y + 8)]]
        for bit in bits:
            cv2.polylines(picture, [np.array(bit, np.int32)], False, (90, 90, 90), 2, cv2.LINE_AA)
    return picture


def test_bits_of_a_pale_grid_are_no_digits_and_hide_none_that_is_taller(paper: Paper, digits: Classifier) -> None:
    picture = with_bits_of_a_grid(paper("3", size=(700, 900)))
    lines = read(picture, model=digits).lines
    assert [line.text for line in lines if line.text] == ["3"]
    assert sum(len(line.characters) for line in lines) > 20  # they are told of, as no characters
    # Lines that a constraint leaves without a text are no litter, and make none of the others.
    assert sum(line.text == "7" for line in read(picture, model=digits, length=1).lines) > 3


def test_the_command_tells_of_marks_that_are_no_digits_in_one_line(paper: Paper, tmp_path: Path) -> None:
    Image.fromarray(with_bits_of_a_grid(paper("3", size=(700, 900)))).save(tmp_path / "page.png")
    result = CliRunner().invoke(app, ["read", str(tmp_path / "page.png")])
    assert result.exit_code == 0
    read_it, rejected = result.stdout.splitlines()
    assert ": 3  " in read_it
    assert re.search(r": -  .*\(\d{2,} rejected in \d+ lines: no character", rejected)


def test_a_table_in_the_corner_of_the_picture_is_no_digit(paper: Paper, digits: Classifier) -> None:
    picture = paper("58", size=(500, 900))
    for corner in ([(899, 499), (899, 300), (860, 499)], [(0, 0), (0, 180), (40, 0)]):
        shown = picture.copy()
        cv2.fillPoly(shown, [np.array(corner, np.int32)], (40, 35, 30))
        assert [line.text for line in read(shown, model=digits).lines if line.text] == ["58"]


def test_what_fills_a_corner_goes_and_a_stroke_in_it_stays() -> None:
    table, five = (np.zeros((400, 600), np.uint8) for _ in range(2))
    cv2.fillPoly(table, [np.array([(0, 0), (0, 180), (40, 0)], np.int32)], 1)
    cv2.polylines(five, [np.array([(60, 3), (3, 3), (3, 80), (50, 80), (60, 140), (3, 160)], np.int32)], False, 1, 7)
    assert not without_corners(table, np.eye(3), (600, 400)).any()
    assert (without_corners(five, np.eye(3), (600, 400)) == five).all()


def test_boxes_lie_around_the_ink_in_the_original_picture(paper: Paper, digits: Classifier) -> None:
    for scale in (0.6, 1.0, 3.0):
        picture = cv2.resize(paper("3058"), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
        assert_boxes_hold_the_ink(read(picture, model=digits), picture)


@pytest.mark.parametrize("angle", [-6, -3, 4, 6])
def test_a_turned_page_reads_the_same_and_its_boxes_turn_with_it(
    angle: float, paper: Paper, digits: Classifier
) -> None:
    picture = paper("4096", "27183", size=(400, 600))
    turn = cv2.getRotationMatrix2D((300, 200), angle, 1.0)
    turned = np.asarray(cv2.warpAffine(picture, turn, (600, 400), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    page = read(turned, model=digits)
    assert [line.text for line in page.lines] == ["4096", "27183"]
    for straight, line in zip(read(picture, model=digits).lines, page.lines, strict=True):
        for before, after in zip(straight.characters, line.characters, strict=True):
            middle = turn @ (before.box[0] + before.box[2] / 2, before.box[1] + before.box[3] / 2, 1)
            x, y, w, h = after.box
            assert x - 2 <= middle[0] <= x + w + 2
            assert y - 2 <= middle[1] <= y + h + 2


def test_numbers_that_stand_far_apart_do_not_turn_the_page(paper: Paper, digits: Classifier) -> None:
    blank = paper("8", size=(640, 1000))
    blank[:] = 220
    for place, text in enumerate(("3156", "8985", "5839")):  # in one row at 9 degrees
        line = paper(text, choice=place)[55:125, 70:]
        x, y = 60 + 320 * place, 120 + round(320 * place * 0.16)
        blank[y : y + 70, x : x + 230] = np.minimum(blank[y : y + 70, x : x + 230], line[:70, :230])
    back = lay_out(blank).way_back
    assert abs(np.degrees(np.arctan2(back[1, 0], back[0, 0]))) < 3  # 7.8 without a look at the rows
    assert [line.text for line in read(blank, model=digits).lines] == ["3156", "8985", "5839"]


def test_rules_and_grids_are_not_read(paper: Paper, digits: Classifier) -> None:
    ruled, grid = paper("4096", "27183", size=(400, 700)), paper("4096", "27183", size=(400, 700))
    printed = np.zeros((400, 700), np.float32)
    for y in range(22, 400, 47):
        cv2.line(printed, (0, y), (700, y + 6), 1, 1, cv2.LINE_AA)
    ruled = (ruled * (1 - 0.45 * printed[..., None])).astype(np.uint8)
    for x in range(11, 700, 47):
        cv2.line(printed, (x, 0), (x - 6, 400), 1, 1, cv2.LINE_AA)
    grid = (grid * (1 - printed[..., None] * (0.12, 0.45, 0.45))).astype(np.uint8)
    assert read(ruled, model=digits).text == "4096\n27183"
    assert read(grid, model=digits).text == "4096\n27183"


def test_a_tall_edge_beside_the_lines_is_no_part_of_them(paper: Paper, digits: Classifier) -> None:
    """A table's or a fold's, too far from upright for a rule."""
    page = paper("2718", "4096", "5550")
    high = len(page)
    cv2.line(page, (10, 10), (62, high - 10), (60, 60, 60), 7)
    assert read(page, model=digits).text.split("\n") == ["2718", "4096", "5550"]


def test_what_stands_in_one_row_is_read_from_left_to_right(paper: Paper, digits: Classifier) -> None:
    for drops in ((0, 9, 18), (18, 9, 0)):
        cells = [paper(text, size=(230, 420)) for text in ("302", "415", "867")]
        row = np.concatenate([np.roll(cell, drop, 0) for cell, drop in zip(cells, drops, strict=True)], 1)
        page = read(np.concatenate([row, paper("954", size=(0, row.shape[1]))]), model=digits)
        assert [line.text for line in page.lines] == ["302", "415", "867", "954"]


def test_a_line_of_much_smaller_writing_is_read_too(paper: Paper, digits: Classifier) -> None:
    small, large = paper("30285"), cv2.resize(paper("1467"), None, fx=2.6, fy=2.6, interpolation=cv2.INTER_CUBIC)
    page = np.full((len(small) + len(large), large.shape[1], 3), 210, np.uint8)
    page[: len(small), : small.shape[1]], page[len(small) :] = small, large
    assert read(page, model=digits).text == "30285\n1467"


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.0])
def test_a_dotted_line_under_a_number_hides_nothing(scale: float, paper: Paper, digits: Classifier) -> None:
    page = cv2.resize(paper("4096", size=(0, 700)), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for x in range(30, 680, 12):
        cv2.circle(page, (round(x * scale), round(122 * scale)), round(2.4 * scale), (70, 70, 70), -1, cv2.LINE_AA)
    assert read(np.asarray(page, np.uint8), model=digits).text == "4096"


def test_printed_words_around_a_number_give_no_digits(paper: Paper, digits: Classifier) -> None:
    page = paper("4096", size=(0, 900))
    page = np.concatenate([page, np.full((80, 900, 3), 205, np.uint8)])
    words = "Please write your number here, one digit to a box"
    cv2.putText(page, words, (40, len(page) - 40), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (60, 60, 60), 1, cv2.LINE_AA)
    assert [line.text for line in read(page, model=digits).lines if line.text] == ["4096"]


def test_the_lightest_part_of_a_folded_sheet_is_not_taken_for_all_of_it(paper: Paper, digits: Classifier) -> None:
    page = paper("98882", "08657", size=(800, 1200))
    ys, xs = np.mgrid[:800, :1200]
    light = np.full((800, 1200), 0.75)
    light[(xs > 610 - 0.03 * ys) & (ys > 330 + 0.02 * xs)] = 1.08
    for off in (xs - 610 + 0.03 * ys, ys - 330 - 0.02 * xs):
        light *= 1 - 0.3 * np.exp(-((off / 3) ** 2))
    folded = np.clip(page * light[..., None], 0, 255).astype(np.uint8)
    assert lay_out(folded).past_it
    assert read(folded, model=digits).text == "98882\n08657"


def test_a_blotted_mark_is_not_taken_for_a_hole(paper: Paper, digits: Classifier) -> None:
    page = paper("30285", size=(0, 500))
    blotted = np.asarray(cv2.ellipse(page.copy(), (340, 90), (15, 20), 0, 0, 360, (50, 50, 50), -1, cv2.LINE_AA))
    before, after = (read(picture, model=digits).lines[0].characters for picture in (page, blotted))
    assert len(after) == len(before) + 1


@pytest.mark.parametrize("edge", [6, 12, 16])
def test_a_scans_black_edges_do_not_make_it_light_on_dark(edge: int, paper: Paper, digits: Classifier) -> None:
    page = paper("150", size=(240, 310))
    page[:, -edge:] = page[:edge] = 15
    assert read(page, model=digits).text == "150"


def test_holes_in_a_sheet_are_no_digits(paper: Paper, digits: Classifier) -> None:
    page = paper("30285", "1467", size=(0, 500))
    for x, y in ((40, 85), (460, 205)):
        holed = cv2.circle(page.copy(), (x, y), 22, (60, 55, 50), -1, cv2.LINE_AA)
        assert read(np.asarray(holed, np.uint8), model=digits).text == read(page, model=digits).text == "30285\n1467"


def test_a_books_fold_beside_the_lines_is_no_ink(paper: Paper, digits: Classifier) -> None:
    page = np.roll(paper("4096", "150", "27183", size=(900, 1400)), 200, axis=1)
    light = 1 - 0.75 * np.exp(-np.abs(np.arange(1400) - 150) / 90)
    folded = np.clip(page * light[None, :, None], 0, 255).astype(np.uint8)
    assert read(folded, model=digits).text == "4096\n150\n27183"


def test_a_large_digit_out_of_focus_is_no_shadow(paper: Paper, digits: Classifier) -> None:
    large = cv2.resize(paper("3"), None, fx=12, fy=12, interpolation=cv2.INTER_CUBIC)
    assert read(np.asarray(cv2.GaussianBlur(large, (0, 0), 40), np.uint8), model=digits).text == "3"


@pytest.mark.parametrize(
    ("label", "which"),
    [
        *((label, 0) for label in "0123456789"),
        pytest.param("7", 3, marks=pytest.mark.xfail(strict=True, reason="known for a 7, but rejected")),
    ],
)
def test_a_large_digit_among_small_marks_is_not_lost(
    label: str, which: int, sample: Dataset, digits: Classifier
) -> None:
    """The marks are more, so the height of the writing is taken for theirs, and the digit has many such heights."""
    image = sample.images[np.flatnonzero(sample.labels == sample.classes.index(label))[which]]
    ink = cv2.resize(image, None, fx=16, fy=16, interpolation=cv2.INTER_CUBIC) > 120
    page = np.full((700, 900, 3), 235, np.uint8)
    page[100 : 100 + ink.shape[0], 200 : 200 + ink.shape[1]][ink] = 45
    for place in range(14):
        cv2.ellipse(page, (30 + 64 * place, 660 if place % 2 else 40), (8, 15), 0, 0, 360, (60, 60, 60), -1)
    assert label in read(page, model=digits).text


def test_light_ink_on_dark_reads_the_same(paper: Paper, digits: Classifier) -> None:
    assert read(255 - paper("27183"), model=digits).text == "27183"


def test_constraints_guide_the_reading(paper: Paper, digits: Classifier) -> None:
    picture = paper("4096")
    assert read(picture, model=digits, length=4).text == "4096"
    assert read(picture, model=digits, pattern=r"\d{2}9\d").text == "4096"
    assert set(read(picture, model=digits, alphabet="1378").text) <= set("1378")
    against = read(picture, model=digits, pattern="[0-8]{4}").text
    assert "9" not in against
    assert len(against) in (0, 4)
    checked = read(picture, model=digits, checksum="luhn").text
    assert checked == "" or luhn_holds(checked)


def test_a_line_that_cannot_keep_the_constraint_is_not_made_up(paper: Paper, digits: Classifier) -> None:
    (line,) = read(paper("4096"), model=digits, length=12).lines
    assert line.text == ""
    assert line.probability == 0
    assert all(character.rejected for character in line.characters)


def test_signs_of_a_pattern_are_found_by_their_shape(paper: Paper, digits: Classifier) -> None:
    slash, dash = _with_sign(paper, cv2.line, "/"), _with_sign(paper, cv2.line, "-")
    assert read(slash, model=digits, pattern=r"\d{2}/\d{2}").text == "27/58"
    assert read(dash, model=digits, pattern=r"\d{2}-\d{2}").text == "27-58"


def _with_sign(paper: Paper, draw: Callable[..., object], sign: str) -> Picture:
    left, right = paper("27"), paper("58")
    sheet = np.concatenate(
        [left[:, :-64], np.full((left.shape[0], 40, 3), left[2, -66, 0], np.uint8), right[:, 64:]], 1
    )
    sheet = np.ascontiguousarray(sheet)
    x = left.shape[1] - 64 + 20
    ends = ((x - 10, 118), (x + 10, 64)) if sign == "/" else ((x - 12, 92), (x + 12, 92))
    draw(sheet, *ends, (50, 50, 50), 4, cv2.LINE_AA)
    return sheet


def test_scribbles_are_hardly_ever_confident_digits(digits: Classifier) -> None:
    rng = np.random.default_rng(5)
    confident: list[bool] = []
    for _ in range(10):
        picture = np.full((200, 300, 3), 240, np.uint8)
        points = (rng.uniform(0.15, 0.85, (14, 2)) * (300, 200)).astype(np.int32)
        cv2.polylines(picture, [points], False, (40, 40, 60), 4, cv2.LINE_AA)
        for line in read(picture, model=digits).lines:
            confident += [not c.rejected and c.probability > 0.97 for c in line.characters]
    assert np.mean(confident) < 0.15


def test_a_list_gives_pages_in_order_and_hw_has_the_names(paper: Paper, digits: Classifier) -> None:
    pages = hw.read([paper("27183"), paper("4096")], model=digits)
    assert [page.text for page in pages] == ["27183", "4096"]
    assert all(isinstance(page, hw.Page) for page in pages)


def test_json_has_the_interfaces_form(paper: Paper, digits: Classifier) -> None:
    document = json.loads(json.dumps(read(paper("4096"), model=digits).as_json("page.jpg")))
    assert set(document) == {"image", "turned", "lines"}
    assert document["image"] == "page.jpg"
    (line,) = document["lines"]
    assert set(line) == {"text", "probability", "box", "characters"}
    assert set(line["characters"][0]) == {"label", "probability", "box", "rejected"}
    assert len(line["box"]) == 4


def test_annotated_draws_and_leaves_the_picture_alone(paper: Paper, digits: Classifier) -> None:
    picture = paper("4096", size=(400, 800))
    before = picture.copy()
    drawn = annotated(picture, read(picture, model=digits))
    assert drawn.shape == picture.shape
    assert (drawn != picture).any()
    assert (picture == before).all()


def test_the_text_of_a_line_covers_no_other_line() -> None:
    def line(y: int) -> Line:
        characters = tuple(Character("8", 0.99, (100 + 60 * place, y, 40, 50)) for place in range(3))
        return Line("888", 0.99, (100, y, 160, 50), characters)

    for below in (300, 125):  # with room for the text above the lower line, and without
        page = Page((line(60), line(below)))
        drawn = annotated(np.full((420, 700, 3), 255, np.uint8), page).astype(int)
        blue = (drawn[..., 2] > 180) & (drawn[..., 0] < 120)
        assert not blue[62:108, 102:258].any()  # the upper line's characters are seen
        assert blue[:, 265:600].any() == (below == 125)
    assert blue.sum() > 1500  # both texts are there


def test_the_command_answers_each_picture_and_names_the_broken_one(paper: Paper, tmp_path: Path) -> None:
    Image.fromarray(paper("4096")).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.new("RGB", (300, 200), "white").save(tmp_path / "blank.png")
    names = [str(tmp_path / name) for name in ("good.png", "bad.png", "blank.png")]
    result = CliRunner().invoke(app, ["read", *names, "--json", "--annotate", str(tmp_path / "out")])
    assert result.exit_code == 1
    good, bad, blank = json.loads(result.stdout)
    assert good["lines"][0]["text"] == "4096"
    assert "bad.png" in bad["error"]
    assert blank["lines"] == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["blank.png", "good.png"]


def test_a_blank_page_is_no_error(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "white").save(tmp_path / "blank.png")
    result = CliRunner().invoke(app, ["read", str(tmp_path / "blank.png")])
    assert result.exit_code == 0
    assert "nothing written" in result.stdout


def test_a_picture_that_is_none_is_refused(digits: Classifier) -> None:
    with pytest.raises(PictureError):
        read(b"no picture", model=digits)


def test_a_sheet_on_a_table_is_read_and_its_boxes_lie_in_the_photo(paper: Paper, digits: Classifier) -> None:
    sheet = paper("4096", "150", "27183", size=(700, 600))
    corners = np.array([(260.0, 90.0), (830.0, 130.0), (900.0, 930.0), (120.0, 880.0)])
    picture = on_table(sheet, corners, (1100, 1000))
    page = read(picture, model=digits)
    assert [line.text for line in page.lines] == ["4096", "150", "27183"]
    for line in page.lines:
        for x, y, w, h in (character.box for character in line.characters):
            inside = picture[y : y + h, x : x + w, 0]
            assert inside.min() < 100 < np.percentile(inside, 95)  # ink on paper
            assert cv2.pointPolygonTest(corners.astype(np.float32), (x + w / 2, y + h / 2), measureDist=False) > 0
