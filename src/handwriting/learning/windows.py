"""The window network: a candidate of a line, in the line around it -> how well each digit suits it.

The line network never sees where a line was cut, and the classifier nothing but what was cut out. This network sees
both, and learns from whole lines: of all ways through a line's cuts, those that spell the truth are to have the
greatest share (discriminative forward training: LeCun, Bottou, Bengio, Haffner 1998, section VI). So it need not be
told which cut is right, and its scores are what the other two lack. Besides, it learns what each candidate holds where
that is clear: one whole digit, or none. That alone reads no line better, but it makes the features quickly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from handwriting.errors import TrainingError
from handwriting.learning.device import native_bfloat16
from handwriting.learning.optimizing import Average, seeded, set_rate, sparing, trapezoid

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ROWS, COLUMNS = 44, 48  # of a window: `reading.windows` makes them
LABELS = 10
NONE, UNKNOWN = 10, -1  # a candidate that holds no digit, several, or a part of one; one of which that is not clear
RATE, WARM_UP, COOL_DOWN, WEIGHT_DECAY = 0.002, 0.05, 0.6, 0.02  # the second and third: shares of all steps
AVERAGE = 500  # steps that the weights handed out are an average over
LARGEST_GRADIENT = 5.0  # norm
NEVER = -1e9  # a log-probability


class WindowNetwork(nn.Module):
    """(N, 3, 44, 48) -> 5x5 stride 2 -> 3x3 -> half -> 3x3 -> half -> 3x3 -> half -> all of it -> 10 scores.

    BatchNorm and ReLU after each convolution.
    """

    def __init__(self) -> None:
        super().__init__()
        half = nn.MaxPool2d(2, ceil_mode=True)
        self.features = nn.Sequential(
            *_block(3, 24, 5, 2),
            *_block(24, 48, 3),
            half,
            *_block(48, 96, 3),
            half,
            *_block(96, 128, 3),
            half,
            nn.Conv2d(128, 192, 3, bias=False),
            nn.BatchNorm2d(192),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        self.head, self.holds = nn.Linear(192, LABELS), nn.Linear(192, LABELS + 1)
        nn.init.zeros_(self.head.weight)  # it begins by saying nothing
        nn.init.zeros_(self.head.bias)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows float (N, 3, 44, 48) in [0, 1] -> scores (N, 10), in nats, to be added to what else is known."""
        scores: Tensor = self.head(self.features(windows))
        return scores

    def both(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The same, in training -> scores (N, 10), and logits (N, 11) of what each holds: a digit, or none."""
        features = F.dropout(self.features(windows), 0.1, self.training)
        return self.head(features).float(), self.holds(features).float()


def _block(inputs: int, outputs: int, size: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


@dataclass(frozen=True)
class CutLine:
    """A line, its n candidates between cuts, and its truth.

    Attributes:
        windows: uint8 (n, 3, ROWS, COLUMNS).
        start, end: int64 (n,): the cuts that each candidate lies between, of 0 to P.
        scores: float64 (n, LABELS): what is known of each candidate besides, read as each label, in nats.
        passed: float64 (P,): score of what lies between two neighbouring cuts being no part of any digit.
        holds: int64 (n,): the label of the one whole digit that a candidate holds, or NONE, or UNKNOWN.
        text: int64 (k,): the labels that stand there, from left to right.
    """

    windows: NDArray[np.uint8]
    start: Int
    end: Int
    scores: Float
    passed: Float
    holds: Int
    text: Int

    @cached_property
    def lacks(self) -> float:
        """Nats by which the truth's share falls short of all ways without the network; see `shares`."""
        return shares(self, self.scores)[0]


@dataclass(frozen=True)
class WindowsEpoch:
    """One pass: its number from 1; mean nats a line, before the network and with it; seconds; the averaged network."""

    number: int
    before: float
    loss: float
    seconds: float
    network: nn.Module


def shares(line: CutLine, scores: Float) -> tuple[float, Float]:
    """A line and scores (n, LABELS) of its candidates -> nats by which the truth's share of all ways falls short of
    all, and the nats' gradient by the scores (n, LABELS).

    Forward and backward sums over all ways from the first cut to the last, and over those that spell the truth.
    Infinitely, and a gradient of 0, where no way spells it.
    """
    count, length = len(line.passed), len(line.text)
    order = np.argsort(line.start, kind="stable")
    leaving = np.split(order, np.searchsorted(line.start[order], np.arange(1, count)))
    any_label = np.logaddexp.reduce(scores, axis=1)
    right = scores[:, line.text]  # (n, k): read as the k-th label of the truth
    # From the first cut to each: all ways, and those that have spelled so many labels of the truth. Then backwards.
    ahead, ahead_true = np.full(count + 1, NEVER), np.full((count + 1, length + 1), NEVER)
    behind, behind_true = ahead.copy(), ahead_true.copy()
    ahead[0] = ahead_true[0, 0] = behind[count] = behind_true[count, length] = 0.0
    for at in range(count):
        ahead[at + 1] = np.logaddexp(ahead[at + 1], ahead[at] + line.passed[at])
        ahead_true[at + 1] = np.logaddexp(ahead_true[at + 1], ahead_true[at] + line.passed[at])
        for own in leaving[at]:
            to = line.end[own]
            ahead[to] = np.logaddexp(ahead[to], ahead[at] + any_label[own])
            ahead_true[to, 1:] = np.logaddexp(ahead_true[to, 1:], ahead_true[at, :-1] + right[own])
    for at in range(count - 1, -1, -1):
        behind[at] = behind[at + 1] + line.passed[at]
        behind_true[at] = behind_true[at + 1] + line.passed[at]
        for own in leaving[at]:
            to = line.end[own]
            behind[at] = np.logaddexp(behind[at], behind[to] + any_label[own])
            behind_true[at, :-1] = np.logaddexp(behind_true[at, :-1], behind_true[to, 1:] + right[own])
    of_all, of_true = float(ahead[count]), float(ahead_true[count, length])
    if of_true < NEVER / 2:
        return math.inf, np.zeros_like(scores)
    gradient = np.exp((ahead[line.start] + behind[line.end] - of_all)[:, None] + scores)
    spelled = np.exp(ahead_true[line.start, :-1] + right + behind_true[line.end, 1:] - of_true)
    for place, label in enumerate(line.text):
        gradient[:, label] -= spelled[:, place]
    return of_all - of_true, gradient


def train_windows(
    lines: Callable[[int], Sequence[CutLine]], *, epochs: int, generator: Generator, batch: int = 5
) -> Iterator[WindowsEpoch]:
    """``lines`` of each epoch, counted from 1 -> WindowsEpochs in turn, by AdamW, warmed up and cooled down.

    Lines whose truth no way spells teach nothing.

    Raises:
        TrainingError: fewer lines than a batch, or a loss that is not finite.
    """
    if epochs < 1:
        raise TrainingError(f"epochs must be at least 1, not {epochs}")
    with seeded(generator):
        network = WindowNetwork()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = Average(network, AVERAGE)
        optimizer = torch.optim.AdamW(sparing(network.parameters(), WEIGHT_DECAY), RATE, betas=(0.9, 0.99), fused=True)
        step = 0
        for number in range(1, epochs + 1):
            material = lines(number)
            steps = len(material) // batch
            if not steps:
                raise TrainingError(f"{len(material)} lines are fewer than a batch of {batch}")
            started, told = time.perf_counter(), []
            network.train()
            order = torch.randperm(len(material), generator=generator)
            for place in range(steps):
                done = (number - 1 + place / steps) / epochs
                set_rate(optimizer, RATE * trapezoid(done, WARM_UP, COOL_DOWN))
                own = [material[row] for row in order[place * batch : (place + 1) * batch].tolist()]
                windows = _changed(own, generator)
                with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16(windows.device)):
                    scores, holds = network.both(windows)
                lost, gradient = _shares_of(own, scores.detach().numpy().astype(np.float64))
                told += lost
                optimizer.zero_grad(set_to_none=True)
                clear = torch.from_numpy(np.concatenate([line.holds for line in own]))
                aside = F.cross_entropy(holds, clear, ignore_index=UNKNOWN)
                ((scores * gradient).sum() / batch + aside).backward()
                nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
                optimizer.step()
                step += 1
                average.update(step)
            before, after = np.mean(told, axis=0).tolist() if told else (0.0, 0.0)
            if not math.isfinite(after):
                raise TrainingError(f"the loss is not finite in epoch {number}; try another seed")
            yield WindowsEpoch(number, before, after, time.perf_counter() - started, average.network)


def _shares_of(lines: Sequence[CutLine], scores: Float) -> tuple[list[tuple[float, float]], Tensor]:
    """Lines and the network's scores of all their candidates -> of each line with a truth what it lacks without the
    network and with it, and the gradient (N, LABELS)."""
    ends = np.cumsum([len(line.start) for line in lines])[:-1]
    lost, gradients = [], []
    for line, own in zip(lines, np.split(scores, ends), strict=True):
        with_it, gradient = shares(line, line.scores + own)
        gradients.append(gradient)
        if math.isfinite(line.lacks):
            lost.append((line.lacks, with_it))
    return lost, torch.from_numpy(np.concatenate(gradients)).float()


def _changed(lines: Sequence[CutLine], generator: Generator) -> Tensor:
    """Lines -> all their windows float32 (N, 3, ROWS, COLUMNS), each line's changed as another hand or pen would."""
    each = torch.tensor([len(line.start) for line in lines])
    images = torch.from_numpy(np.concatenate([line.windows for line in lines])).float() / 255
    count = len(images)

    def draw(low: float, high: float) -> Tensor:
        of_lines = low + (high - low) * torch.rand(len(lines), generator=generator)
        return of_lines.repeat_interleave(each)

    across = torch.stack([draw(0.88, 1.14), draw(-0.25, 0.25), torch.zeros(count)], 1)
    down = torch.stack([draw(-0.05, 0.05), draw(0.88, 1.14), draw(-0.1, 0.1)], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
    # Bent as rubber (Simard et al. 2003, section 2), by up to 1.3 pixels.
    field = draw(0, 1.3)[:, None, None, None] * torch.randn(count, 2, 4, 4, generator=generator)
    bend = F.interpolate(field, (ROWS, COLUMNS), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    images = F.grid_sample(images, grid + bend * torch.tensor([2 / COLUMNS, 2 / ROWS]), align_corners=False)
    pen = draw(0, 1)[:, None, None, None]
    thinner = (images + torch.minimum(images, images.roll(1, 3))) / 2
    images = torch.where(pen < 0.1, F.max_pool2d(images, 3, 1, 1), torch.where(pen > 0.85, thinner, images))
    images = images.clamp(0, 1).pow(draw(0.6, 1.6)[:, None, None, None])
    images = images + draw(0, 0.05)[:, None, None, None] * torch.randn(images.shape, generator=generator)
    return images.clamp_(0, 1).contiguous(memory_format=torch.channels_last)
