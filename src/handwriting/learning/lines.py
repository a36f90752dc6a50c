"""The line network: a line of writing, straightened, in one look -> for each column, which digit stands there.

Single digits are cut from a line before the classifier sees them, and where digits touch no cut is right. This network
sees the line uncut, as recurrent readers do (A. Graves et al., "Connectionist temporal classification", 2006), but
with convolutions alone: its answers stay where the digits are, so they can be combined with cuts. It has
members of different `Design`, which learn side by side, each by itself, and answer together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from handwriting.errors import TrainingError
from handwriting.learning.augment import CALM
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
CPU = torch.device("cpu")
_FAR = 1e6  # columns: beyond any ribbon


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


@dataclass(frozen=True)
class LinesEpoch:
    """One pass: its number from 1, seconds, and for each design its mean loss and its weights' average so far."""

    number: int
    losses: tuple[float, ...]
    seconds: float
    networks: tuple[nn.Module, ...]


def train_lines(
    lines: Callable[[int], Lines],
    designs: Sequence[Design],
    *,
    epochs: int,
    generator: Generator,
    batch: int = 32,
    rate: float = RATE,
    calm: float = 0.3,
    starts: Sequence[Mapping[str, Tensor]] | None = None,
    device: torch.device = CPU,
) -> Iterator[LinesEpoch]:
    """``lines`` of each epoch, counted from 1 -> LinesEpochs in turn: a member of each design learns from the lines.

    By AdamW, in bfloat16 where the device computes in it. ``rate`` is the level learning rate, warmed up and cooled
    down; ``calm`` is the share of the steps, the last ones, in which ribbons are changed half as much; ``starts`` are
    the weights to go on from, if any. The loss is that of CTC (all alignments of the true text), and cross-entropy at
    each answer: the middle half of a mark is to answer its class, all else blank. The second makes learning quick and
    keeps answers in their places.

    Raises:
        TrainingError: fewer lines than a batch, or a loss that is not finite.
    """
    if epochs < 1:
        raise TrainingError(f"epochs must be at least 1, not {epochs}")
    with seeded(generator, device):
        networks = [Member(design).to(device) for design in designs]
        for network, start in zip(networks, starts or (), strict=bool(starts)):
            network.load_state_dict(start)
        for network in networks:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        averages = [Average(network, AVERAGE) for network in networks]
        optimizers = [
            torch.optim.AdamW(sparing(network.parameters(), WEIGHT_DECAY), rate, betas=(0.9, 0.99), fused=True)
            for network in networks
        ]
        chance = Generator(device).manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        step = 0
        for number in range(1, epochs + 1):
            material = lines(number)
            batches = list(_batches(np.array([image.shape[2] for image in material.images]), batch, generator))
            if not batches:
                raise TrainingError(f"{len(material.images)} lines are fewer than a batch of {batch}")
            started, totals = time.perf_counter(), torch.zeros(len(networks), device=device)
            packed = Packed(material, device)
            for network in networks:
                network.train()
            for place, rows in enumerate(batches):
                done = (number - 1 + place / len(batches)) / epochs
                images, labels, places = _prepared(packed, rows, chance, CALM if done >= 1 - calm else 1.0)
                step += 1
                for index, (network, average, optimizer) in enumerate(zip(networks, averages, optimizers, strict=True)):
                    set_rate(optimizer, rate * trapezoid(done, WARM_UP, COOL_DOWN))
                    loss = _loss(network, images, labels, places, packed.counts[rows])
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
                    optimizer.step()
                    average.update(step)
                    totals[index] += loss.detach()
            losses = tuple((totals / len(batches)).tolist())
            if not all(map(math.isfinite, losses)):
                raise TrainingError(f"the loss is not finite in epoch {number}; try another seed")
            averaged = tuple(average.network for average in averages)
            yield LinesEpoch(number, losses, time.perf_counter() - started, averaged)


def _batches(widths: NDArray[np.int64], batch: int, generator: Generator) -> Iterator[Tensor]:
    """Rows of lines of about the same width, in random order."""
    near = torch.from_numpy(widths).float() * (1 + 0.1 * torch.rand(len(widths), generator=generator))
    order = near.argsort()
    steps = len(widths) // batch
    start = int(torch.randint(len(widths) - steps * batch + 1, (1,), generator=generator))
    for place in torch.randperm(steps, generator=generator).tolist():
        yield order[start + place * batch : start + (place + 1) * batch]


class Packed:
    """n lines of at most M marks, on the device where they are learned from.

    Attributes:
        images: uint8 (2, 40, all their columns).
        starts: int64 (n,): the first of each line's columns; widths, int64 (n,): how many they are.
        labels: int64 (n, M): classes of the answers, BLANK where there is no mark.
        places: float32 (n, M, 3): as in Lines; 0 where there is no mark.
        widest, counts: int64 (n,), on the CPU: `widths`, and how many marks each line has.
    """

    def __init__(self, lines: Lines, device: torch.device) -> None:
        self.widest = torch.tensor([image.shape[2] for image in lines.images])
        self.images = torch.from_numpy(np.concatenate(lines.images, axis=2)).to(device)
        self.widths = self.widest.to(device)
        self.starts = self.widths.cumsum(0) - self.widths
        self.counts = torch.tensor([len(own) for own in lines.labels])
        shown = np.arange(max(int(self.counts.max()), 1)) < self.counts.numpy()[:, None]
        labels, places = np.zeros(shown.shape, np.int64), np.zeros((*shown.shape, 3), np.float32)
        known = np.concatenate(lines.labels)
        labels[shown] = np.where(known == OTHER, OTHER_MARK, known + 1)
        places[shown] = np.concatenate(lines.places)
        self.labels, self.places = torch.from_numpy(labels).to(device), torch.from_numpy(places).to(device)


def _prepared(lines: Packed, rows: Tensor, chance: Generator, strength: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (N,) of lines -> ribbons float32 (N, 2, 40, W), changed as other hands and pens would; labels; places.

    ``strength``: of the changes, 1 or less.
    """
    wide = math.ceil(int(lines.widest[rows].max()) * 1.15 / WIDTH_STEP) * WIDTH_STEP
    count, device = len(rows), lines.images.device
    rows = rows.to(device, non_blocking=True)
    widths, labels = lines.widths[rows], lines.labels[rows]
    left = (wide - widths) // 2
    columns = torch.arange(wide, device=device) - left[:, None]
    inside = (columns >= 0) & (columns < widths[:, None])
    columns = (columns.clamp_(min=0) + lines.starts[rows, None]).clamp_(max=lines.images.shape[2] - 1)
    images = lines.images[:, :, columns].permute(2, 0, 1, 3) * inside[:, None, None] / 255

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=chance, device=device)

    def change(low: float, high: float) -> Tensor:
        return strength * draw(low, high)

    # One affine map a line, output to input: x = stretch u + slant v, y = tilt u + zoom v + move; half sides are 1.
    stretch, zoom = 1 + change(-0.12, 0.18), 1 + change(-0.15, 0.18)
    slant, tilt, move = change(-0.3, 0.3), change(-0.04, 0.04), change(-0.15, 0.15)
    across = torch.stack([stretch, slant * ROWS / wide, torch.zeros_like(move)], 1)
    down = torch.stack([tilt * wide / ROWS, zoom, move], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), [count, 2, ROWS, wide], align_corners=False)
    # Other hands: the ribbon is bent as rubber (Simard et al. 2003, section 2), so no digit is seen twice.
    bend = torch.zeros(count, ROWS, wide, 2, device=device)
    for most, cell in BENDS:
        waves = torch.randn(count, 2, ROWS // cell, wide // cell, generator=chance, device=device)
        field = change(0, most)[:, None, None, None] * waves
        bend += F.interpolate(field, (ROWS, wide), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    images = F.grid_sample(images, grid + bend * bend.new_tensor([2 / wide, 2 / ROWS]), align_corners=False)
    places = (lines.places[rows] + (left - wide / 2)[:, None, None]) / stretch[:, None, None] + wide / 2
    bent = bend[:, ROWS // 2, :, 0].gather(1, places[..., 0].long().clamp_(0, wide - 1)) / stretch[:, None]
    places = places - bent[..., None]
    middles = apart(places[..., 0].masked_fill(labels == BLANK, math.inf))
    places = torch.cat([middles[..., None], places[..., 1:]], 2)
    # Pens: thicker, thinner, paler. The second channel is at times but the first: no rules were seen.
    pen = draw(0, 1)[:, None, None, None]
    thinner = (images + torch.minimum(images, images.roll(1, 3))) / 2
    images = torch.where(pen > 1 - 0.15 * strength, thinner, images)
    images = torch.where(pen < 0.12 * strength, F.max_pool2d(images, 3, 1, 1), images)
    images = images.clamp_(0, 1).pow((1 + change(-0.4, 0.6))[:, None, None, None])
    plain = (draw(0, 1) < 0.15)[:, None, None]
    images = torch.stack([images[:, 0], torch.where(plain, images[:, 0], images[:, 1])], 1)
    noise = torch.randn(images.shape, generator=chance, device=device)
    return (images + change(0, 0.08)[:, None, None, None] * noise).clamp_(0, 1), labels, places


def apart(middles: Tensor) -> Tensor:
    """Marks' middles (n, M), rising, in columns, infinite where a line has fewer -> the same, at least `APART` from one
    to the next, moved the least.

    Two 1s side by side stand two columns apart, and CTC tells them from one by a blank between their answers. Less the
    steps that they are to keep, middles need only not fall: isotonic regression, by its min-max formula (Robertson,
    Wright, Dykstra 1988, "Order Restricted Statistical Inference", section 1.4).
    """
    most = middles.shape[1]
    steps = APART * torch.arange(most, device=middles.device)
    sums = F.pad((middles.double() - steps).clamp_(max=_FAR).cumsum(1), (1, 0))
    order = torch.arange(most, device=middles.device)
    backwards = order < order[:, None]  # of the means from mark a to mark b, those with b before a
    means = (sums[:, None, 1:] - sums[:, :-1, None]) / (order - order[:, None] + 1)
    lowest = means.masked_fill(backwards, math.inf).flip(2).cummin(2).values.flip(2)
    moved = (lowest.masked_fill(backwards, -math.inf).amax(1) + steps).float()
    near = (_steps(middles) < APART).any(1, keepdim=True)
    return torch.where(near & middles.isfinite(), moved, middles)


def _steps(middles: Tensor) -> Tensor:
    """Marks' middles (n, M), rising, infinite where there is none -> from each to the next, (n, M - 1); or infinite."""
    return middles.diff().nan_to_num(nan=math.inf, posinf=math.inf)


def _loss(network: Member, images: Tensor, labels: Tensor, places: Tensor, counts: Tensor) -> Tensor:
    """``counts`` of marks lie on the CPU, where CTC's loss asks for them: on a GPU it would wait for the answers."""
    device = images.device
    with torch.autocast(device.type, torch.bfloat16, enabled=native_bfloat16(device)):
        answers = network(images.contiguous(memory_format=torch.channels_last))
    count, columns = answers.shape[:2]
    stride = STRIDE // network.answers
    shown = torch.full((count,), columns)
    text = F.ctc_loss(answers.transpose(0, 1), labels, shown, counts, BLANK, reduction="sum", zero_infinity=True)
    middle = torch.arange(columns, device=device) * stride + stride / 2
    to_next = F.pad(_steps(places[..., 0]), (1, 1), value=math.inf)
    to_nearest = torch.minimum(to_next[:, :-1], to_next[:, 1:])
    reach = torch.minimum((places[..., 2] - places[..., 1]) / 4, to_nearest / 2 - STRIDE).clamp_(min=1.01)
    far = (middle[:, None] - places[:, None, :, 0]).abs() / reach[:, None]  # (n, columns, M)
    nearest, which = far.min(2)
    wanted = torch.where(nearest <= 1, labels.gather(1, which), BLANK)
    where = F.nll_loss(answers.flatten(0, 1), wanted.flatten(), reduction="sum")
    return (text + PLACE_WEIGHT * stride * where) / max(int(counts.sum()), 1)
