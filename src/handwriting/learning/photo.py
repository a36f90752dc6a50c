"""What cameras, paper and pens do to a character, as augmentation: float32 (N, 1, 28, 28) -> the same, damaged.

Every effect works on a whole batch at once, on any device, from the generator that is passed in; every image of the
batch gets its own strengths. ``photograph`` draws for each image which effects it meets (``EFFECTS`` gives the
chances), in the order in which they happen to a real picture: pen, paper, light, lens, sensor. Labels stay true: no
effect covers more than a part of the character. Images are white ink (1) on black (0).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Generator, Tensor

Effect = Callable[[Tensor, Generator], Tensor]
Effects = tuple[tuple[Effect, float], ...]  # with the chance that an image meets each


def uniform(images: Tensor, generator: Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """One number an image, even in [low, high) -> (N, 1, 1, 1), on the images' device."""
    drawn = torch.rand(len(images), 1, 1, 1, generator=generator, device=generator.device)
    return (low + (high - low) * drawn).to(images.device)


def normal(images: Tensor, generator: Generator, *shape: int) -> Tensor:
    """Standard normal numbers -> (N, 1, *shape), on the images' device."""
    return torch.randn(len(images), 1, *shape, generator=generator, device=generator.device).to(images.device)


def axes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel centres of images (..., H, W) in -1..1 -> x (1, 1, 1, W), y (1, 1, H, 1)."""
    height, width = images.shape[-2:]
    x = (torch.arange(width, device=images.device) + 0.5) / width * 2 - 1
    y = (torch.arange(height, device=images.device) + 0.5) / height * 2 - 1
    return x.view(1, 1, 1, -1), y.view(1, 1, -1, 1)


def smooth_field(images: Tensor, generator: Generator, cells: int) -> Tensor:
    """Noise that changes slowly, about standard normal: ``cells`` across -> (N, 1, H, W)."""
    return F.interpolate(
        normal(images, generator, cells, cells), size=images.shape[-2:], mode="bicubic", align_corners=False
    )


def dilate(images: Tensor) -> Tensor:
    """Each pixel takes the brightest of its 3x3 neighbours."""
    return F.max_pool2d(images, 3, 1, 1)


def erode(images: Tensor) -> Tensor:
    """Each pixel takes the darkest of its 3x3 neighbours."""
    return -F.max_pool2d(-images, 3, 1, 1)


# --- the pen -----------------------------------------------------------------------------------------------------


def thickness(images: Tensor, generator: Generator) -> Tensor:
    """From a thin pencil to a marker: mixed with its erosion or with its (double) dilation."""
    amount = uniform(images, generator, -0.9, 1.8)
    thick = dilate(images)
    wider = torch.lerp(images, thick, amount.clamp(0, 1))
    wider = torch.lerp(wider, dilate(thick), (amount - 1).clamp(0, 1))
    return torch.lerp(wider, erode(images), (-amount).clamp(0, 1))


def outline(images: Tensor, generator: Generator) -> Tensor:
    """Hollow strokes, as edge filters, outline pens and bad binarisation leave them."""
    inner, outer = erode(images), dilate(images)
    hollow = outer - torch.lerp(inner, images, (uniform(images, generator) < 0.5).float())
    return (hollow * uniform(images, generator, 0.8, 2.5)).clamp(0, 1)


def hard_edges(images: Tensor, generator: Generator) -> Tensor:
    """Binarised edges, as a threshold on a photo leaves them; its level makes strokes thinner or thicker."""
    level, steepness = uniform(images, generator, 0.2, 0.65), uniform(images, generator, 4, 30)
    return ((images - level) * steepness + 0.5).clamp(0, 1)


def misplace(images: Tensor, generator: Generator) -> Tensor:
    """Wrong box: scaled by 0.55 to 1.2, shifted by up to 5 pixels, turned and slanted up to about 30 degrees."""
    turn = uniform(images, generator, -0.55, 0.55).flatten()
    slant = uniform(images, generator, -0.4, 0.4).flatten()
    zoom = 1 / uniform(images, generator, 0.55, 1.2).flatten()
    aspect = uniform(images, generator, 0.85, 1.18).flatten()
    cos, sin = turn.cos() * zoom, turn.sin() * zoom
    move_x, move_y = (
        uniform(images, generator, -0.28, 0.28).flatten(),
        uniform(images, generator, -0.28, 0.28).flatten(),
    )
    rows = [cos * aspect, (slant * cos - sin), move_x, sin * aspect, (slant * sin + cos), move_y]
    matrix = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


# --- the paper ---------------------------------------------------------------------------------------------------


def ruled(images: Tensor, generator: Generator) -> Tensor:
    """Straight lines across: one, or ruled, or squared paper; lighter or darker than the ink, or wiping it out."""
    x, y = axes(images)
    angle = uniform(images, generator, -0.25, 0.25) + math.pi / 2 * (uniform(images, generator) < 0.5)
    angle = torch.where(uniform(images, generator) < 0.25, uniform(images, generator, 0, math.pi), angle)
    half = uniform(images, generator, 0.02, 0.09)
    period = torch.where(uniform(images, generator) < 0.5, 8.0, uniform(images, generator, 0.35, 1.2))

    def lines(direction: Tensor) -> Tensor:
        across = x * direction.cos() + y * direction.sin() + uniform(images, generator, -0.9, 0.9)
        distance = (across - period * (across / period).round()).abs()
        return ((half - distance) * 14 + 0.5).clamp(0, 1)

    mask = lines(angle)
    squared = lines(angle + math.pi / 2) * (uniform(images, generator) < 0.25)
    return torch.lerp(images, uniform(images, generator), torch.maximum(mask, squared))


def strays(images: Tensor, generator: Generator) -> Tensor:
    """A stray stroke of one to six straight pieces crossing the character (underlines, tails, bits of zigzag)."""
    count, pieces = len(images), 6
    corners = torch.rand(count, pieces + 1, 2, generator=generator, device=generator.device).to(images.device)
    step = torch.arange(pieces + 1, device=images.device) / pieces
    zigzag = torch.stack([step.expand(count, -1), corners[..., 1]], -1)
    zigzag = torch.where((uniform(images, generator) < 0.5).view(-1, 1, 1), zigzag, zigzag.flip(-1))
    corners = torch.where(
        (uniform(images, generator) < 0.5).view(-1, 1, 1), corners, zigzag * 0.5 + corners * 0.2 + 0.15
    )
    drawn = 1 + (uniform(images, generator) * pieces).long()
    unused = torch.arange(pieces, device=images.device).view(1, -1, 1, 1) >= drawn
    distance = _to_path(images, corners * 2.6 - 1.3).masked_fill(unused, 9.0).amin(1, keepdim=True)
    mask = ((uniform(images, generator, 0.02, 0.12) - distance) * 14 + 0.5).clamp(0, 1)
    return torch.lerp(images, uniform(images, generator, 0.4, 1.1).clamp(max=1).expand_as(images), mask)


def crossed_out(images: Tensor, generator: Generator) -> Tensor:
    """A pen's zigzag right across the character, at any angle: four to eight turns, up to 6 pixels to either side."""
    count, pieces = len(images), 8
    wander = torch.rand(count, pieces + 1, 2, generator=generator, device=generator.device).to(images.device) - 0.5
    turns = uniform(images, generator, 4, 8.99).long().view(-1, 1)
    step = torch.arange(pieces + 1, device=images.device).expand(count, -1)
    along = (step / turns * 2 - 1) * 1.15 + 0.1 * wander[..., 0]
    swing = uniform(images, generator, 0.08, 0.42).view(-1, 1)
    across = swing * (1 - 2 * (step % 2)) + uniform(images, generator, -0.45, 0.45).view(-1, 1) + 0.1 * wander[..., 1]
    angle = uniform(images, generator, 0, 2 * math.pi).view(-1, 1)
    cos, sin = angle.cos(), angle.sin()
    corners = torch.stack([along * cos - across * sin, along * sin + across * cos], -1)
    distance = _to_path(images, corners).amin(1, keepdim=True)
    mask = ((uniform(images, generator, 0.02, 0.09) - distance) * 14 + 0.5).clamp(0, 1)
    return torch.maximum(images, mask * uniform(images, generator, 0.5, 1.1).clamp(max=1))


def _to_path(images: Tensor, corners: Tensor) -> Tensor:
    """Corners (N, P + 1, 2) in -1..1 -> distance of every pixel to each of the P pieces between, (N, P, H, W)."""
    corners = corners[:, :, None, None, :]
    x, y = axes(images)
    start, way = corners[:, :-1], corners[:, 1:] - corners[:, :-1]
    along = ((x - start[..., 0]) * way[..., 0] + (y - start[..., 1]) * way[..., 1]) / way.square().sum(-1).clamp(1e-4)
    along = along.clamp(0, 1)
    return torch.hypot(x - start[..., 0] - along * way[..., 0], y - start[..., 1] - along * way[..., 1])


def spatter(images: Tensor, generator: Generator) -> Tensor:
    """Blots of ink and spots without it."""
    field = smooth_field(images, generator, 11)
    blots = ((field - uniform(images, generator, 1.1, 2.2)) * 6).clamp(0, 1)
    gaps = ((-field - uniform(images, generator, 1.1, 2.4)) * 6).clamp(0, 1)
    return torch.maximum(images, blots * uniform(images, generator, 0.3, 1)) * (1 - gaps * uniform(images, generator))


def bands(images: Tensor, generator: Generator) -> Tensor:
    """Broad bars of another shade at the sides, as shadows and printed borders; some turn ink and paper round."""
    x, y = axes(images)
    along = torch.where(uniform(images, generator) < 0.5, x, y)
    low, high = uniform(images, generator, -1.2, -0.3), uniform(images, generator, 0.3, 1.2)
    outside = ((along < low) | (along > high)).float()
    shade = uniform(images, generator)
    covered = torch.maximum(images * (1 - shade), shade)
    turned = torch.where(uniform(images, generator) < 0.6, 1 - images, covered)
    return torch.lerp(images, turned, outside)


# --- the light ---------------------------------------------------------------------------------------------------


def uneven_light(images: Tensor, generator: Generator) -> Tensor:
    """Grey paper with a gradient and clouds (fog): the background rises, the ink keeps 30 to 100% above it."""
    x, y = axes(images)
    slope_x, slope_y = uniform(images, generator, -0.35, 0.35), uniform(images, generator, -0.35, 0.35)
    clouds = uniform(images, generator, 0, 0.25) * smooth_field(images, generator, 4)
    clouds = clouds + uniform(images, generator, 0, 0.15) * smooth_field(images, generator, 9)
    paper = (uniform(images, generator, 0, 0.8) + slope_x * x + slope_y * y + clouds).clamp(0, 0.9)
    return paper + (1 - paper) * images * uniform(images, generator, 0.3, 1)


def low_contrast(images: Tensor, generator: Generator) -> Tensor:
    """Faint ink, or milky blacks: squeezed to 12-90% of the range, anywhere in it; some gamma."""
    images = images.clamp(0, 1) ** uniform(images, generator, -0.8, 0.8).exp()
    contrast = uniform(images, generator, 0.12, 0.9)
    return images * contrast + (1 - contrast) * uniform(images, generator) * (uniform(images, generator) < 0.6)


# --- the lens and the sensor ---------------------------------------------------------------------------------------


def blur(images: Tensor, generator: Generator) -> Tensor:
    """Out of focus, a Gaussian of 0.3 to 1.7 pixels; or moved, up to 3 pixels along any direction and 0.6 across."""
    count, radius = len(images), 5
    angle = uniform(images, generator, 0, math.pi)
    along = uniform(images, generator, 0.3, 1.7)
    across = torch.where(uniform(images, generator) < 0.5, along, 0.2 + 0.4 * uniform(images, generator))
    along = torch.where(across < along, along * 1.8, along)  # motion smears further than defocus
    step = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    dx, dy = step.view(1, 1, 1, -1), step.view(1, 1, -1, 1)
    u, v = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    kernel = torch.exp(-((u / along) ** 2) / 2 - (v / across) ** 2 / 2)
    kernel = kernel / kernel.sum((2, 3), keepdim=True)
    padded = F.pad(images.transpose(0, 1), (radius,) * 4, mode="replicate")
    return F.conv2d(padded, kernel, groups=count).transpose(0, 1)


def glass(images: Tensor, generator: Generator) -> Tensor:
    """Seen through wavy glass: every pixel is fetched up to about 2 pixels away."""
    x, y = axes(images)
    strength = uniform(images, generator, 0.02, 0.09)
    cells = images.shape[-1]
    dx = smooth_field(images, generator, cells // 2) * strength
    dy = smooth_field(images, generator, cells // 2) * strength
    return F.grid_sample(images, torch.cat([x + dx, y + dy], 1).permute(0, 2, 3, 1), align_corners=False)


def low_resolution(images: Tensor, generator: Generator) -> Tensor:
    """A picture of 8 to 20 pixels made larger again, smoothly or in blocks."""
    result = images.clone()
    sizes = torch.randint(8, 21, (4,), generator=generator, device=generator.device).tolist()
    for part, size in enumerate(sizes):
        rows = slice(part, None, len(sizes))
        if len(images[rows]):
            small = F.adaptive_avg_pool2d(images[rows], size)
            if part % 2:
                result[rows] = F.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
            else:
                result[rows] = F.interpolate(small, size=images.shape[-2:], mode="nearest")
    return result


def sensor_noise(images: Tensor, generator: Generator) -> Tensor:
    """Grain: Gaussian, the same everywhere or growing with the light (shot noise), up to 0.4."""
    strength = uniform(images, generator, 0, 0.4)
    shot = torch.where(uniform(images, generator) < 0.5, torch.ones_like(images), images.clamp(0.02, 1).sqrt() * 1.4)
    return images + normal(images, generator, *images.shape[-2:]) * strength * shot


def salt_and_pepper(images: Tensor, generator: Generator) -> Tensor:
    """Up to 30% of the pixels replaced by pure white or black."""
    half = uniform(images, generator, 0, 0.15)
    drawn = torch.rand(images.shape, generator=generator, device=generator.device).to(images.device)
    return torch.where(drawn < half, 0.0, torch.where(drawn > 1 - half, 1.0, images))


# effect -> chance that an image of photograph's share meets it; the order is the order of events
EFFECTS: Effects = (
    (thickness, 0.35),
    (outline, 0.07),
    (misplace, 0.25),
    (hard_edges, 0.2),
    (ruled, 0.15),
    (strays, 0.2),
    (spatter, 0.1),
    (bands, 0.08),
    (uneven_light, 0.3),
    (low_contrast, 0.15),
    (blur, 0.2),
    (glass, 0.06),
    (low_resolution, 0.1),
    (sensor_noise, 0.25),
    (salt_and_pepper, 0.1),
)
# For a last stage of training: what the table above was weakest at on valid, met more often.
LATE_EFFECTS = ((crossed_out, 0.1), *EFFECTS)


def photograph(images: Tensor, generator: Generator, share: float = 0.5, effects: Effects = EFFECTS) -> Tensor:
    """A batch float32 (N, 1, 28, 28) in [0, 1] -> the same shape and range; about ``share`` of it degraded.

    The rest is returned unchanged, so that a model keeps its accuracy on clean characters. The input is not modified.

    Raises:
        ValueError: ``share`` outside [0, 1], or images not (N, 1, H, W).
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}: give the part of a batch to degrade, 0 to 1")
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"images have shape {tuple(images.shape)}: give (N, 1, H, W)")
    result = images.clone()
    touched = torch.rand(len(images), generator=generator, device=generator.device) < share
    for effect, chance in effects:
        meets = torch.rand(len(images), generator=generator, device=generator.device) < chance
        (rows,) = torch.nonzero((touched & meets).to(images.device), as_tuple=True)
        if len(rows):
            result[rows] = effect(result[rows], generator)
    return result.clamp_(0, 1)
