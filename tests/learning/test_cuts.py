"""Bad cuts: what they show, and that they repeat themselves."""

from __future__ import annotations

import numpy as np

from handwriting.classifier import load
from handwriting.data import Dataset
from handwriting.learning.cuts import bad_cuts


def test_the_shipped_model_takes_few_bad_cuts_for_a_digit(sample: Dataset) -> None:
    cuts = bad_cuts(sample.images, 400, np.random.default_rng(1))
    assert cuts.shape == (400, 28, 28)
    model = load("digits")
    taken = (model.scores(cuts).character >= model.reject_below).mean()
    assert taken < 0.1 < (model.scores(sample.images[::10]).character >= model.reject_below).mean()


def test_the_same_generator_gives_the_same_cuts(sample: Dataset) -> None:
    first, again = (bad_cuts(sample.images, 20, np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_blank_picture_and_a_speck_can_be_cut_too() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[1, 14, 14] = 255
    assert bad_cuts(images, 40, np.random.default_rng(3)).shape == (40, 28, 28)
