"""Networks: float32 (N, 28, 28) in [0, 1] -> logits float32 (N, C); normalisation is their own first step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


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


NETWORKS: dict[str, Callable[[int], nn.Module]] = {"classic": Classic}


def build(network: str, classes: int, seed: int) -> nn.Module:
    """A network's name, the number of classes and a seed -> the network with its initial weights.

    The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[network](classes)


def first_linear(network: nn.Module) -> nn.Linear:
    """The first linear layer, whose weights the L2 penalty acts on."""
    return next(module for module in network.modules() if isinstance(module, nn.Linear))
