"""Augmentation of a batch that a recipe asks for: uint8 (N, 28, 28) -> float32 (N, 28, 28) in [0, 1], other ink.

Everything is drawn from the generator that is passed in, on its device, for the whole batch at once. The effects of
cameras and paper are in `handwriting.learning.photo`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Generator, Tensor

from handwriting.learning.photo import photograph
from handwriting.learning.recipes import Recipe

# At strength 1; chosen on MNIST's valid part. Radians, shares and, for moves, shares of half the width.
TURN, SLANT, ZOOM, ASPECT, MOVE = 0.22, 0.2, 0.12, 0.1, 0.16
ELASTIC, ELASTIC_CELLS = 0.045, 7
CALM = 0.5  # of its strength is left of a warp in the calm end of a training


def augment(images: Tensor, recipe: Recipe, generator: Generator, done: float = 0.0) -> Tensor:
    """A batch uint8 (N, 28, 28) -> float32 (N, 28, 28) in [0, 1], changed as the recipe says.

    Args:
        images: the batch.
        recipe: what is done to it.
        generator: all that is drawn comes from it.
        done: the share of the training that is done, in [0, 1): warps are weaker in the recipe's calm end.
    """
    if recipe.shift:
        images = shift(images, recipe.shift, generator)
    pixels = images.float().div_(255)
    if recipe.warp:
        pixels = warp(pixels, recipe.warp * (CALM if calm(recipe, done) else 1.0), generator)
    if recipe.photo:
        pixels = photograph(pixels.unsqueeze(1), generator, recipe.photo).squeeze(1)
    if recipe.erase:
        pixels = erase(pixels, recipe.erase, generator)
    return pixels


def calm(recipe: Recipe, done: float) -> bool:
    """Whether a training of which the share `done`, in [0, 1), is done has come to its calm end."""
    return done >= 1 - recipe.calm


def shift(images: Tensor, reach: int, generator: Generator) -> Tensor:
    """Images (N, H, W) -> the whole batch moved together by up to `reach` pixels down and right, 0 moving in.

    One move a batch is one crop, which costs nothing; over the steps of an epoch it serves as well as one an image.
    """
    height, width = images.shape[1:]
    drawn = torch.randint(0, 2 * reach + 1, (2, 1), generator=generator, device=generator.device).to(images.device)
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    padded = F.pad(images, (reach, reach, reach, reach))
    # By index, not by slice: the numbers stay on the device, and a GPU need not be waited for.
    return padded.index_select(1, rows + drawn[0]).index_select(2, columns + drawn[1])


def warp(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Images float32 (N, H, W) -> each turned, slanted, zoomed, stretched, moved, and bent as if on a rubber sheet.

    The bending is a random field on 7x7 points, made smooth (after P. Simard et al., "Best practices for convolutional
    neural networks applied to visual document analysis", 2003, section 2). One `grid_sample` does all of it.
    """
    count, height, width = images.shape

    def draw(reach: float) -> Tensor:
        drawn = torch.rand(count, generator=generator, device=generator.device).to(images.device)
        return (drawn * 2 - 1) * reach * strength

    turn, zoom, aspect = draw(TURN), 1 + draw(ZOOM), 1 + draw(ASPECT)
    cos, sin = turn.cos() * zoom, turn.sin() * zoom
    across = torch.stack([cos * aspect, (draw(SLANT) - turn.sin()) * zoom, draw(MOVE)], 1)
    down = torch.stack([sin, cos / aspect, draw(MOVE)], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), [count, 1, height, width], align_corners=False)
    shape = (count, 2, ELASTIC_CELLS, ELASTIC_CELLS)
    field = torch.randn(shape, generator=generator, device=generator.device).to(images.device)
    # Bicubic interpolation is linear: two small products do in 0.5 ms a batch what `interpolate` takes 4 ms for.
    rows, columns = _bicubic(ELASTIC_CELLS, height, field), _bicubic(ELASTIC_CELLS, width, field)
    bend = torch.einsum("hi,ncij,wj->nhwc", rows, field, columns)
    return F.grid_sample(images.unsqueeze(1), grid + bend * ELASTIC * strength, align_corners=False).squeeze(1)


def _bicubic(cells: int, size: int, like: Tensor) -> Tensor:
    """The matrix (size, cells) that interpolates `cells` values bicubically to `size`, on the device of `like`."""
    units = torch.eye(cells, device=like.device, dtype=like.dtype)
    return F.interpolate(units[None, None], size=(size, cells), mode="bicubic", align_corners=False)[0, 0]


def erase(images: Tensor, chance: float, generator: Generator) -> Tensor:
    """Images (N, H, W) -> a box of 4 to 14 pixels a side set to 0 in about `chance` of them.

    After Z. Zhong et al., "Random erasing data augmentation" (2017), with paper instead of noise.
    """
    count, height, width = images.shape

    def draw(low: float, high: float) -> Tensor:
        drawn = torch.rand(count, 1, generator=generator, device=generator.device).to(images.device)
        return low + (high - low) * drawn

    rows = (torch.arange(height, device=images.device) + 0.5 - draw(0, height)).abs() < draw(2, 7)
    columns = (torch.arange(width, device=images.device) + 0.5 - draw(0, width)).abs() < draw(2, 7)
    hit = draw(0, 1) < chance
    return images.masked_fill(rows[:, :, None] & columns[:, None, :] & hit[:, :, None], 0.0)
