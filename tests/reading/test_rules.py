"""Rules taken out of ink, and writing that looks like them left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handwriting.data import Dataset
from handwriting.reading.rules import without_rules

Mask = NDArray[np.uint8]
WIDE = 600


@pytest.fixture(params=[14, 18, 26], ids="{} px high".format)
def writing(request: pytest.FixtureRequest, sample: Dataset) -> Mask:
    """Three lines of eight touching digits on a page."""
    mask = np.zeros((5 * request.param, WIDE), np.uint8)
    rng = np.random.default_rng(4)
    for line in range(3):
        x = 40 + 30 * line
        for index in rng.integers(len(sample.images), size=8):
            image = sample.images[index]
            scale = request.param / 20
            ink = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) > 70
            ink = ink[:, np.flatnonzero(ink.any(0))[0] : np.flatnonzero(ink.any(0))[-1] + 1]
            place = mask[int(1.6 * line * request.param) :, x:][: ink.shape[0], : ink.shape[1]]
            place |= ink[: len(place)]
            x += ink.shape[1] - 1
    return mask


def test_small_digits_that_touch_are_no_rules(writing: Mask) -> None:
    assert without_rules(writing, WIDE).sum() > 0.97 * writing.sum()


@pytest.mark.parametrize("thick", [1, 2, 3])
def test_rules_through_them_go_and_the_digits_stay(writing: Mask, thick: int) -> None:
    rules = np.zeros_like(writing)
    pitch = int(1.6 * len(writing) / 5)
    for y in range(pitch - 6, len(writing), pitch):
        cv2.line(rules, (0, y), (WIDE, y + 3), 1, thick)
    left = without_rules(writing | rules, WIDE)
    alone = (rules > 0) & (cv2.dilate(writing, np.ones((5, 5), np.uint8)) == 0)
    assert left[alone].mean() < 0.05
    assert left[(writing > 0) & (cv2.dilate(rules, np.ones((5, 5), np.uint8)) == 0)].mean() > 0.93


@pytest.mark.parametrize("side", [0, -1], ids=["first", "last"])
def test_a_box_goes_and_the_digit_that_touches_its_side_stays(sample: Dataset, side: int) -> None:
    """A long number in a printed box: the touching digit is part of the box's component, near its end."""
    high, digits = 30, [sample.images[index * 500] for index in (4, 0, 9, 6, 8)]
    mask = np.zeros((110, WIDE), np.uint8)
    x = 100
    boxes = []
    for image in digits:
        ink = (cv2.resize(image, None, fx=high / 20, fy=high / 20, interpolation=cv2.INTER_AREA) > 70).astype(np.uint8)
        left, top, wide, tall = cv2.boundingRect(ink)
        mask[40 : 40 + tall, x : x + wide] |= ink[top : top + tall, left : left + wide]
        boxes.append((x, x + wide))
        x += wide + 12
    digit = mask.copy()
    corner, other = (boxes[0][0] - 12, 30), (boxes[-1][1] + 12, 80)
    if side == 0:
        corner = (boxes[0][0], 30)
    else:
        other = (boxes[-1][1] - 1, 80)
    cv2.rectangle(mask, corner, other, 1, 2)
    left_over = without_rules(mask, WIDE)
    own = np.s_[:, boxes[side][0] + 4 : boxes[side][1] - 4]
    assert left_over[own].sum() > 0.8 * digit[own].sum()
    assert left_over.sum() < 1.1 * digit.sum()


@pytest.mark.parametrize("turned", [False, True], ids=["level", "down"])
def test_bits_of_a_rule_that_is_seen_whole_elsewhere_go_too_and_the_stroke_on_it_stays(turned: bool) -> None:
    mask, stroke = np.zeros((300, 500), np.uint8), np.zeros((300, 500), np.uint8)
    for y in (60, 140, 220):
        cv2.line(mask, (240, y), (499, y + 4), 1, 2)  # whole on this side, in bits on the other
        for x in (20, 110, 190):
            at = y + round((x + 15 - 240) * 4 / 259)
            cv2.line(mask, (x, at), (x + 30, at), 1, 2)
    cv2.line(stroke, (60, 138), (100, 137), 1, 6)
    mask, seen = mask | stroke, stroke
    if turned:
        mask, seen = np.ascontiguousarray(mask.T), stroke.T
    left = without_rules(mask, 300)
    assert left[seen > 0].mean() > 0.95
    assert left[seen == 0].sum() == 0


@pytest.mark.parametrize("slope", [-0.008, 0.0, 0.008])
@pytest.mark.parametrize("wide", [WIDE, 2 * WIDE])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_rule_cut_by_the_pictures_edge_may_go_on_beyond_it(side: str, wide: int, slope: float) -> None:
    mask, across = np.zeros((wide // 2, wide), np.uint8), 130  # of the 200 that a rule inside the picture must have
    for x, gone in ((0 if side == "left" else wide - across, True), (wide // 3, False)):
        mask[:] = 0
        cv2.line(mask, (x, 50), (x + across - 1, round(50 + slope * across)), (1,), 3)
        assert without_rules(mask, wide).any() != gone
