"""Photo-like augmentation: same shape and range, repeatable, strong where asked for, silent elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from handwriting.learning.photo import LATE_EFFECTS, Effect, hard_edges, photograph, thickness
from handwriting.learning.synthesis import drawn_digits

IDS = [effect.__name__ for effect, _ in LATE_EFFECTS]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return drawn_digits(120, seeded())[0].float().div(255).unsqueeze(1)


@pytest.mark.parametrize(("effect", "chance"), LATE_EFFECTS, ids=IDS)
def test_each_effect_keeps_shape_and_finite_values_and_changes_most_images(
    effect: Effect, chance: float, digits: Tensor
) -> None:
    before = digits.clone()
    after = effect(digits, seeded(1))
    assert after.shape == digits.shape
    assert torch.isfinite(after).all()
    assert torch.equal(digits, before), "an effect must not modify its input"
    changed = (after - digits).abs().amax((1, 2, 3)) > 0.02
    assert changed.float().mean() > 0.6
    assert 0 < chance <= 1


@pytest.mark.parametrize(("effect", "_"), LATE_EFFECTS, ids=IDS)
def test_each_effect_draws_its_own_strength_for_every_image(effect: Effect, _: float, digits: Tensor) -> None:
    after = effect(digits[:1].repeat(24, 1, 1, 1), seeded(2))
    assert len({image.numpy().tobytes() for image in after}) >= 4  # low_resolution: four sizes a batch


def test_photograph_repeats_itself_with_the_same_generator_and_only_then(digits: Tensor) -> None:
    assert torch.equal(photograph(digits, seeded(3)), photograph(digits, seeded(3)))
    assert not torch.equal(photograph(digits, seeded(3)), photograph(digits, seeded(4)))


def test_photograph_leaves_the_rest_of_the_batch_and_the_range_alone(digits: Tensor) -> None:
    many = digits.repeat(10, 1, 1, 1)
    after = photograph(many, seeded(5), share=0.5)
    same = (after == many).flatten(1).all(1).float().mean()
    assert 0.45 < same < 0.65  # half is not touched, and a few of the others meet no effect
    assert after.min() >= 0
    assert after.max() <= 1
    assert torch.equal(photograph(many, seeded(5), share=0.0), many)


def test_pens_become_thinner_and_thicker(digits: Tensor) -> None:
    ink = thickness(digits, seeded(6)).sum((1, 2, 3)) / digits.sum((1, 2, 3))
    assert ink.min() < 0.8
    assert ink.max() > 1.5


def test_hard_edges_leave_fewer_half_tones(digits: Tensor) -> None:
    def half_tones(images: Tensor) -> int:
        return int(((images > 0.1) & (images < 0.9)).sum())

    assert half_tones(hard_edges(digits, seeded(7))) < 0.6 * half_tones(digits)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_outside_0_to_1_is_refused_with_the_range(share: float, digits: Tensor) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        photograph(digits, seeded(), share=share)


def test_images_of_another_shape_are_refused(digits: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\)"):
        photograph(digits[:, 0], seeded())
