"""`Recipe`: everything that decides a training run, frozen; `RECIPES`: the ones that have a name."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from handwriting.errors import TrainingError, UnknownName

NETWORK_NAMES = ("classic", "fast", "strong")
OPTIMIZER_NAMES = ("adam", "adamw")
SCHEDULE_NAMES = ("constant", "linear", "cosine")
PRECISION_NAMES = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run, apart from the data.

    Attributes:
        name: what it is called.
        network: a name of `NETWORK_NAMES`.
        optimizer: a name of `OPTIMIZER_NAMES`.
        learning_rate: the highest of the schedule, in (0, 10].
        schedule: a name of `SCHEDULE_NAMES`: how the learning rate falls after the warm-up.
        batch_size: characters a step, in 1..65536.
        epochs: passes over the train part, in 1..1000.
        least_steps: on small data, `for_characters` adds epochs until there are so many steps; in 0..100000.
        warm_up: share of all steps in which the learning rate rises from near 0, in [0, 0.9].
        beta2: how slowly Adam forgets squared gradients, in [0, 0.99999].
        l2: weight of the penalty on the sum of squares of the first linear layer's weights, in [0, 1].
        weight_decay: AdamW's, of weights but not of biases and normalisation, in [0, 10].
        label_smoothing: share of the target spread over all classes, in [0, 0.9].
        average: the weights kept are a moving average over about this many steps; 0 keeps the last. In 0..100000.
        shift: each batch moves by up to this many pixels, in 0..8.
        warp: strength of turning, slanting, zooming, moving and bending each character, in [0, 3]; 0 is none.
        calm: share of the training, its end, in which warps are half as strong: the network, which has met much more
            than people write, gets used to what they do write. In [0, 1].
        photo: share of each batch that is degraded as a camera and paper would, in [0, 1].
        erase: share of each batch that loses a box of its pixels, in [0, 1].
        precision: "bfloat16" computes so where the device does it natively, and as "float32" elsewhere.
        ensemble: networks trained side by side on draws of their own, answering as one; in 1..16.
        views: shifted views of each image that the answer is a mean over (test-time augmentation), in 1..5.
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
    least_steps: int = 0
    warm_up: float = 0.0
    beta2: float = 0.999
    l2: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    average: int = 0
    shift: int = 0
    warp: float = 0.0
    calm: float = 0.0
    photo: float = 0.0
    erase: float = 0.0
    precision: str = "float32"
    ensemble: int = 1
    views: int = 1
    patience: int | None = None
    seed: int = 11

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("network", self.network, NETWORK_NAMES),
            ("optimizer", self.optimizer, OPTIMIZER_NAMES),
            ("schedule", self.schedule, SCHEDULE_NAMES),
            ("precision", self.precision, PRECISION_NAMES),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        for option, (low, high) in _RANGES.items():
            _check(option, getattr(self, option), low, high)

    def for_characters(self, count: int) -> Recipe:
        """The number of characters to train on -> this recipe, with more epochs where `least_steps` asks for them."""
        steps = math.ceil(count / self.batch_size)
        epochs = min(max(self.epochs, math.ceil(self.least_steps / steps)), int(_RANGES["epochs"][1]))
        return dataclasses.replace(self, epochs=epochs)

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


# option -> the least and the greatest value it takes
_RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-8, 10.0),
    "batch_size": (1, 65536),
    "epochs": (1, 1000),
    "least_steps": (0, 100_000),
    "warm_up": (0.0, 0.9),
    "beta2": (0.0, 0.99999),
    "l2": (0.0, 1.0),
    "weight_decay": (0.0, 10.0),
    "label_smoothing": (0.0, 0.9),
    "average": (0, 100_000),
    "shift": (0, 8),
    "warp": (0.0, 3.0),
    "calm": (0.0, 1.0),
    "photo": (0.0, 1.0),
    "erase": (0.0, 1.0),
    "ensemble": (1, 16),
    "views": (1, 5),
    "patience": (1, 1000),
    "seed": (0, 2**31 - 1),
}
_WHOLE = {option for option, (low, _high) in _RANGES.items() if isinstance(low, int)}


def _check(option: str, value: float | None, low: float, high: float) -> None:
    if option == "patience" and value is None:
        return
    kind = int if option in _WHOLE else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
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
        # 99% in seconds: docs/experiments.md says what each part gave.
        Recipe(
            name="fast",
            network="fast",
            optimizer="adamw",
            learning_rate=0.025,
            schedule="linear",
            batch_size=192,
            epochs=1,
            least_steps=200,
            warm_up=0.25,
            beta2=0.95,
            weight_decay=0.01,
            label_smoothing=0.05,
            shift=1,
            precision="bfloat16",
        ),
        Recipe(
            name="strong",
            network="strong",
            optimizer="adamw",
            learning_rate=0.01,
            schedule="cosine",
            batch_size=256,
            epochs=24,
            least_steps=4000,
            warm_up=0.15,
            beta2=0.99,
            weight_decay=0.02,
            label_smoothing=0.1,
            average=160,
            warp=1.0,
            calm=0.25,
            precision="bfloat16",
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
