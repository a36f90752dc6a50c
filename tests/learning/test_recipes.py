"""The recipes `fast` and `strong`: what each of their parts claims, held on real digits; no timings."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from handwriting import data
from handwriting.data import Dataset, Splits
from handwriting.errors import TrainingError, UnknownName
from handwriting.learning import device as device_module
from handwriting.learning import training as training_module
from handwriting.learning.augment import augment, erase, shift, warp
from handwriting.learning.device import native_bfloat16
from handwriting.learning.networks import NETWORKS, Ensemble, Fast, adjust, build
from handwriting.learning.optimizing import SCHEDULES, Average, learning_rate, set_rate
from handwriting.learning.recipes import _RANGES, RECIPES, Recipe, recipe
from handwriting.learning.replaying import Replayed
from handwriting.learning.training import Training, infer
from handwriting.learning.whitening import Whitening

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def images(sample: Dataset) -> torch.Tensor:
    return torch.from_numpy(sample.images[::50])


@pytest.fixture(scope="module")
def splits(sample: Dataset) -> Splits:
    return data.split(data.load("mnist-sample"))


@pytest.fixture(scope="module")
def few(splits: Splits) -> Splits:
    chosen = np.arange(96)
    return replace(splits, train=splits.train.subset(chosen), valid=splits.valid.subset(chosen))


def test_fast_reads_97_of_100_digits_it_never_saw_after_learning_from_3500(splits: Splits) -> None:
    training = Training(recipe("fast").for_characters(len(splits.train)), splits.train, splits.valid, CPU)
    list(training.epochs())
    test = splits.open_test()
    assert (infer(training.network, test.images, CPU).argmax(1) == test.labels).mean() >= 0.97


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("classes", [2, 47])
def test_every_recipe_takes_any_number_of_classes(name: str, classes: int, few: Splits) -> None:
    names = tuple(f"c{index}" for index in range(classes))
    part = Dataset("made", few.train.images, few.train.labels % classes, names)
    training = Training(recipe(name, epochs=1), part, part, CPU)
    (epoch,) = training.epochs()
    assert infer(training.network, part.images[:3], CPU).shape == (3, classes)
    assert np.isfinite(epoch.valid_loss)


@pytest.mark.parametrize("option", list(_RANGES))
def test_an_option_out_of_range_is_refused_with_its_range(option: str) -> None:
    low, high = _RANGES[option]
    for value in (high + 1, low - 1, float("nan"), True):
        with pytest.raises(TrainingError, match=rf"{option} must lie in .*\.\..*, not {value}"):
            recipe("fast", **{option: value})


def test_an_unknown_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="float32, bfloat16"):
        recipe("fast", precision="float8")


def test_small_data_gets_more_epochs_and_large_data_none() -> None:
    fast = recipe("fast")
    assert fast.for_characters(48_000) == fast
    small = fast.for_characters(1_000)
    steps = -(-1_000 // fast.batch_size)
    assert small.epochs * steps >= fast.least_steps > (small.epochs - 1) * steps
    assert replace(small, epochs=fast.epochs) == fast


# --- the stem -------------------------------------------------------------------------------------------------------


def test_whitened_patches_are_uncorrelated_and_come_with_both_signs(images: torch.Tensor) -> None:
    stem = Whitening(32, size=5, stride=2)
    stem.fit(images)
    with torch.no_grad():
        out = stem(images.float().unsqueeze(1) / 255).transpose(0, 1).flatten(1)
    assert torch.allclose(out[:16], -out[16:], atol=1e-4)
    second_moments = out[:16] @ out[:16].T / out.shape[1]
    strong = second_moments[:8, :8]  # the weakest directions are damped on purpose
    assert torch.allclose(strong, torch.eye(8), atol=0.1)


def test_the_stem_never_learns_and_is_saved_with_the_weights(few: Splits) -> None:
    training = Training(recipe("fast", epochs=1), few.train, few.valid, CPU)
    before = training.network.state_dict()["stem.weight"].clone()
    list(training.epochs())
    assert torch.equal(training.best_weights["stem.weight"], before)
    assert before.abs().sum() > 0


# --- augmentation ---------------------------------------------------------------------------------------------------


def test_a_shift_moves_the_whole_batch_by_whole_pixels_and_no_further(images: torch.Tensor) -> None:
    moves = set()
    for seed in range(40):
        moved = shift(images, 1, seeded(seed))
        found = [
            (down, right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if torch.equal(moved[:, 2:-2, 2:-2], images.roll((down, right), (1, 2))[:, 2:-2, 2:-2])
        ]
        assert len(found) == 1
        moves |= set(found)
    assert len(moves) == 9


def test_a_warp_of_strength_nearly_0_changes_nothing_and_of_1_every_image_its_own_way(images: torch.Tensor) -> None:
    pixels = images.float() / 255
    assert torch.allclose(warp(pixels, 1e-6, seeded()), pixels, atol=1e-3)
    same = pixels[:1].repeat(20, 1, 1)
    warped = warp(same, 1.0, seeded())
    assert all(not torch.allclose(warped[0], other, atol=0.1) for other in warped[1:])
    assert float(warped.min()) >= 0
    assert float(warped.max()) <= 1


def test_a_warp_keeps_most_of_the_ink(images: torch.Tensor) -> None:
    pixels = images.float() / 255
    ratio = warp(pixels, 1.0, seeded()).sum((1, 2)) / pixels.sum((1, 2))
    assert float(ratio.quantile(0.05)) > 0.6  # zoomed out
    assert float(ratio.quantile(0.95)) < 1.5


def test_erasing_takes_a_box_of_ink_from_the_share_asked_for(images: torch.Tensor) -> None:
    white = torch.ones(2000, 28, 28)
    erased = erase(white, 0.3, seeded())
    hit = (erased != white).flatten(1).any(1)
    assert float(hit.float().mean()) == pytest.approx(0.3, abs=0.04)
    areas = (erased[hit] == 0).flatten(1).sum(1)
    assert int(areas.max()) <= 14 * 14
    pixels = images.float() / 255
    assert bool((erase(pixels, 1.0, seeded()) <= pixels).all())


def test_augmentation_is_drawn_from_the_generator_alone(images: torch.Tensor) -> None:
    plan = recipe("strong", shift=1, erase=0.5, photo=0.5)
    before = torch.random.get_rng_state()
    first, again, other = (augment(images, plan, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("option", ["shift", "warp", "photo", "erase"])
def test_each_part_of_the_augmentation_has_an_effect(option: str, images: torch.Tensor) -> None:
    plain = recipe("classic")
    changed = recipe("classic", **{option: 1})
    assert torch.equal(augment(images, plain, seeded(3)), images.float() / 255)
    assert not torch.equal(augment(images, changed, seeded(3)), images.float() / 255)


def test_in_the_calm_end_of_a_training_warps_are_half_as_strong(images: torch.Tensor) -> None:
    plan = recipe("strong", warp=1.0, calm=0.25)
    halved, whole = recipe("strong", warp=0.5, calm=0.0), recipe("strong", warp=1.0, calm=0.0)
    assert torch.equal(augment(images, plan, seeded(4), 0.74), augment(images, whole, seeded(4)))
    assert torch.equal(augment(images, plan, seeded(4), 0.75), augment(images, halved, seeded(4)))
    assert torch.equal(augment(images, whole, seeded(4), 0.99), augment(images, whole, seeded(4)))


def test_a_training_tells_the_augmentation_how_far_it_is(few: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []

    def watched(images: torch.Tensor, _recipe: Recipe, _generator: torch.Generator, done: float) -> torch.Tensor:
        shares.append(done)
        return images.float() / 255

    monkeypatch.setattr(training_module, "augment", watched)
    list(Training(recipe("fast", epochs=2, batch_size=48), few.train, few.valid, CPU).epochs())
    assert shares == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("name", list(RECIPES))
def test_no_step_waits_for_the_device(name: str, few: Splits) -> None:
    """Fake tensors have no values: whatever asks for one in the loop (`item`, `tolist`, a mask) raises there."""
    training = Training(recipe(name, batch_size=32, erase=0.5, average=20), few.train, few.valid, CPU)
    seen: list[int] = []
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        pytest.raises(DataDependentOutputException),  # the epoch's own loss, once, after its last step
    ):
        training._train_epoch(1, lambda done, _count: seen.append(done))
    assert seen == [32, 64, 96]


def weights_after(plan: Recipe, few: Splits, device: torch.device) -> list[torch.Tensor]:
    training = Training(plan, few.train, few.valid, device)
    list(training.epochs())
    return list(training.best_weights.values())


@pytest.mark.parametrize("name", list(RECIPES))
def test_steps_on_tensors_that_stay_learn_what_steps_on_new_ones_do(
    name: str, few: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU nothing is recorded, but batches arrive where a recording would look for them."""
    plan = recipe(name, epochs=8, batch_size=36, calm=0.5, average=20)  # 36, 36 and 24 characters
    plainly = weights_after(plan, few, CPU)
    recorded: list[Hashable] = []

    class Watched(Replayed):
        def __call__(self, kind: Hashable, batch: torch.Tensor, done: float) -> tuple[torch.Tensor, ...]:
            results = super().__call__(kind, batch, done)
            recorded[:] = list(self._recorded)
            return results

    monkeypatch.setattr(training_module, "replayable", lambda _device: True)
    monkeypatch.setattr(training_module, "Replayed", Watched)
    assert all(torch.equal(*pair) for pair in zip(plainly, weights_after(plan, few, CPU), strict=True))
    # each size of batch, before and in the calm end; the last batches of only four epochs each: recorded in the fourth
    assert set(recorded) == {(36, False), (36, True), (24, False), (24, True)}


def test_what_looks_at_its_draws_is_not_recorded(few: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "replayable", lambda _device: True)
    assert Training(recipe("fast"), few.train, few.valid, CPU)._replayed is not None
    assert Training(recipe("fast", photo=0.5), few.train, few.valid, CPU)._replayed is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", list(RECIPES))
def test_a_gpu_replays_what_it_would_have_done(name: str, few: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, plan = torch.device("cuda"), recipe(name, epochs=8, batch_size=32, calm=0.5, precision="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as "steps could not be recorded"
        replayed = weights_after(plan, few, gpu)
    monkeypatch.setattr(training_module, "replayable", lambda _device: False)
    for one, other in zip(replayed, weights_after(plan, few, gpu), strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)  # convolutions add up in no fixed order


# --- schedules, averages, precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)])
def test_a_rate_is_taken_from_the_next_step_on_where_it_lies(rate: float | torch.Tensor) -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], rate, weight_decay=0.0)
    weight.grad = torch.ones(1)
    set_rate(optimizer, 0.25)
    optimizer.step()
    assert weight.item() == pytest.approx(-0.25)  # Adam's first step is as long as its rate
    if isinstance(rate, torch.Tensor):  # a recorded step reads this very tensor
        assert optimizer.param_groups[0]["lr"] is rate


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_the_learning_rate_rises_in_the_warm_up_and_never_again(schedule: str) -> None:
    plan = recipe("fast", schedule=schedule, warm_up=0.25)
    rates = [learning_rate(plan, step / 1000) for step in range(1000)]
    assert rates[:251] == sorted(rates[:251])
    assert rates[250] == pytest.approx(plan.learning_rate)
    assert rates[250:] == sorted(rates[250:], reverse=True)
    assert min(rates) > 0


def test_the_average_of_weights_that_stay_is_those_weights_and_otherwise_lies_between() -> None:
    learner = nn.Linear(3, 2)
    start = learner.weight.detach().clone()
    average = Average(learner, 100)
    for step in range(1, 50):
        average.update(step)
    assert torch.allclose(average.network.weight, start)  # type: ignore[arg-type]
    with torch.no_grad():
        learner.weight.add_(1)
    average.update(52)
    moved = average.network.weight - start  # type: ignore[operator]
    assert bool(((moved > 0) & (moved < 1)).all())


def test_a_recipe_that_averages_answers_with_the_average(few: Splits) -> None:
    def answers(average: int) -> bytes:
        plan = recipe("strong", epochs=1, batch_size=8, average=average)
        training = Training(plan, few.train, few.valid, CPU)
        list(training.epochs())
        return infer(training.network, few.valid.images[:8], CPU).tobytes()

    assert answers(0) != answers(50) == answers(50)


def test_without_native_bfloat16_a_recipe_computes_in_float32(few: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(native: bool, precision: str) -> float:
        monkeypatch.setattr(training_module, "native_bfloat16", lambda _device: native)
        training = Training(recipe("fast", epochs=1, precision=precision), few.train, few.valid, CPU)
        (epoch,) = training.epochs()
        return epoch.train_loss

    assert loss(False, "bfloat16") == loss(True, "float32") != loss(True, "bfloat16")


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "maker", "native"),
    [
        (True, True, "GenuineIntel", True),
        (False, True, "GenuineIntel", False),  # slower than float32
        (False, True, "AuthenticAMD", True),
        (False, False, "AuthenticAMD", False),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_where_that_is_faster(
    amx: bool, avx512_bf16: bool, maker: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(device_module, "_made_by_amd", lambda: maker == "AuthenticAMD")
    assert native_bfloat16(CPU) is native


@pytest.mark.parametrize(("maker", "amd"), [("AuthenticAMD", True), ("GenuineIntel", False)])
@pytest.mark.parametrize("linux", [True, False])
def test_the_cpu_says_who_made_it(maker: str, amd: bool, linux: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_path: Path, **_how: str) -> str:
        if not linux:
            raise FileNotFoundError
        return f"vendor_id\t: {maker}\nflags\t: fpu avx512_bf16\n"

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(platform, "processor", lambda: f"AMD64 Family 26 Model 2 Stepping 1, {maker}")
    assert device_module._made_by_amd.__wrapped__() is amd


# --- ensembles and views ----------------------------------------------------------------------------------------------


def test_an_ensemble_answers_with_the_mean_probability_of_its_members(images: torch.Tensor) -> None:
    network = build("fast", 10, 3, ensemble=3).eval()
    adjust(network, images)
    assert isinstance(network, Ensemble)
    pixels = images[:7].float() / 255
    with torch.no_grad():
        expected = torch.stack([member(pixels).softmax(1) for member in network.members]).mean(0)
        assert torch.allclose(network(pixels).exp(), expected, atol=1e-6)


def test_the_first_member_is_the_network_of_the_seed_alone_and_the_others_differ() -> None:
    network = build("fast", 10, 3, ensemble=3)
    assert isinstance(network, Ensemble)
    single = build("fast", 10, 3).state_dict()["conv2.weight"]
    members = [member.state_dict()["conv2.weight"] for member in network.members]
    assert torch.equal(members[0], single)
    assert not torch.equal(members[1], members[0])
    assert not torch.equal(members[1], members[2])


def test_a_member_learns_from_its_own_part_of_the_batch_and_nothing_else(images: torch.Tensor) -> None:
    network = build("fast", 10, 3, ensemble=2)
    adjust(network, images)
    assert isinstance(network, Ensemble)
    pixels, labels = images[:20].float() / 255, torch.arange(20) % 10
    logits = network(torch.cat([pixels, pixels.flip(1)]))
    (nn.functional.cross_entropy(logits, labels.repeat(2)) * 2).backward()
    alone = build("fast", 10, 3)
    adjust(alone, images)
    nn.functional.cross_entropy(alone(pixels), labels).backward()
    assert isinstance(alone, Fast)
    member = network.members[0]
    assert isinstance(member, Fast)
    gradient, expected = member.conv2.weight.grad, alone.conv2.weight.grad
    assert gradient is not None
    assert expected is not None
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_views_are_the_image_and_its_four_neighbours(images: torch.Tensor) -> None:
    class Ink(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.stack([pixels[:, 10, 10], pixels[:, 12, 12]], 1)

    pixels = images[:5].float() / 255
    seen = [pixels.roll(move, (1, 2)) for move in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]
    expected = torch.stack([Ink()(view).softmax(1) for view in seen]).mean(0)
    assert torch.allclose(Ensemble([Ink()], 5).eval()(pixels).exp(), expected, atol=1e-6)
    assert torch.allclose(Ensemble([Ink()], 1).eval()(pixels).exp(), Ink()(pixels).softmax(1), atol=1e-6)


def test_an_ensemble_with_views_trains_and_resumes_to_the_same_bits(few: Splits) -> None:
    plan: Recipe = recipe("fast", epochs=2, ensemble=2, views=5, batch_size=32)
    unbroken = Training(plan, few.train, few.valid, CPU)
    list(unbroken.epochs())
    broken = Training(plan, few.train, few.valid, CPU)
    next(broken.epochs())
    tensors, document = broken.state()
    resumed = Training(plan, few.train, few.valid, CPU)
    resumed.restore(
        {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}, document
    )
    list(resumed.epochs())
    for name, value in unbroken.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_every_network_name_that_a_recipe_may_have_exists() -> None:
    from handwriting.learning import optimizing, recipes

    assert set(recipes.NETWORK_NAMES) == set(NETWORKS)
    assert set(recipes.OPTIMIZER_NAMES) == set(optimizing.OPTIMIZERS)
    assert set(recipes.SCHEDULE_NAMES) == set(SCHEDULES)
