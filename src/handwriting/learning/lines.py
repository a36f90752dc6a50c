"""The line network: a line of writing, straightened, in one look -> for each column, which digit stands there.

Single digits are cut from a line before the classifier sees them, and where digits touch no cut is right. This network
sees the line uncut, as recurrent readers do (A. Graves et al., "Connectionist temporal classification", 2006), but
with convolutions alone: its answers stay where the digits are, so they can be combined with cuts. It has
members of different `Design`, which learn by themselves and answer together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression
from torch import Generator, Tensor, nn

from handwriting.errors import TrainingError
from handwriting.learning.composing import OTHER
from handwriting.learning.device import native_bfloat16
from handwriting.learning.networks import together
from handwriting.learning.optimizing import Average, seeded, set_rate, sparing, trapezoid

ROWS = 40  # of a ribbon: `reading.ribbon` makes them
BLANK, OTHER_MARK = 0, 11  # columns of the answer; 1 to 10 are the digits 0 to 9
CLASSES = 12
WIDTH_STEP = 32  # columns: oneDNN compiles its kernels anew for each width that it meets
STRIDE = 2  # columns of a ribbon that the features of a member are apart
RATE, WARM_UP, COOL_DOWN, WEIGHT_DECAY = 0.0025, 0.05, 0.45, 0.02  # the second and third: shares of all steps
AVERAGE = 400  # steps that the weights handed out are an average over
LARGEST_GRADIENT = 5.0  # norm: a batch of illegible lines must not throw the weights about
_Size = int | tuple[int, int]
BENDS = ((1.0, 6), (1.5, 12))  # pixels: the most (standard deviation) that a ribbon is bent by, and how wide a bend is
PLACE_WEIGHT = 0.25  # of the loss a column on where the digits stand, beside that on which they are
APART = 6.0  # columns: the nearest that two marks are to be answered; each member has room for a blank between


@dataclass(frozen=True)
class Design:
    """What a member is made of.

    Attributes:
        channels: of its five convolutions over the ribbon and of those along it.
        along: how many features apart the five are that each convolution along the line sees, one number for each.
        answers: for each feature along the line, that is for each `STRIDE` columns: 1, or one for every column.
    """

    channels: tuple[int, int, int, int, int, int]
    along: tuple[int, ...]
    answers: int


# Two designs miss different lines; answers for every column part 1s that touch better than answers for every second.
DESIGNS = {
    "coarse": Design((24, 48, 48, 80, 128, 160), along=(1, 1), answers=1),
    "fine": Design((32, 64, 64, 112, 176, 192), along=(1, 2, 1, 2), answers=STRIDE),
}


class Member(nn.Module):
    """Convolutions over a ribbon, then along it.

    (N, 2, 40, W) -> 5x5 stride 2 -> 3x3 -> 3x3 -> 3x3 every other row -> 3x3 every other row -> all 5 rows as one ->
    5 along the line, some times over, added on -> 12 log-probabilities. BatchNorm and ReLU after each convolution.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.answers = design.answers
        one, two, three, four, five, along = design.channels
        self.features = nn.Sequential(
            *_block(2, one, 5, stride=2),
            *_block(one, two, 3),
            *_block(two, three, 3),
            *_block(three, four, 3, stride=(2, 1)),
            *_block(four, five, 3, stride=(2, 1)),
            nn.Conv2d(five, along, (5, 1), bias=False),
            nn.BatchNorm2d(along),
            nn.ReLU(inplace=True),
        )
        self.along = nn.ModuleList(
            nn.Sequential(*_block(along, along, (1, 5), dilation=apart)) for apart in design.along
        )
        self.head = nn.Conv2d(along, design.answers * CLASSES, 1)

    def forward(self, ribbons: Tensor) -> Tensor:
        """Ribbons float (N, 2, 40, W) in [0, 1] -> log-probabilities (N, answers x ceil(W / 2), 12)."""
        x = self.features(ribbons)
        for block in self.along:
            x = x + block(x)
        x = F.dropout(x, 0.1, self.training)
        logits: Tensor = self.head(x)[:, :, 0].transpose(1, 2)
        return logits.reshape(len(ribbons), -1, CLASSES).float().log_softmax(2)


class LineNetwork(nn.Module):
    """Members, asked together."""

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, ribbons: Tensor) -> Tensor:
        """Ribbons float (N, 2, 40, W) in [0, 1] -> the log of their mean probabilities (N, 2 ceil(W / 2), 12)."""
        said = []
        for member in self.members:
            answers = member(ribbons)
            if member.answers == 1:  # each is that of two columns
                answers = torch.stack([answers, answers], 2).flatten(1, 2)
            said.append(answers)
        return together(said)


def _block(inputs: int, outputs: int, size: _Size, stride: _Size = 1, dilation: int = 1) -> tuple[nn.Module, ...]:
    padding = size // 2 if isinstance(size, int) else (size[0] // 2, size[1] // 2 * dilation)
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, (1, dilation), bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


@dataclass(frozen=True)
class Lines:
    """Ribbons with their truth.

    Attributes:
        images: each uint8 (2, 40, w).
        labels: each int64 (n,): classes of the marks from left to right, OTHER for what is no digit.
        places: each float32 (n, 3): where each mark's middle, left and right lie, in columns.
    """

    images: Sequence[NDArray[np.uint8]]
    labels: Sequence[NDArray[np.int64]]
    places: Sequence[NDArray[np.float32]]

    def __add__(self, other: Lines) -> Lines:
        return Lines([*self.images, *other.images], [*self.labels, *other.labels], [*self.places, *other.places])


@dataclass(frozen=True)
class LinesEpoch:
    """One pass: its number from 1, mean loss, seconds, and the member with its weights' average so far."""

    number: int
    loss: float
    seconds: float
    network: nn.Module


def train_lines(
    lines: Callable[[int], Lines],
    design: Design,
    *,
    epochs: int,
    generator: Generator,
    batch: int = 32,
) -> Iterator[LinesEpoch]:
    """``lines`` of each epoch, counted from 1 -> a member's LinesEpochs in turn, by AdamW, warmed up and cooled down.

    The loss is that of CTC (all alignments of the true text), and cross-entropy at each answer: the middle half of a
    mark is to answer its class, all else blank. The second makes learning quick and keeps answers in their places.

    Raises:
        TrainingError: fewer lines than a batch, or a loss that is not finite.
    """
    if epochs < 1:
        raise TrainingError(f"epochs must be at least 1, not {epochs}")
    with seeded(generator):
        network = Member(design)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = Average(network, AVERAGE)
        optimizer = torch.optim.AdamW(sparing(network.parameters(), WEIGHT_DECAY), RATE, betas=(0.9, 0.99), fused=True)
        step = 0
        for number in range(1, epochs + 1):
            material = lines(number)
            batches = list(_batches(np.array([image.shape[2] for image in material.images]), batch, generator))
            if not batches:
                raise TrainingError(f"{len(material.images)} lines are fewer than a batch of {batch}")
            started, total = time.perf_counter(), 0.0
            network.train()
            for place, rows in enumerate(batches):
                done = (number - 1 + place / len(batches)) / epochs
                set_rate(optimizer, RATE * trapezoid(done, WARM_UP, COOL_DOWN))
                loss = _loss(network, *_prepared(material, rows, generator))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
                optimizer.step()
                step += 1
                average.update(step)
                total += float(loss.detach())
            if not math.isfinite(total):
                raise TrainingError(f"the loss is not finite in epoch {number}; try another seed")
            yield LinesEpoch(number, total / len(batches), time.perf_counter() - started, average.network)


def _batches(widths: NDArray[np.int64], batch: int, generator: Generator) -> Iterator[list[int]]:
    """Rows of lines of about the same width, in random order."""
    near = torch.from_numpy(widths).float() * (1 + 0.1 * torch.rand(len(widths), generator=generator))
    order = near.argsort()
    steps = len(widths) // batch
    start = int(torch.randint(len(widths) - steps * batch + 1, (1,), generator=generator))
    for place in torch.randperm(steps, generator=generator).tolist():
        yield order[start + place * batch : start + (place + 1) * batch].tolist()


def _prepared(
    lines: Lines, rows: list[int], generator: Generator
) -> tuple[Tensor, list[NDArray[np.int64]], list[Tensor]]:
    """Rows of lines -> ribbons float32 (N, 2, 40, W), changed as other hands and pens would; labels; places."""
    widest = max(lines.images[row].shape[2] for row in rows)
    wide = math.ceil(widest * 1.15 / WIDTH_STEP) * WIDTH_STEP
    count = len(rows)
    images = torch.zeros(count, 2, ROWS, wide)
    for index, row in enumerate(rows):
        image = lines.images[row]
        left = (wide - image.shape[2]) // 2
        images[index, :, :, left : left + image.shape[2]] = torch.from_numpy(image)
    images.div_(255)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    # One affine map a line, output to input: x = stretch u + slant v, y = tilt u + zoom v + move; half sides are 1.
    stretch, zoom, slant, move = draw(0.88, 1.18), draw(0.85, 1.18), draw(-0.3, 0.3), draw(-0.15, 0.15)
    across = torch.stack([stretch, slant * ROWS / wide, torch.zeros(count)], 1)
    down = torch.stack([draw(-0.04, 0.04) * wide / ROWS, zoom, move], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), [count, 2, ROWS, wide], align_corners=False)
    # Other hands: the ribbon is bent as rubber (Simard et al. 2003, section 2), so no digit is seen twice.
    bend = torch.zeros(count, ROWS, wide, 2)
    for most, cell in BENDS:
        cells = (ROWS // cell, wide // cell)
        field = draw(0, most)[:, None, None, None] * torch.randn(count, 2, *cells, generator=generator)
        bend += F.interpolate(field, (ROWS, wide), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    images = F.grid_sample(images, grid + bend * torch.tensor([2 / wide, 2 / ROWS]), align_corners=False)
    places = []
    for index, row in enumerate(rows):
        left = (wide - lines.images[row].shape[2]) // 2
        at = (torch.from_numpy(lines.places[row]) + left - wide / 2) / stretch[index] + wide / 2
        at -= bend[index, ROWS // 2, at[:, :1].long().clamp(0, wide - 1), 0] / stretch[index]
        at[:, 0] = torch.from_numpy(apart(at[:, 0].numpy()))
        places.append(at)
    # Pens: thicker, thinner, paler. The second channel is at times but the first: no rules were seen.
    pen = draw(0, 1)[:, None, None, None]
    thinner = (images + torch.minimum(images, images.roll(1, 3))) / 2
    images = torch.where(pen < 0.12, F.max_pool2d(images, 3, 1, 1), torch.where(pen > 0.85, thinner, images))
    images = images.clamp(0, 1).pow(draw(0.6, 1.6)[:, None, None, None])
    plain = draw(0, 1) < 0.15
    images[plain, 1] = images[plain, 0]
    images = images + draw(0, 0.08)[:, None, None, None] * torch.randn(images.shape, generator=generator)
    return images.clamp_(0, 1), [lines.labels[row] for row in rows], places


def apart(middles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Marks' middles (n,), rising, in columns -> the same, at least `APART` from one to the next, moved the least.

    Two 1s side by side stand two columns apart, and CTC tells them from one by a blank between their answers.
    """
    if len(middles) < 2 or np.diff(middles).min() >= APART:
        return middles
    steps = APART * np.arange(len(middles), dtype=np.float32)
    return np.asarray(isotonic_regression(middles - steps) + steps, np.float32)


def _loss(network: Member, images: Tensor, labels: list[NDArray[np.int64]], places: list[Tensor]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16(images.device)):
        answers = network(images.contiguous(memory_format=torch.channels_last))
    count, columns = answers.shape[:2]
    stride = STRIDE // network.answers
    targets = [torch.from_numpy(np.where(own == OTHER, OTHER_MARK, own + 1)) for own in labels]
    lengths = torch.tensor([len(target) for target in targets])
    shown = torch.full((count,), columns)
    text = F.ctc_loss(
        answers.transpose(0, 1), torch.cat(targets), shown, lengths, BLANK, reduction="sum", zero_infinity=True
    )
    wanted = torch.zeros(count, columns, dtype=torch.int64)
    middle = torch.arange(columns) * stride + stride / 2
    for row, (target, place) in enumerate(zip(targets, places, strict=True)):
        if len(target) == 0:
            continue
        reach = torch.minimum((place[:, 2] - place[:, 1]) / 4, _to_nearest(place[:, 0]) / 2 - STRIDE).clamp(min=1.01)
        far = (middle[:, None] - place[None, :, 0]).abs() / reach  # (columns, marks)
        nearest = far.argmin(1)
        inside = far.gather(1, nearest[:, None])[:, 0] <= 1
        wanted[row] = torch.where(inside, target[nearest], BLANK)
    where = F.nll_loss(answers.flatten(0, 1), wanted.flatten(), reduction="sum")
    return (text + PLACE_WEIGHT * stride * where) / lengths.sum().clamp(min=1)


def _to_nearest(middles: Tensor) -> Tensor:
    """Marks' middles (n,), rising -> how far each one's nearest neighbour is (n,); infinitely for one alone."""
    steps = F.pad(middles.diff(), (1, 1), value=math.inf)
    return torch.minimum(steps[:-1], steps[1:])
