from __future__ import annotations

import time

import cv2
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handwriting.data import Dataset
from handwriting.errors import PictureError
from handwriting.imaging import NormalForm, fit_ink, ink_map, normal_form, normalised, open_picture
from tests.imaging.drawn_pictures import Alpha, Picture, likeness, on_paper, seven, shadow, two

PLAIN = normal_form(on_paper(seven())).image
PLAIN_TWO = normal_form(on_paper(two())).image


def extent(image: Picture) -> int:
    ys, xs = np.nonzero(image)
    return int(max(np.ptp(ys), np.ptp(xs))) + 1


def test_the_form_has_longest_side_20_and_its_centre_of_mass_in_the_middle() -> None:
    form = normal_form(on_paper(seven()))
    assert extent(form.image) == 20
    weight = form.image / form.image.sum()
    assert abs((weight.sum(0) * np.arange(28)).sum() - 14) <= 0.51
    assert abs((weight.sum(1) * np.arange(28)).sum() - 14) <= 0.51
    assert form.warnings == ()


@pytest.mark.parametrize("plain", [PLAIN, PLAIN_TWO])
def test_what_is_in_normal_form_stays_as_it_is(plain: Picture) -> None:
    for picture in (plain, np.stack([plain] * 3, 2)):
        form = normal_form(picture)
        assert np.array_equal(form.image, plain)
        assert (form.polarity, form.warnings, form.empty) == ("light ink", (), False)
        assert form.box is not None
        assert 16 <= max(form.box[2:]) <= 20
        assert "as it is" in form.steps[-1].note


def test_mnists_own_digits_are_in_normal_form(sample: Dataset) -> None:
    images = sample.images[::10]
    assert np.mean([np.array_equal(normal_form(image).image, image) for image in images]) > 0.99


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_image_and_warnings_alone_are_those_of_the_whole_form(suffix: str) -> None:
    photo = on_paper(seven())
    for picture in (PLAIN, PLAIN_TWO.T, photo, np.stack([photo, photo, 255 - photo], 2), np.zeros((28, 28), np.uint8)):
        content = cv2.imencode(suffix, picture)[1].tobytes()
        for source in (picture, content):
            image, warnings = normalised(source)
            form = normal_form(open_picture(source))
            assert np.array_equal(image, form.image)
            assert warnings == form.warnings


def test_what_is_not_quite_in_normal_form_is_worked_on() -> None:
    others = np.roll(PLAIN, 3, 1), np.roll(PLAIN, -3, 0), np.maximum(PLAIN, np.uint8(3)), 255 - PLAIN
    for other in others:
        form = normal_form(np.asarray(other, np.uint8))
        assert form.steps[-1].note.startswith("longest side 20")
        assert likeness(form.image, PLAIN) > 0.8
    smaller = np.zeros((28, 28), np.uint8)
    smaller[4:24, 4:24] = cv2.resize(PLAIN, (20, 20), interpolation=cv2.INTER_AREA)
    assert extent(normal_form(smaller).image) == 20


def test_mask_and_box_lie_on_the_ink_of_the_original_picture() -> None:
    ink = seven(900, 700)
    form = normal_form(on_paper(ink))
    assert form.mask.shape == (900, 700)
    overlap = (form.mask & (ink > 0.5)).sum() / (form.mask | (ink > 0.5)).sum()
    assert overlap > 0.9
    assert form.box is not None
    assert np.abs(np.array(form.box) - cv2.boundingRect((ink > 0.5).astype(np.uint8))).max() <= 5


def test_light_on_dark_and_dark_on_light_give_the_same_form() -> None:
    dark = normal_form(on_paper(seven()))
    light = normal_form(255 - on_paper(seven()))
    assert (dark.polarity, light.polarity) == ("dark ink", "light ink")
    assert light.warnings == ("inverted: ink was light",)
    assert likeness(dark.image, light.image) > 0.97


@pytest.mark.parametrize("longest", [16, 28, 60, 200, 1000, 2500])
def test_the_size_of_the_picture_does_not_matter(longest: int) -> None:
    form = normal_form(on_paper(seven(longest, longest * 3 // 4)))
    assert likeness(form.image, PLAIN) > (0.8 if longest <= 28 else 0.9)


@pytest.mark.parametrize("depth", [0.3, 0.6])
def test_a_shadow_across_the_paper_leaves_the_form_alone(depth: float) -> None:
    form = normal_form(on_paper(seven(), shadow(200, 150, depth)))
    assert form.polarity == "dark ink"
    assert likeness(form.image, PLAIN) > 0.95


def ruled(ink: Alpha, dark: float) -> Picture:
    lines = np.zeros_like(ink)
    for row in (30, 75, 120, 165):
        cv2.line(lines, (0, row), (ink.shape[1], row + 4), 1.0, 2, cv2.LINE_AA)
    return on_paper(np.maximum(ink, dark / 0.8 * lines))


@pytest.mark.parametrize("dark", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(("ink", "plain"), [(seven(), PLAIN), (two(), PLAIN_TWO)])
def test_rules_are_taken_out_and_the_strokes_that_cross_them_stay(ink: Alpha, plain: Picture, dark: float) -> None:
    form = normal_form(ruled(ink, dark))
    assert likeness(form.image, plain) > 0.93
    assert any(step.name == "lines out" for step in form.steps)


def test_a_box_that_touches_the_digit_is_taken_out() -> None:
    ink = two()
    x, y, w, h = cv2.boundingRect((ink > 0.5).astype(np.uint8))
    box = np.zeros_like(ink)
    cv2.rectangle(box, (x - 20, y - 2), (x + w + 1, y + h + 20), 1.0, 2)
    assert likeness(normal_form(on_paper(np.maximum(ink, box))).image, PLAIN_TWO) > 0.93


@pytest.mark.parametrize("side", [20, 60, 160])
def test_bars_and_feet_of_tightly_cut_digits_are_no_rules(side: int) -> None:
    foot = np.zeros((side, side), np.float32)
    thick = max(2, side // 14)
    foot[-thick:] = 1.0  # a 1 with a foot from edge to edge
    foot[:, side // 2 : side // 2 + thick] = 1.0
    form = normal_form(on_paper(foot))
    assert not any(step.name == "lines out" for step in form.steps)
    foot_row = form.image[form.image.any(1)][-1]
    assert (foot_row > 120).sum() == 20


def test_specks_and_a_neighbour_cut_by_the_border_are_left_out() -> None:
    ink = seven()
    ink[5, 5] = ink[190, 20] = ink[100, 140] = 1.0
    ink[60:160, :6] = 1.0
    assert likeness(normal_form(on_paper(ink)).image, PLAIN) > 0.97


@pytest.mark.parametrize("grain", [0.0, 3.0, 8.0])
@pytest.mark.parametrize("light", ["even", "gradient", "shadow"])
def test_a_blank_paper_is_empty(light: str, grain: float) -> None:
    rng = np.random.default_rng(3)
    paper = np.full((150, 200), 210.0, np.float32)
    if light == "gradient":
        paper *= np.linspace(0.6, 1.0, 200, dtype=np.float32)
    if light == "shadow":
        paper = shadow(150, 200)
    form = normal_form(np.clip(paper + rng.normal(0, grain, paper.shape), 0, 255).astype(np.uint8))
    assert form.empty
    assert not form.image.any()
    assert not form.mask.any()
    assert form.box is None


def warned(picture: Picture) -> tuple[str, ...]:
    return normal_form(picture).warnings


def test_warnings_name_what_may_go_wrong() -> None:
    assert warned(on_paper(seven(), dark=0.1)) == ("low contrast",)
    assert warned(on_paper(seven(600, 450, 0.008))) == ("stroke too thin",)
    assert "touches the border" in warned(on_paper(np.ascontiguousarray(seven()[48:, 40:])))
    apart = np.concatenate([seven()[:, 30:120], two()[:, 30:120]], axis=1)
    assert warned(on_paper(apart)) == ("two separate marks: try `read`",)


def test_thin_strokes_are_thickened_towards_the_width_of_mnist() -> None:
    thin = normal_form(on_paper(seven(800, 600, 0.006)))
    assert thin.image.max() > 200
    assert likeness(thin.image, PLAIN) > 0.7
    assert any("thickened" in step.note for step in thin.steps)


def test_faint_pencil_gives_full_ink() -> None:
    rng = np.random.default_rng(0)
    paper = 215 + rng.normal(0, 2, (300, 225)).astype(np.float32)
    form = normal_form(on_paper(seven(300, 225, 0.03), paper.astype(np.float32), dark=0.25))
    assert form.image.max() > 220
    assert likeness(form.image, PLAIN) > 0.85


def vignette(height: int, width: int, depth: float = 0.5) -> Alpha:
    """Light of a paper that falls off towards a corner: float32 (height, width)."""
    ys, xs = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.asarray(215 * (1 - depth * (xs**2 + ys**2) / 2), np.float32)


@pytest.mark.parametrize("side", [40, 70])
def test_a_faint_pencil_in_the_light_of_a_vignette_is_found_and_is_the_ink(side: int) -> None:
    rng = np.random.default_rng(5)
    paper = vignette(side, side) + rng.normal(0, 2, (side, side)).astype(np.float32)
    picture = on_paper(seven(side, side, 0.03), np.asarray(paper, np.float32), dark=0.18)
    for shown, polarity in ((picture, "dark ink"), (255 - picture, "light ink")):
        form = normal_form(np.ascontiguousarray(shown))
        assert form.polarity == polarity
        assert likeness(form.image, normal_form(on_paper(seven(side, side, 0.03))).image) > 0.9


def test_thick_ink_in_uneven_light_stays_whole_and_is_thinned() -> None:
    ink = seven(66, 52, 0.24)
    x, y, w, h = cv2.boundingRect((ink > 0.5).astype(np.uint8))
    tight = ink[y - 2 : y + h + 2, x - 2 : x + w + 2]  # more ink than paper
    assert (tight > 0.5).mean() > 0.5
    form = normal_form(on_paper(tight, vignette(*tight.shape)))
    inside = cv2.erode((form.image > 60).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert form.image[inside].min() > 200
    assert any("thinned" in step.note for step in form.steps)
    assert likeness(form.image, PLAIN) > 0.6


def test_thinned_strokes_still_fill_the_box() -> None:
    form = normal_form(on_paper(seven(200, 150, 0.17)))
    assert any("thinned" in step.note for step in form.steps)
    assert extent(form.image) == 20


def test_the_bar_of_a_four_that_ends_just_before_the_edge_is_no_rule() -> None:
    four = np.zeros((56, 44), np.float32)
    for start, end in (((30, 3), (4, 36)), ((2, 36), (41, 36)), ((30, 3), (30, 52))):
        cv2.line(four, start, end, 1.0, 2, cv2.LINE_AA)
    form = normal_form(on_paper(four))
    assert not any(step.name == "lines out" for step in form.steps)
    bar = form.image[10:18].max(0) > 120
    assert bar.sum() >= 13


def test_the_stem_of_a_tightly_cut_four_is_no_rule() -> None:
    ink = np.zeros((204, 116), np.float32)
    cv2.line(ink, (94, 0), (78, 204), 1.0, 9, cv2.LINE_AA)
    cv2.polylines(ink, [np.array([(12, 110), (30, 135), (60, 142), (104, 138)], np.int32)], False, 1.0, 14, cv2.LINE_AA)
    small = np.asarray(cv2.resize(ink, (29, 51), interpolation=cv2.INTER_AREA), np.float32)
    form = normal_form(on_paper(small))
    assert "lines out" not in [step.name for step in form.steps]
    assert extent(form.image[:, 12:]) == 20


def test_a_broken_digit_is_put_together_piece_by_piece() -> None:
    ink = np.zeros((112, 112), np.float32)
    cv2.line(ink, (41, 12), (103, 16), 1.0, 12)  # nearest to the piece in the middle, which is smaller
    cv2.line(ink, (60, 46), (84, 46), 1.0, 9)
    cv2.ellipse(ink, (50, 66), (38, 28), 0, 0, 180, 1.0, 12)
    form = normal_form(on_paper(ink))
    assert (form.mask & (ink > 0.5)).sum() > 0.98 * (ink > 0.5).sum()


def test_thick_ink_that_fills_a_tight_cut_is_not_taken_for_the_paper() -> None:
    ink = np.zeros((126, 134), np.float32)
    cv2.polylines(
        ink, [np.array([(122, 14), (60, 20), (14, 60), (20, 112), (90, 116), (112, 80), (60, 70)])], False, 1.0, 30
    )
    assert ink.mean() > 0.5
    soft = cv2.resize(cv2.GaussianBlur(ink, (0, 0), 2), (67, 63), interpolation=cv2.INTER_AREA)
    picture = on_paper(np.asarray(soft, np.float32))
    assert normal_form(picture).polarity == "dark ink"
    assert normal_form(255 - picture).polarity == "light ink"


def test_lines_of_a_box_along_the_edge_do_not_turn_ink_and_paper_round() -> None:
    ink = seven(60, 46, 0.06)
    for side in (ink[1:4], ink[-4:-1], ink[:, 1:4], ink[:, -4:-1]):
        side[:] = 1.0
    form = normal_form(on_paper(ink))
    assert form.polarity == "dark ink"
    assert normal_form(255 - on_paper(ink)).polarity == "light ink"
    assert likeness(form.image, PLAIN) > 0.85


def test_a_dark_blot_is_not_taken_for_the_character_beside_a_faint_one() -> None:
    faint = 0.18 * seven(60, 60, 0.04)
    faint[48:54, 50:58] = 0.8
    form = normal_form(on_paper(faint))
    assert form.box is not None
    assert form.box[3] > 25
    assert likeness(form.image, PLAIN) > 0.7


def test_red_ink_on_green_paper_of_the_same_lightness_is_found() -> None:
    ink = seven()[:, :, None]
    picture = np.rint(ink * (210, 60, 60) + (1 - ink) * (40, 128, 110)).astype(np.uint8)
    assert likeness(normal_form(picture).image, PLAIN) > 0.95


def test_writing_that_is_small_in_a_shadowed_photo_is_looked_at_from_near() -> None:
    paper = shadow(1200, 1600, 0.6)
    ink = np.zeros((1200, 1600), np.float32)
    ink[300:500, 900:1050] = seven()
    form = normal_form(on_paper(ink, paper))
    assert any(step.name == "cut" for step in form.steps)
    assert likeness(form.image, PLAIN) > 0.95


def test_mnist_digits_come_back_nearly_themselves(sample: Dataset) -> None:
    some = sample.images[::50]
    alike = [likeness(image, normal_form(image).image) for image in some]
    assert np.mean(alike) > 0.95
    assert np.mean([normal_form(image).polarity == "light ink" for image in some]) == 1.0


def test_steps_tell_the_way_from_the_picture_to_the_form() -> None:
    form = normal_form(ruled(seven(), 0.5))
    names = [step.name for step in form.steps]
    assert names == ["picture", "ink", "lines out", "character", "strokes", "normal form"]
    assert all(step.note and step.image.dtype == np.uint8 and step.image.ndim == 2 for step in form.steps)
    np.testing.assert_array_equal(form.steps[-1].image, form.image)


def test_ink_map_flattens_light_and_polarity_of_a_page() -> None:
    page = np.zeros((600, 800), np.float32)
    for row in range(3):
        for column in range(5):
            page[row * 200 : row * 200 + 100, column * 150 : column * 150 + 75] = seven(100, 75)
    for picture in (on_paper(page, shadow(600, 800)), 255 - on_paper(page)):
        ink = ink_map(picture)
        assert ink.shape == (600, 800)
        assert ink.dtype == np.float32
        assert ink[page > 0.9].mean() > 0.8
        assert np.median(ink[page == 0]) < 0.02
        assert np.mean(ink[page == 0] > 0.4) < 0.01
    assert not ink_map(np.full((50, 60), 90, np.uint8)).any()


def test_fit_ink_keeps_the_aspect_and_takes_both_types() -> None:
    bar = np.ones((100, 20), np.float32)
    image = fit_ink(bar)
    ys, xs = np.nonzero(image)
    assert (np.ptp(ys) + 1, np.ptp(xs) + 1) == (20, 4)
    np.testing.assert_array_equal(fit_ink((bar * 255).astype(np.uint8)), image)
    assert not fit_ink(np.zeros((5, 5), np.float32)).any()


def sound(form: NormalForm, shape: tuple[int, ...]) -> None:
    assert form.image.shape == (28, 28)
    assert form.image.dtype == np.uint8
    assert form.mask.shape == shape[:2]
    assert form.empty == (form.box is None) == (not form.image.any()) == (not form.mask.any())
    if not form.empty:
        assert extent(form.image) <= 20


SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=90)


@settings(deadline=None, max_examples=120)
@given(SHAPES.flatmap(lambda shape: arrays.arrays(np.uint8, shape)))
def test_no_array_of_bytes_makes_it_raise(picture: Picture) -> None:
    sound(normal_form(picture), picture.shape)
    assert ink_map(picture).shape == picture.shape


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 40]))
def test_no_noise_makes_it_raise(height: int, width: int, seed: int, coarse: int) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (-(-height // coarse), -(-width // coarse), 3), np.uint8)
    picture = np.ascontiguousarray(cells.repeat(coarse, 0).repeat(coarse, 1)[:height, :width])
    sound(normal_form(picture), picture.shape)


@pytest.mark.parametrize("picture", [np.zeros((5, 5)), np.zeros((0, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
def test_other_arrays_are_refused(picture: Picture) -> None:
    with pytest.raises(PictureError, match="picture: "):
        normal_form(picture)


def test_a_photo_takes_less_than_a_tenth_of_a_second_of_processor_time() -> None:
    photo = on_paper(seven(1600, 1200))
    normal_form(photo)
    before = time.process_time()
    for _ in range(5):
        normal_form(photo)
    assert (time.process_time() - before) / 5 < 0.1
