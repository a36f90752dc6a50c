"""`Whitening`: a first convolution whose filters come from the data's own statistics and never learn."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

_SAMPLE = 512  # images: their 73,728 patches give 25 principal directions exactly enough
_SMOOTHING = 0.01  # added to the variances (of pixels scaled to unit variance), so that noise is not blown up


class Whitening(nn.Module):
    """Patches of one channel -> their strongest principal directions at unit variance, each with both signs.

    After A. Coates, A. Ng, "Learning feature representations with k-means" (2012, section 3), and the first layer of
    K. Jordan, "94% on CIFAR-10 in 3.29 seconds" (2024, section 3.2). Both signs, because ReLU follows.
    (N, 1, H, W) -> (N, filters, (H - size) / stride + 1, the same for W). Weights are buffers: saved, never trained.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, filters: int, *, size: int, stride: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        self.register_buffer("weight", torch.zeros(filters, 1, size, size))
        self.register_buffer("bias", torch.zeros(filters))

    def fit(self, images: Tensor) -> None:
        """Take the filters from images uint8 (N, H, W), N >= 1; at most 512 of them, evenly spread, are used."""
        chosen = images[:: max(1, len(images) // _SAMPLE)][:_SAMPLE].cpu().float().div_(255)
        mean, deviation = chosen.mean(), chosen.std().clamp(min=1e-3)
        patches = F.unfold((chosen.unsqueeze(1) - mean) / deviation, self.size, stride=self.stride)
        patches = patches.transpose(1, 2).reshape(-1, self.size**2)
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        strongest = (directions / (variances + _SMOOTHING).sqrt()).T.flip(0)[: len(self.weight) // 2]
        filters = torch.cat([strongest, -strongest]).view_as(self.weight)
        # The scaling of pixels is folded in: W (x - mean) / deviation = (W / deviation) x - sum(W) mean / deviation.
        self.weight.copy_(filters / deviation)
        self.bias.copy_(-filters.sum((1, 2, 3)) * mean / deviation)

    def forward(self, images: Tensor) -> Tensor:
        """Images float (N, 1, H, W) in [0, 1] -> whitened patches (N, filters, H', W')."""
        return F.conv2d(images, self.weight, self.bias, self.stride)
