"""Networks: float32 (N, 28, 28) in [0, 1] -> logits float32 (N, C); normalisation is their own first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

from handwriting.learning.whitening import Whitening

# Where test-time views lie, in pixels (down, right) from the image: the mean over them is steadier than one look.
VIEWS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


class Classic(nn.Module):
    """Two hidden convolutional layers of 7x7 filters, two max-pools, two linear layers.

    (N, 28, 28) -> conv 7x7, 32, padding 1 -> 24 -> pool -> 12 -> conv 7x7, 64, padding 1 -> 8 -> pool -> 4 -> linear
    1024 -> 128 -> C, with ReLU between: 234,506 parameters for 10 classes; trained on pixels in [0, 1] as they are.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 7, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 7, padding=1)
        self.linear1 = nn.Linear(1024, 128)
        self.linear2 = nn.Linear(128, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images float (N, 28, 28) in [0, 1] -> logits (N, C)."""
        x = nn.functional.max_pool2d(self.conv1(images.unsqueeze(1)).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        logits: Tensor = self.linear2(self.linear1(x.flatten(1)).relu())
        return logits


class Fast(nn.Module):
    """As little work as 99% needs: a whitening stem that never learns, and two convolutions.

    (N, 28, 28) -> whitening 5x5, stride 2, 32 -> 12 -> conv 3x3, 32 -> 10 -> pool -> 5 -> conv 3x3, 64 -> 3 -> linear
    576 -> C; batch normalisation and ReLU after each learned convolution: 33,610 learned parameters for 10 classes.

    The stem is where most of the backward pass would go, so it has none: its filters come from the data (`Whitening`).
    Normalisation comes after the pool, not before: a quarter of the elements to work on.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = Whitening(32, size=5, stride=2)
        self.conv1 = nn.Conv2d(32, 32, 3, bias=False)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.norm2 = nn.BatchNorm2d(64)
        self.linear = nn.Linear(64 * 3 * 3, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images float (N, 28, 28) in [0, 1] -> logits (N, C)."""
        x = self.stem(images.unsqueeze(1)).relu_()
        x = self.norm1(F.max_pool2d(self.conv1(x), 2)).relu_()
        x = self.norm2(self.conv2(x)).relu_()
        logits: Tensor = self.linear(_flatten(x))
        return logits


class Strong(nn.Module):
    """The stem of `Fast` and four wide convolutions.

    (N, 28, 28) -> whitening 5x5, stride 2, 32 -> 12 -> conv 3x3, 128 -> 10 -> conv 3x3, 128 -> 8 -> pool -> 4 -> conv
    3x3, padding 1, 256 -> 4 -> conv 3x3, 256 -> 2 -> dropout 0.2 -> linear 1024 -> C; batch normalisation and ReLU
    after each learned convolution: 1,080,842 learned parameters for 10 classes.

    A learned convolution at full resolution in place of the stem took half of a step's time, in normalisation, ReLU and
    their gradients on 26x26 maps, and gave nothing for it; half the width is worse, however long it learns:
    docs/experiments.md.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = Whitening(32, size=5, stride=2)
        self.features = nn.Sequential(
            *_block(32, 128),
            *_block(128, 128, pool=True),
            *_block(128, 256, padding=1),
            *_block(256, 256),
        )
        self.linear = nn.Linear(256 * 2 * 2, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images float (N, 28, 28) in [0, 1] -> logits (N, C)."""
        x = self.features(self.stem(images.unsqueeze(1)).relu_())
        logits: Tensor = self.linear(F.dropout(_flatten(x), 0.2, self.training))
        return logits


def _block(channels: int, out: int, *, padding: int = 0, pool: bool = False) -> list[nn.Module]:
    """Convolution 3x3, pool where asked for, batch normalisation, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(channels, out, 3, padding=padding, bias=False)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return [*layers, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


def _flatten(maps: Tensor) -> Tensor:
    """Maps (N, C, H, W) -> (N, H W C): of maps that lie channels last a view, where `flatten` would copy both ways."""
    return maps.permute(0, 2, 3, 1).flatten(1)


class Ensemble(nn.Module):
    """Several networks, and several views of each image, that answer as one.

    In evaluation: images (N, 28, 28) -> the logarithm of the mean probability over members and views (N, C). In
    training, each member has its own part of the batch and learns from nothing else: images (K N, 28, 28) -> logits
    (K N, C), member k's in rows k N to (k + 1) N.

    Attributes:
        members: K networks.
        views: how many of `VIEWS` each member looks at in evaluation.
    """

    def __init__(self, members: Sequence[nn.Module], views: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.views = VIEWS[:views]

    def forward(self, images: Tensor) -> Tensor:
        """Images float in [0, 1] -> logits, as the class says for each mode."""
        if self.training:
            parts = images.chunk(len(self.members))
            return torch.cat([member(part) for member, part in zip(self.members, parts, strict=True)])
        reach = 1
        padded = F.pad(images, (reach, reach, reach, reach))
        seen = [
            padded[:, reach + down : reach + down + 28, reach + right : reach + right + 28]
            for down, right in self.views
        ]
        return together([member(view).log_softmax(1) for member in self.members for view in seen])


def together(answers: Sequence[Tensor]) -> Tensor:
    """Log-probabilities by several networks or of several views, shapes alike -> the log of their mean probability."""
    return torch.stack(list(answers)).logsumexp(0) - math.log(len(answers))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {"classic": Classic, "fast": Fast, "strong": Strong}
# Whose weights lie channels last: a step of `fast` then takes 7.5 ms in bfloat16 instead of 11.4.
_CHANNELS_LAST = ("fast", "strong")


def build(network: str, classes: int, seed: int, *, ensemble: int = 1, views: int = 1) -> nn.Module:
    """A network's name, the number of classes and a seed -> the network with its initial weights.

    With `ensemble` or `views` above 1 an Ensemble of so many, whose first member is the one that the seed alone gives.
    The caller's random state is left as it was.
    """
    members = []
    for index in range(ensemble):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((seed + index * 0x9E3779B1) % 2**32)  # far from the seeds that people choose
            member = NETWORKS[network](classes)
        if network in _CHANNELS_LAST:
            member.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
        members.append(member)
    return members[0] if ensemble == 1 and views == 1 else Ensemble(members, views)


def first_linears(network: nn.Module) -> list[nn.Linear]:
    """The first linear layer of the network, or of each member, whose weights the L2 penalty acts on."""
    members = network.members if isinstance(network, Ensemble) else [network]
    return [next(module for module in member.modules() if isinstance(module, nn.Linear)) for member in members]


def adjust(network: nn.Module, images: Tensor) -> None:
    """Set what a network takes from the data before it learns: its whitening layers, from images uint8 (N, 28, 28)."""
    for module in network.modules():
        if isinstance(module, Whitening):
            module.fit(images)
