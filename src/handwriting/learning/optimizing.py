"""What turns gradients into weights: optimisers, schedules of the learning rate, and the moving average of weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from handwriting.learning.recipes import Recipe
from handwriting.learning.replaying import replayable

_END = 0.01  # of the peak: where falling schedules end
_AVERAGE_EVERY = 4  # steps: as good as every step, at a quarter of the cost


@contextmanager
def seeded(generator: Generator, device: torch.device | None = None) -> Iterator[None]:
    """What draws from torch's global state follows from the generator's next number; the state stays as it is.

    The CPU's state, and that of ``device`` if it is a GPU.
    """
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        yield


def _adamw(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW whose decay spares biases and normalisation."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = sparing(learned, recipe.weight_decay)
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in learned)
    return torch.optim.AdamW(groups, betas=(0.9, recipe.beta2), fused=fused, **_rate(network, recipe))


def sparing(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Parameters -> an optimiser's two groups: weights, which decay, and biases and normalisation, which do not."""
    known = list(parameters)
    return [
        {"params": [parameter for parameter in known if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in known if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _adam(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam; foreach: the same arithmetic as the loop over parameters, in fewer Python steps."""
    return torch.optim.Adam(network.parameters(), betas=(0.9, recipe.beta2), foreach=True, **_rate(network, recipe))


def _rate(network: nn.Module, recipe: Recipe) -> dict[str, Any]:
    """The learning rate: on a GPU a number that lies there, for a recorded step to read what `set_rate` puts there."""
    device = next(network.parameters()).device
    recorded = replayable(device)
    rate = torch.tensor(recipe.learning_rate, device=device) if recorded else recipe.learning_rate
    return {"lr": rate, "capturable": recorded}


OPTIMIZERS: dict[str, Callable[[nn.Module, Recipe], torch.optim.Optimizer]] = {"adam": _adam, "adamw": _adamw}


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Take this learning rate from the next step on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _linear(done: float) -> float:
    return _END + (1 - _END) * (1 - done)


def _cosine(done: float) -> float:
    return _END + (1 - _END) * (1 + math.cos(math.pi * done)) / 2


# The share done of what follows the warm-up, in [0, 1) -> what the recipe's learning rate is multiplied by. Functions
# of the step alone: nothing of a schedule needs saving.
SCHEDULES: dict[str, Callable[[float], float]] = {"constant": lambda _done: 1.0, "linear": _linear, "cosine": _cosine}


def trapezoid(done: float, warm_up: float, cool_down: float) -> float:
    """The share of the training done, in [0, 1) -> of the peak rate: up to it in ``warm_up``, from it in ``cool_down``,
    both shares of the training.

    It does as well as a cosine of the same length (Haegele et al. 2024, "Scaling Laws and Compute-Optimal Training
    Beyond Fixed Training Durations").
    """
    return min(1.0, (done + 1e-3) / warm_up, (1 - done) / cool_down)


def learning_rate(recipe: Recipe, done: float) -> float:
    """The share of the training done, in [0, 1) -> the step's learning rate, after a linear warm-up."""
    if done < recipe.warm_up:
        return recipe.learning_rate * max(done / recipe.warm_up, _END)
    return recipe.learning_rate * SCHEDULES[recipe.schedule]((done - recipe.warm_up) / (1 - recipe.warm_up))


class Average:
    """The exponential moving average of a network's weights, normalisation statistics included.

    Attributes:
        network: a copy that holds the average, in evaluation mode.
    """

    def __init__(self, learner: nn.Module, steps: int) -> None:
        self.network = copy.deepcopy(learner).eval().requires_grad_(False)
        self._steps = steps
        self._pairs = _values(self.network), _values(learner)

    def update(self, step: int) -> None:
        """After the step of this number, counted from 1: move towards the learner, faster while it is young."""
        if step % _AVERAGE_EVERY:
            return
        keep = min(1 - _AVERAGE_EVERY / self._steps, step / (step + 10 * _AVERAGE_EVERY))
        with torch.no_grad():
            torch._foreach_lerp_(*self._pairs, 1 - keep)


def _values(network: nn.Module) -> list[Tensor]:
    return [value for value in network.state_dict().values() if value.dtype.is_floating_point]
