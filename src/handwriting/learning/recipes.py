"""`Recipe`: everything that decides a training run, frozen; `RECIPES`: the ones that have a name."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from handwriting.errors import TrainingError, UnknownName

NETWORK_NAMES = ("classic",)
OPTIMIZER_NAMES = ("adam",)
SCHEDULE_NAMES = ("constant",)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run, apart from the data.

    Attributes:
        name: what it is called.
        network: a name of `NETWORK_NAMES`.
        optimizer: a name of `OPTIMIZER_NAMES`.
        learning_rate: the highest of the schedule, in (0, 10].
        schedule: a name of `SCHEDULE_NAMES`.
        batch_size: characters a step, in 1..65536.
        epochs: passes over the train part, in 1..1000.
        l2: weight of the penalty on the sum of squares of the first linear layer's weights, in [0, 1].
        patience: stop after this many epochs without a better valid accuracy; None never stops early.
        seed: of initial weights, order and augmentation; the split's seed too. In 0..2^31-1.

    Raises:
        TrainingError: a value out of its range, with the range.
        UnknownName: a name that does not exist.
    """

    name: str
    network: str
    optimizer: str
    learning_rate: float
    schedule: str
    batch_size: int
    epochs: int
    l2: float = 0.0
    patience: int | None = None
    seed: int = 11

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("network", self.network, NETWORK_NAMES),
            ("optimizer", self.optimizer, OPTIMIZER_NAMES),
            ("schedule", self.schedule, SCHEDULE_NAMES),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        _check("learning_rate", self.learning_rate, 1e-8, 10.0)
        _check("batch_size", self.batch_size, 1, 65536)
        _check("epochs", self.epochs, 1, 1000)
        _check("l2", self.l2, 0.0, 1.0)
        _check("seed", self.seed, 0, 2**31 - 1)
        if self.patience is not None:
            _check("patience", self.patience, 1, 1000)

    def as_json(self) -> dict[str, Any]:
        """The recipe in JSON types; `from_json` gives it back."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(document: dict[str, Any]) -> Recipe:
        """What `as_json` gave -> the Recipe. Raises TrainingError (not a recipe of this version), UnknownName."""
        try:
            return Recipe(**document)
        except TypeError as error:
            raise TrainingError(f"this is not a recipe of this version of handwriting: {error}") from error


def _check(option: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not (math.isfinite(value) and low <= value <= high):
        raise TrainingError(f"{option} must lie in {low:g}..{high:g}, not {value}")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # Two 7x7 convolutions and an L2 penalty on the first linear layer: the tutorial network that this project
        # began with, kept to the letter so that every figure has something to be compared with.
        Recipe(
            name="classic",
            network="classic",
            optimizer="adam",
            learning_rate=0.001,
            schedule="constant",
            batch_size=256,
            epochs=15,
            l2=0.001,
        ),
    )
}


def recipe(name: str, **changes: Any) -> Recipe:
    """A recipe's name, and fields to change (None leaves a field as it is) -> Recipe.

    Raises:
        UnknownName: no such recipe.
        TrainingError: a value out of its range.
    """
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    return changed(RECIPES[name], **changes)


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    """A Recipe with some fields changed; None leaves a field as it is. Raises TrainingError: out of range."""
    return dataclasses.replace(recipe, **{field: value for field, value in changes.items() if value is not None})
