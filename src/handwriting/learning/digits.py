"""The shipped model's own training: MNIST's train part, our drawings of it and of what is no digit -> two answers.

One network answers two questions: which digit (`logits`), and whether the picture shows one whole digit at all
(`character`, the reject head). Each batch mixes five pools: MNIST as it is, MNIST and drawings through photos and the
real normal form, drawn digits, digits with a sliver of a neighbour, and negatives. All of it is warped, and half of
it degraded by `photo.photograph`. The weights handed out are a running mean of the trained ones (Polyak and Juditsky
1992), which evens out the last steps' noise. Towards the end warps calm down, as in the recipe `strong`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Generator, Tensor, nn

from handwriting.data import Dataset
from handwriting.errors import TrainingError
from handwriting.learning.augment import CALM, warp
from handwriting.learning.device import native_bfloat16
from handwriting.learning.optimizing import Average, seeded, set_rate, sparing, trapezoid
from handwriting.learning.photo import EFFECTS, Effects, photograph
from handwriting.learning.synthesis import Source, crowded, drawn_digits, negatives, photographed

NO_DIGIT = -1  # the label of what is no digit
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081  # of the train part's pixels in [0, 1]
RATE, WARM_UP, COOL_DOWN, WEIGHT_DECAY = 0.005, 0.03, 0.35, 0.02  # the second and third: shares of all steps
SMOOTHING = 0.1
CHARACTER_WEIGHT = 0.5  # of the reject head's loss beside the digits'
AVERAGE = 200  # steps that the weights handed out are an average over


class DigitsNetwork(nn.Module):
    """Five convolutions and two heads, 316,139 parameters.

    (N, 28, 28) -> 5x5 stride 2, 32 -> 13 -> 3x3, 64 -> 11 -> 3x3, 64 -> 9 -> pool -> 4 -> 3x3 padded, 128 -> 3x3, 128
    -> 2 -> 512 numbers -> linear 10, and linear 64 - ReLU - linear 1. BatchNorm and ReLU after every convolution.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *_block(1, 32, size=5, stride=2, padding=1),
            *_block(32, 64),
            *_block(64, 64),
            nn.MaxPool2d(2),
            *_block(64, 128, padding=1),
            *_block(128, 128),
            nn.Flatten(),
            nn.Dropout(0.1),
        )
        self.digit = nn.Linear(512, 10)
        self.character = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images float (N, 28, 28) in [0, 1] -> logits (N, 10), character (N,): the logit of "one whole digit"."""
        features = self.trunk((images.unsqueeze(1) - MNIST_MEAN) / MNIST_STD)
        return self.digit(features), self.character(features)[:, 0]


def _block(inputs: int, outputs: int, size: int = 3, stride: int = 1, padding: int = 0) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


@dataclass(frozen=True)
class Pool:
    """Training material of one kind: images uint8 (N, 28, 28), labels (N,) or NO_DIGIT; how many go into a batch."""

    images: Tensor
    labels: Tensor
    a_batch: int


def gather(train: Dataset, generator: Generator, scale: float = 1.0) -> tuple[Pool, ...]:
    """MNIST's train part -> the pools, MNIST itself first. About seven minutes' work on one core at ``scale`` 1.

    Raises:
        TrainingError: the data is not the ten digits.
    """
    if train.classes != tuple("0123456789"):
        raise TrainingError(f"{train.name}: the digits model learns the classes 0 to 9, not {', '.join(train.classes)}")

    def sized(count: int) -> int:
        return max(round(count * scale), 40)

    real: Source = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    none = negatives(sized(60_000), real, generator)
    drawn = drawn_digits(sized(30_000), generator)
    chosen = torch.randperm(len(real[1]), generator=generator)[: sized(10_000)]
    shown = (real[0][chosen], real[1][chosen]), _some(drawn, sized(4_000), generator)
    digits = torch.cat([images for images, _ in shown]), torch.cat([labels for _, labels in shown])
    photos, rows = photographed(digits[0], generator)
    order = torch.randperm(len(none), generator=generator)[: sized(6_000)]
    no_photos, _ = photographed(none[order], generator)
    return (
        Pool(*real, a_batch=112),
        Pool(photos, digits[1][rows], a_batch=20),
        Pool(*drawn, a_batch=16),
        Pool(*crowded(sized(30_000), real, generator), a_batch=12),
        Pool(none, torch.full((len(none),), NO_DIGIT), a_batch=34),
        Pool(no_photos, torch.full((len(no_photos),), NO_DIGIT), a_batch=10),
    )


def _some(source: Source, count: int, generator: Generator) -> Source:
    order = torch.randperm(len(source[1]), generator=generator)[:count]
    return source[0][order], source[1][order]


@dataclass(frozen=True)
class DigitsEpoch:
    """One pass over MNIST's train part: its number from 1, mean loss, seconds, and the weights' average so far."""

    number: int
    loss: float
    seconds: float
    network: nn.Module


def train_digits(
    pools: tuple[Pool, ...],
    *,
    epochs: int,
    generator: Generator,
    share: float = 0.5,
    effects: Effects = EFFECTS,
    rate: float = RATE,
    calm: float = 0.3,
    start: nn.Module | None = None,
) -> Iterator[DigitsEpoch]:
    """Pools -> one DigitsEpoch at a time; an epoch passes once over the first pool and draws from the others.

    AdamW at a steady rate, warmed up and cooled down, in bfloat16 where the processor computes in it. ``share`` of
    every batch is degraded by ``effects`` like photos; ``rate`` is the level learning rate; ``calm`` is the share of
    the steps, the last ones, in which warps are half as strong. Training goes on from the weights of ``start``, which
    stays as it is; without it, initial weights come from the generator too.

    Raises:
        TrainingError: ``epochs`` below 1, too few images for a batch, or a loss that is not finite.
    """
    first = pools[0]
    steps = len(first.images) // first.a_batch
    if epochs < 1 or steps < 1:
        raise TrainingError(
            f"epochs must be at least 1 and images at least {first.a_batch}, not {epochs} and {len(first.images)}"
        )
    with seeded(generator):
        network = DigitsNetwork() if start is None else copy.deepcopy(start).requires_grad_(requires_grad=True)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = Average(network, AVERAGE)
        optimizer = torch.optim.AdamW(sparing(network.parameters(), WEIGHT_DECAY), rate, fused=True)
        step = 0
        for number in range(1, epochs + 1):
            started, total = time.perf_counter(), 0.0
            order = torch.randperm(len(first.images), generator=generator)
            network.train()
            for place in range(steps):
                done = step / (epochs * steps)
                set_rate(optimizer, rate * trapezoid(done, WARM_UP, COOL_DOWN))
                strength = CALM if done >= 1 - calm else 1.0
                images, labels = _batch(pools, order[place * first.a_batch : (place + 1) * first.a_batch], generator)
                pixels = photograph(warp(images, strength, generator).unsqueeze(1), generator, share, effects)
                loss = _loss(network, pixels[:, 0], labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                step += 1
                average.update(step)
                total += float(loss.detach())
            if not math.isfinite(total):
                raise TrainingError(f"the loss is not finite in epoch {number}; try another seed")
            yield DigitsEpoch(number, total / steps, time.perf_counter() - started, average.network)


def _batch(pools: tuple[Pool, ...], rows: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """The given rows of the first pool and random ones of the others -> float32 (B, 28, 28), labels (B,)."""
    chosen = [rows] + [torch.randint(len(pool.labels), (pool.a_batch,), generator=generator) for pool in pools[1:]]
    images = torch.cat([pool.images[part] for pool, part in zip(pools, chosen, strict=True)])
    labels = torch.cat([pool.labels[part] for pool, part in zip(pools, chosen, strict=True)])
    return images.float().div_(255), labels


def _loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the digits plus the reject head's binary one, both with smoothed targets."""
    with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16(images.device)):
        logits, character = network(images)
    digit = labels != NO_DIGIT
    target = digit.float() * (1 - 0.2 * SMOOTHING) + 0.1 * SMOOTHING
    which = F.cross_entropy(logits.float(), labels, ignore_index=NO_DIGIT, label_smoothing=SMOOTHING)
    return which + CHARACTER_WEIGHT * F.binary_cross_entropy_with_logits(character.float(), target)
