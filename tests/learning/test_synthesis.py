"""Drawn digits and the negatives: in normal form, repeatable, and what they claim to be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from handwriting.learning import synthesis
from handwriting.learning.glyphs import DIGITS, LETTERS, MIDDLE, glyphs, parse, pieces
from handwriting.learning.synthesis import NEGATIVES, Source, crowded, drawn_digits, negatives, photographed, refit

KINDS = [kind.__name__ for kind, _ in NEGATIVES]
LOOK_ALIKES = set("OolISsZzB")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def source() -> Source:
    return drawn_digits(400, seeded())


def box(image: Tensor) -> tuple[int, int]:
    """The ink's height and width in pixels, faint edges left out."""
    ink = image.float() > 60
    return int(ink.any(1).sum()), int(ink.any(0).sum())


def test_drawn_digits_are_balanced_repeatable_and_in_normal_form(source: Source) -> None:
    images, labels = source
    assert images.dtype == torch.uint8
    assert images.shape == (400, 28, 28)
    assert labels.bincount().tolist() == [40] * 10
    assert torch.equal(images, drawn_digits(400, seeded())[0])
    assert not torch.equal(images, drawn_digits(400, seeded(1))[0])
    longest = torch.tensor([max(box(image)) for image in images]).float()
    assert 18 <= longest.median() <= 21
    axis = torch.arange(28) + 0.5
    ink = images.float()
    centre = torch.stack([ink.sum(1) @ axis, ink.sum(2) @ axis], 1) / ink.sum((1, 2))[:, None]
    assert (centre - MIDDLE).abs().median() < 0.6


def test_no_look_alike_of_a_digit_is_among_the_letters() -> None:
    assert not LOOK_ALIKES & set(LETTERS)
    assert set(DIGITS) == set("0123456789")


def test_a_smooth_stroke_passes_through_its_points_and_a_corner_is_kept() -> None:
    template = parse("0,0 4,8 10,0! 10,10")
    path = template.curve @ template.points
    for point in template.points:
        assert (path - point).norm(dim=1).min() < 1e-4
    after_corner = path[(path[:, 1] > 0.1) & (path[:, 0] > 9.9)]
    assert (after_corner[:, 0] - 10).abs().max() < 1e-4, "past the corner the stroke is straight"


def test_every_template_parses_and_no_stroke_joins_the_next() -> None:
    for text in [text for table in (DIGITS, LETTERS) for forms in table.values() for text in forms]:
        strokes = text.count("|") + 1
        template = parse(text)
        assert template.starts.max() == len(template.curve) - 2
        assert len(template.curve) - len(template.starts) >= strokes, text


def test_hands_differ_in_shape() -> None:
    lines = pieces(parse(DIGITS["4"][0]), 20, seeded())
    assert lines.std(0).mean() > 0.3


@pytest.mark.parametrize(("kind", "share"), NEGATIVES, ids=KINDS)
def test_each_kind_of_negative_gives_the_number_asked_for_and_repeats(
    kind: synthesis.Negative, share: float, source: Source
) -> None:
    images = kind(37, source, seeded(1))
    assert images.shape == (37, 28, 28)
    assert images.dtype == torch.uint8
    assert torch.equal(images, kind(37, source, seeded(1)))
    assert 0 < share < 1


def test_shares_of_the_negatives_sum_to_one() -> None:
    assert sum(share for _, share in NEGATIVES) == pytest.approx(1)


def test_straight_pieces_that_pass_as_a_1_are_dropped(source: Source) -> None:
    images = negatives(400, source, seeded(2))
    assert 300 < len(images) <= 400
    upright = glyphs(("5,0! 5,10",), 20, seeded())[0]
    assert (synthesis.spread(upright.float() / 255) < synthesis.STRAIGHT).float().mean() > 0.8


def test_pairs_are_wider_than_high_and_pieces_smaller_than_their_digit(source: Source) -> None:
    sides = torch.tensor([box(image) for image in synthesis.pairs(60, source, seeded(3))]).float()
    assert (sides[:, 1] >= sides[:, 0] - 1).float().mean() > 0.7


def test_crowded_digits_keep_most_of_their_own_ink(source: Source) -> None:
    images, labels = crowded(60, source, seeded(4))
    assert len(images) == len(labels) == 60
    assert (images.flatten(1).float().mean(1) > 8).all()


def test_refit_brings_any_ink_to_the_box_and_leaves_nothing_empty() -> None:
    page = torch.zeros(3, 60, 90)
    page[0, 5:45, 60:70] = 1
    page[1, 30:33, 2:60] = 1
    fitted = refit(page)
    assert box(fitted[0] * 255)[0] in (20, 21)
    assert box(fitted[0] * 255)[1] in (5, 6)
    assert box(fitted[1] * 255)[1] in (20, 21)
    assert not fitted[2].any()


def test_photographed_digits_come_back_through_the_real_normal_form(source: Source) -> None:
    images, _ = source
    found, rows = photographed(images[::10], seeded(5))
    assert found.dtype == torch.uint8
    assert len(found) == len(rows) > 30
    assert (rows.diff() > 0).all()
    original = images[::10][rows].float().flatten(1)
    match = torch.nn.functional.cosine_similarity(found.float().flatten(1), original, dim=1)
    assert match.median() > 0.7, "most come back as the digit that was written"
