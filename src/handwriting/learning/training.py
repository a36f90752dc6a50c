"""`Training`: a recipe and data -> one `Epoch` at a time; its whole state can be saved and restored."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handwriting.data import Dataset
from handwriting.errors import CheckpointError, TrainingError
from handwriting.learning.augment import augment, calm
from handwriting.learning.device import native_bfloat16
from handwriting.learning.networks import adjust, build, first_linears
from handwriting.learning.optimizing import OPTIMIZERS, Average, learning_rate, set_rate
from handwriting.learning.recipes import Recipe
from handwriting.learning.replaying import Replayed, replayable

Progress = Callable[[int, int], None]  # (characters seen in this epoch, characters in all)
_EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Epoch:
    """One pass over the train part, and what it led to.

    Attributes:
        number: counted from 1.
        train_loss, train_accuracy: over the pass itself, while the weights change: mean of all characters, in nats and
            in [0, 1]; the loss is the cross-entropy without penalties.
        valid_loss, valid_accuracy: of the weights at its end.
        seconds: of training, without the valid part.
    """

    number: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    seconds: float


class Training:
    """A recipe being carried out on a device.

    Attributes:
        recipe, device: as given.
        network: the one that answers: its weights as they stand, or their moving average where the recipe keeps one.
        history: the epochs so far.
        best_epoch: the number of the epoch that valid chose; 0 before the first. At a steady learning rate the one of
            highest valid accuracy (at equal accuracy lowest valid loss); where the rate falls the last that is not
            worse than that by more than a standard error.
        best_weights: the weights after it.

    Raises:
        TrainingError: the train part is empty.
    """

    def __init__(self, recipe: Recipe, train: Dataset, valid: Dataset, device: torch.device) -> None:
        if len(train) == 0 or len(valid) == 0:
            raise TrainingError(f"{train.name}: nothing to train or to validate on")
        self.recipe, self.device = recipe, device
        learner = build(recipe.network, len(train.classes), recipe.seed, ensemble=recipe.ensemble, views=recipe.views)
        adjust(learner, torch.from_numpy(train.images))
        self._learner = learner.to(device)
        self._average = Average(self._learner, recipe.average) if recipe.average else None
        self.network = self._average.network if self._average else self._learner
        self.optimizer = OPTIMIZERS[recipe.optimizer](self._learner, recipe)
        self.history: list[Epoch] = []
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        self._images = torch.from_numpy(train.images).to(device)
        self._labels = torch.from_numpy(train.labels).to(device)
        self._valid = valid
        self._drawing = torch.Generator(device)
        # `photo` looks at what it drew to pick images, which no recording can.
        replayed = replayable(device) and not recipe.photo
        self._replayed = Replayed(self._step, self._drawing) if replayed else None
        self._bfloat16 = recipe.precision == "bfloat16" and native_bfloat16(device)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or `patience` ran out."""
        accuracies = [epoch.valid_accuracy for epoch in self.history]
        waited = len(accuracies) - 1 - accuracies.index(max(accuracies)) if accuracies else 0
        return len(accuracies) >= self.recipe.epochs or waited >= (self.recipe.patience or math.inf)

    def epochs(self, progress: Progress | None = None) -> Iterator[Epoch]:
        """Train until `finished`, yielding each Epoch as it ends.

        Raises:
            TrainingError: the loss is no longer finite, or memory ran out; the message says what to try.
        """
        while not self.finished:
            number = len(self.history) + 1
            started = time.perf_counter()
            try:
                loss, accuracy = self._train_epoch(number, progress)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                    raise TrainingError(
                        f"out of memory in epoch {number}; try batch_size {max(1, self.recipe.batch_size // 2)} "
                        f"instead of {self.recipe.batch_size}"
                    ) from error
                raise
            seconds = time.perf_counter() - started
            if not math.isfinite(loss):
                kept = f"the checkpoint of epoch {number - 1} is intact" if number > 1 else "no epoch was finished"
                raise TrainingError(
                    f"the loss is not finite in epoch {number}; {kept}; "
                    f"try a learning rate below {self.recipe.learning_rate:g}"
                )
            valid_loss, valid_accuracy = self._validate()
            epoch = Epoch(number, loss, accuracy, valid_loss, valid_accuracy, seconds)
            self.history.append(epoch)
            if self._chosen(epoch):
                self.best_epoch = number
                self.best_weights = {name: value.clone() for name, value in self.network.state_dict().items()}
            yield epoch

    def _chosen(self, epoch: Epoch) -> bool:
        """Whether the last epoch is taken instead of the one chosen so far.

        Where the rate falls, later weights are better ones, and the highest of many counts is mostly luck: there a
        standard error of the count is allowed for (L. Breiman et al., "Classification and regression trees", 1984,
        section 3.4.3).
        """
        best = max(self.history, key=lambda one: (one.valid_accuracy, -one.valid_loss, -one.number))
        if self.recipe.schedule == "constant":
            return epoch is best
        high = best.valid_accuracy
        return epoch.valid_accuracy >= high - math.sqrt(high * (1 - high) / len(self._valid))

    def _train_epoch(self, number: int, progress: Progress | None) -> tuple[float, float]:
        """One pass -> (mean cross-entropy, accuracy) over it."""
        recipe, count = self.recipe, len(self._labels)
        generator = torch.Generator().manual_seed(_mix(recipe.seed, number))
        order = torch.randperm(count, generator=generator).to(self.device)
        self._drawing.manual_seed(_mix(recipe.seed, number))
        steps = math.ceil(count / recipe.batch_size)
        total, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        self._learner.train()
        # Dropout draws from torch's global state: lent to this epoch, and given back as it was.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(_mix(recipe.seed, number))
            for step, batch in enumerate(order.split(recipe.batch_size)):
                done = (number - 1 + step / steps) / recipe.epochs
                set_rate(self.optimizer, learning_rate(recipe, done))
                if self._replayed:
                    cross_entropy, right = self._replayed((len(batch), calm(recipe, done)), batch, done)
                else:
                    cross_entropy, right = self._step(batch, done)
                if self._average:
                    self._average.update((number - 1) * steps + step + 1)
                total += cross_entropy * len(batch)
                correct += right / recipe.ensemble
                if progress is not None:
                    progress(step * recipe.batch_size + len(batch), count)
        return float(total) / count, float(correct) / count

    def _step(self, batch: Tensor, done: float) -> tuple[Tensor, Tensor]:
        """One step on these indices -> (mean cross-entropy, how many answers were right, of all members)."""
        recipe = self.recipe
        batch = batch.repeat(recipe.ensemble)  # each member sees the same characters, each with its own draws
        images, labels = augment(self._images[batch], recipe, self._drawing, done), self._labels[batch]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = self._learner(images)
        logits = logits.float()
        cross_entropy = nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        # Members share no weights: the sum of their losses gives each the gradients that it would have alone.
        loss = cross_entropy * recipe.ensemble
        if recipe.l2:
            loss = loss + recipe.l2 * sum(layer.weight.square().sum() for layer in first_linears(self._learner))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return cross_entropy.detach(), (logits.detach().argmax(1) == labels).sum()

    def _validate(self) -> tuple[float, float]:
        logits = torch.from_numpy(infer(self.network, self._valid.images, self.device)).double()
        labels = torch.from_numpy(self._valid.labels)
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
        return float(loss) / len(labels), float((logits.argmax(1) == labels).sum()) / len(labels)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that `restore` needs to go on bit for bit: tensors by name, and a document of JSON types."""
        tensors = {f"network/{name}": value for name, value in self._learner.state_dict().items()}
        if self._average:
            tensors |= {f"average/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self.best_weights.items()}
        saved = self.optimizer.state_dict()
        numbers: dict[str, dict[str, float]] = {}
        for index, entries in saved["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{index}/{key}"] = value
                else:
                    numbers.setdefault(str(index), {})[key] = value
        document = {
            "recipe": self.recipe.as_json(),
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "optimizer": numbers,
        }
        return {name: value.detach().cpu() for name, value in tensors.items()}, document

    def restore(self, tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
        """Go on from what `state` gave. Raises CheckpointError when it belongs to another recipe or network."""
        if document["recipe"] != self.recipe.as_json():
            changed = [key for key, value in self.recipe.as_json().items() if document["recipe"].get(key) != value]
            raise CheckpointError(
                f"the checkpoint was made by another recipe ({', '.join(changed)} differ); resume with the same options"
            )
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "best": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = value
        state: dict[int, dict[str, Any]] = {int(index): dict(entry) for index, entry in document["optimizer"].items()}
        for name, value in parts["optimizer"].items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = value
        try:
            self._learner.load_state_dict(parts["network"])
            if self._average:
                self.network.load_state_dict(parts["average"])
            self.optimizer.load_state_dict(
                {"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]}
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError("the checkpoint does not fit this network; train anew with --overwrite") from error
        # Saved densely: back into each parameter's own order of axes, which fused optimisers take for granted.
        for parameter, entry in self.optimizer.state.items():
            for key, value in entry.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    entry[key] = torch.empty_like(parameter).copy_(value)
        self.best_weights = {name: value.to(self.device) for name, value in parts["best"].items()}
        self.best_epoch = document["best_epoch"]
        self.history = [Epoch(**entry) for entry in document["history"]]


def infer(network: nn.Module, images: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """A network and images uint8 (N, 28, 28) -> logits float32 (N, C), computed in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        batches = torch.from_numpy(images).split(_EVALUATION_BATCH)
        logits = [network(batch.to(device).float().div_(255)).float().cpu() for batch in batches]
    return torch.cat(logits).numpy()


def _mix(seed: int, epoch: int) -> int:
    """A seed for one epoch that depends on both numbers and on nothing else: a resumed run draws what it would have."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
