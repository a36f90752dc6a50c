"""The shipped model's training: pools, two heads, a loss that falls, errors that say what to do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from handwriting.data import Dataset
from handwriting.errors import TrainingError
from handwriting.learning.digits import NO_DIGIT, DigitsNetwork, Pool, gather, train_digits
from handwriting.learning.synthesis import drawn_digits


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def train() -> Dataset:
    images, labels = drawn_digits(480, seeded())
    return Dataset("drawn", images.numpy(), labels.numpy().astype(np.int64), tuple("0123456789"))


@pytest.fixture(scope="module")
def pools(train: Dataset) -> tuple[Pool, ...]:
    return gather(train, seeded(), scale=0.002)


def test_pools_begin_with_the_data_itself_and_hold_digits_and_what_is_none(
    pools: tuple[Pool, ...], train: Dataset
) -> None:
    assert np.array_equal(pools[0].images.numpy(), train.images)
    assert {bool((pool.labels == NO_DIGIT).all()) for pool in pools} == {True, False}
    for pool in pools:
        assert len(pool.images) == len(pool.labels) > 0
        assert pool.images.dtype == torch.uint8


def test_other_classes_than_the_ten_digits_are_refused(train: Dataset) -> None:
    letters = dataclasses.replace(train, classes=tuple("ABCDEFGHIJ"))
    with pytest.raises(TrainingError, match="0 to 9"):
        gather(letters, seeded(), scale=0.002)


def test_the_network_gives_two_answers_and_is_small() -> None:
    network = DigitsNetwork().eval()
    logits, character = network(torch.zeros(3, 28, 28))
    assert logits.shape == (3, 10)
    assert character.shape == (3,)
    assert sum(value.numel() for value in network.parameters()) < 500_000


def test_training_learns_repeats_itself_and_leaves_torchs_random_state_alone(pools: tuple[Pool, ...]) -> None:
    state = torch.get_rng_state()
    epochs = list(train_digits(pools, epochs=4, generator=seeded(3)))
    assert torch.equal(state, torch.get_rng_state())
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert epochs[-1].loss < 0.9 * epochs[0].loss
    again = next(train_digits(pools, epochs=4, generator=seeded(3)))
    assert again.loss == pytest.approx(epochs[0].loss, rel=0.01)


def test_warps_calm_down_in_the_last_part_of_a_training_alone(pools: tuple[Pool, ...]) -> None:
    as_ever, calm = (
        [epoch.loss for epoch in train_digits(pools, epochs=2, generator=seeded(3), calm=share)] for share in (0.0, 0.5)
    )
    assert calm[0] == pytest.approx(as_ever[0], rel=1e-4)
    assert calm[1] < as_ever[1]


@pytest.mark.parametrize("epochs", [0, -3])
def test_no_epochs_are_refused(epochs: int, pools: tuple[Pool, ...]) -> None:
    with pytest.raises(TrainingError, match="at least 1"):
        next(train_digits(pools, epochs=epochs, generator=seeded()))
