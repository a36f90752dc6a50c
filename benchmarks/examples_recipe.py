"""The MNIST recipe of the PyTorch examples, written anew from its published settings, given this project's loader.

Settings: conv 3x3 of 32 and 64, max-pool, dropout 0.25, linear 128, dropout 0.5; Adadelta at 1.0, times 0.7 after each
epoch; batches of 64; 14 epochs; pixels to mean 0.1307, deviation 0.3081; all 60,000 training images, no valid part.
https://github.com/pytorch/examples/tree/main/mnist
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

from handwriting.data import Dataset

EPOCHS = 14
_BATCH = 64


class ExamplesNetwork(nn.Module):
    """Images float (N, 28, 28) in [0, 1] -> logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.linear1 = nn.Linear(9216, 128)
        self.linear2 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images -> logits."""
        x = ((images - 0.1307) / 0.3081).unsqueeze(1)
        x = F.max_pool2d(self.conv2(self.conv1(x).relu()).relu(), 2)
        x = F.dropout(x, 0.25, self.training).flatten(1)
        logits: Tensor = self.linear2(F.dropout(self.linear1(x).relu(), 0.5, self.training))
        return logits


def train(data: Dataset, seed: int, device: torch.device, epochs: int = EPOCHS) -> Iterator[tuple[nn.Module, float]]:
    """Train on all of a data set -> after each epoch the network and the seconds of training so far."""
    torch.manual_seed(seed)
    started = time.perf_counter()
    images, labels = torch.from_numpy(data.images).to(device), torch.from_numpy(data.labels).to(device)
    network = ExamplesNetwork().to(device)
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.7)
    seconds = time.perf_counter() - started
    for _ in range(epochs):
        started = time.perf_counter()
        network.train()
        for batch in torch.randperm(len(labels)).to(device).split(_BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch].float().div_(255)), labels[batch]).backward()
            optimizer.step()
        schedule.step()
        seconds += time.perf_counter() - started
        yield network, seconds
