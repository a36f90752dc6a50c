"""The training loop: same seed same weights, resumed runs like unbroken ones, and what goes wrong is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handwriting import data
from handwriting.data import Splits
from handwriting.errors import CheckpointError, HandwritingError, SaveError, TrainingError, UnknownName
from handwriting.learning import checkpoints, device
from handwriting.learning.networks import Classic, build
from handwriting.learning.recipes import RECIPES, Recipe, recipe
from handwriting.learning.training import Training, infer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def splits(small_file: Path) -> Splits:
    return data.split(data.load(small_file))


@pytest.fixture
def short() -> Recipe:
    return recipe("classic", epochs=3)


def weights(training: Training) -> bytes:
    return b"".join(value.numpy().tobytes() for value in training.network.state_dict().values())


def test_the_classic_network_is_the_one_that_the_literature_names() -> None:
    network = Classic(10)
    shapes = [tuple(value.shape) for value in network.state_dict().values()]
    assert shapes == [(32, 1, 7, 7), (32,), (64, 32, 7, 7), (64,), (128, 1024), (128,), (10, 128), (10,)]
    classic = RECIPES["classic"]
    assert (classic.learning_rate, classic.l2, classic.batch_size, classic.epochs) == (0.001, 0.001, 256, 15)
    assert (classic.optimizer, classic.seed) == ("adam", 11)


def test_building_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    build("classic", 10, seed=5)
    assert torch.rand(1) == expected


def test_training_learns_and_yields_one_epoch_at_a_time(splits: Splits, short: Recipe) -> None:
    training = Training(short, splits.train, splits.valid, CPU)
    epochs = list(training.epochs())
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert epochs[-1].valid_accuracy > 0.5  # guessing gives 0.1
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert training.best_epoch in (1, 2, 3)


@pytest.mark.parametrize(
    ("schedule", "accuracies", "chosen"),
    [
        ("constant", (0.90, 0.92, 0.92, 0.91), 2),
        ("cosine", (0.90, 0.92, 0.91, 0.92), 4),
        ("cosine", (0.50, 0.92, 0.90, 0.91), 4),  # a standard error is 0.027 of 100 characters
        ("cosine", (0.50, 0.92, 0.90, 0.88), 3),
        ("linear", (0.50, 0.92, 0.88, 0.89), 2),
    ],
)
def test_valid_chooses_the_highest_epoch_or_the_last_that_is_no_worse(
    schedule: str, accuracies: tuple[float, ...], chosen: int, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, measured = np.arange(100), iter(accuracies)
    monkeypatch.setattr(Training, "_validate", lambda _training: (0.3, next(measured)))
    plan = recipe("fast", schedule=schedule, epochs=len(accuracies))
    training = Training(plan, splits.train.subset(part), splits.valid.subset(part), CPU)
    kept = {epoch.number: weights(training) for epoch in training.epochs()}
    assert training.best_epoch == chosen
    training.network.load_state_dict(training.best_weights)
    assert weights(training) == kept[chosen]


def test_the_same_seed_gives_the_same_weights_and_another_others(splits: Splits) -> None:
    def after_one(seed: int) -> bytes:
        training = Training(recipe("classic", epochs=1, seed=seed), splits.train, splits.valid, CPU)
        list(training.epochs())
        return weights(training)

    assert after_one(1) == after_one(1) != after_one(2)


def test_a_loss_that_goes_wrong_later_names_the_last_good_checkpoint(splits: Splits, short: Recipe) -> None:
    training = Training(short, splits.train, splits.valid, CPU)
    epochs = training.epochs()
    next(epochs)
    with torch.no_grad():
        next(training.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="epoch 2; the checkpoint of epoch 1 is intact"):
        next(epochs)


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_resumed_run_ends_with_the_bits_of_an_unbroken_one(name: str, splits: Splits, tmp_path: Path) -> None:
    plan = recipe(name, epochs=3)
    if name not in ("classic", "fast"):  # the large ones on a part: what is held is the state, not the accuracy
        small = np.arange(64)
        splits = replace(splits, train=splits.train.subset(small), valid=splits.valid.subset(small))
    unbroken = Training(plan, splits.train, splits.valid, CPU)
    list(unbroken.epochs())
    broken = Training(plan, splits.train, splits.valid, CPU)
    steps: Iterator[Any] = broken.epochs()
    next(steps)
    checkpoints.save(tmp_path / "c.safetensors", broken.state())
    resumed = Training(plan, splits.train, splits.valid, CPU)
    resumed.restore(*checkpoints.load(tmp_path / "c.safetensors"))
    list(resumed.epochs())
    assert weights(resumed) == weights(unbroken)
    assert [epoch.valid_loss for epoch in resumed.history] == [epoch.valid_loss for epoch in unbroken.history]


def test_the_loss_counts_characters_not_batches(splits: Splits) -> None:
    """700 characters in batches of 256: a mean of batch means would weigh the last 188 too much."""
    plan = recipe("classic", epochs=1, learning_rate=1e-8)  # weights stay as they were, so the loss can be recomputed
    training = Training(plan, splits.train, splits.valid, CPU)
    (epoch,) = training.epochs()
    logits = infer(training.network, splits.train.images, CPU).astype(np.float64)
    rows = np.arange(len(logits))
    expected = np.log(np.exp(logits).sum(1)) - logits[rows, splits.train.labels]
    assert epoch.train_loss == pytest.approx(expected.mean(), rel=1e-4)


def test_the_l2_penalty_acts_on_the_first_linear_layer(splits: Splits) -> None:
    def norm(l2: float) -> float:
        training = Training(recipe("classic", epochs=2, l2=l2), splits.train, splits.valid, CPU)
        list(training.epochs())
        network = training.network
        assert isinstance(network, Classic)
        return float(network.linear1.weight.detach().square().sum())

    assert norm(0.1) < 0.7 * norm(0.0)


def test_patience_stops_when_valid_no_longer_improves(splits: Splits) -> None:
    plan = recipe("classic", epochs=50, patience=2, learning_rate=1e-8)
    training = Training(plan, splits.train, splits.valid, CPU)
    epochs = list(training.epochs())
    assert len(epochs) == 3  # the first is the best, and two more were waited for


def test_a_loss_that_is_not_finite_stops_with_the_epoch_and_what_to_try(splits: Splits) -> None:
    training = Training(recipe("classic", epochs=5, learning_rate=10.0, l2=1.0), splits.train, splits.valid, CPU)
    with torch.no_grad():
        next(training.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"epoch 1; no epoch was finished; try a learning rate below 10"):
        list(training.epochs())


def test_running_out_of_memory_says_which_batch_size_to_try(
    splits: Splits, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(short, splits.train, splits.valid, CPU)

    def exhausted(_images: object) -> object:
        return torch.empty(2**60)  # the allocator's own refusal

    monkeypatch.setattr(training.network, "forward", exhausted)
    with pytest.raises(TrainingError, match="try batch_size 128 instead of 256"):
        list(training.epochs())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("l2", 2.0),
        ("seed", -1),
    ],
)
def test_an_option_out_of_range_is_refused_with_the_range(field: str, value: float) -> None:
    with pytest.raises(TrainingError, match=rf"{field} must lie in .*\.\."):
        recipe("classic", **{field: value})


def test_unknown_names_bring_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'classic'"):
        recipe("clasic")
    with pytest.raises(UnknownName, match="did you mean 'cuda'"):
        device.choose("cuba")


def test_a_device_that_is_not_here_says_what_to_do() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert device.choose("auto").type in ("cpu", "mps")
    with pytest.raises(TrainingError, match="--device auto"):
        device.choose("cuda")


def test_recipes_survive_json() -> None:
    for plan in RECIPES.values():
        assert Recipe.from_json(plan.as_json()) == plan
    with pytest.raises(TrainingError, match="not a recipe of this version"):
        Recipe.from_json({"name": "x", "surprise": 1})


class TestCheckpoints:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "checkpoint.safetensors"
        for number in (1, 2):
            checkpoints.save(path, ({"w": torch.full((3,), float(number))}, {"epoch": number}))
        return path

    def test_the_one_before_the_last_is_kept(self, path: Path) -> None:
        assert checkpoints.load(path)[1] == {"epoch": 2}
        assert checkpoints.load(checkpoints.previous(path))[1] == {"epoch": 1}

    @pytest.mark.parametrize("damage", ["truncate", "garble", "empty", "delete"])
    def test_a_broken_one_is_said_and_the_one_before_it_used(self, path: Path, damage: str) -> None:
        content = path.read_bytes()
        if damage == "delete":
            path.unlink()
        else:
            path.write_bytes({"truncate": content[:-5], "garble": b"\xff" * 50, "empty": b""}[damage])
        (tensors, document), warning = checkpoints.load_latest(path)
        assert document == {"epoch": 1}
        assert tensors["w"].tolist() == [1.0] * 3
        assert "going on from the checkpoint before it" in warning

    def test_when_both_are_broken_it_is_refused(self, path: Path) -> None:
        path.write_bytes(b"")
        checkpoints.previous(path).write_bytes(b"")
        with pytest.raises(CheckpointError, match="broken"):
            checkpoints.load_latest(path)

    def test_a_write_that_fails_leaves_the_last_one_intact(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_arguments: object, **_options: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoints, "save_file", full)
        with pytest.raises(SaveError, match="No space left"):
            checkpoints.save(path, ({}, {"epoch": 3}))
        assert checkpoints.load(path)[1] == {"epoch": 2}

    def test_one_of_another_recipe_is_refused(self, splits: Splits, short: Recipe) -> None:
        state = Training(short, splits.train, splits.valid, CPU).state()
        other = Training(replace(short, batch_size=64), splits.train, splits.valid, CPU)
        with pytest.raises(CheckpointError, match="batch_size differ"):
            other.restore(*state)

    def test_every_error_is_ours(self, tmp_path: Path) -> None:
        with pytest.raises(HandwritingError):
            checkpoints.load(tmp_path / "none.safetensors")
