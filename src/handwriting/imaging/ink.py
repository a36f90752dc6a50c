"""Where the ink is: polarity decided, light flattened, one number 0..1 a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.errors import PictureError

Level = TypeVar("Level", np.uint8, np.float32)

# The paper is estimated on a picture of at most this side: light changes slowly, and it keeps a page to milliseconds.
PAPER_SIDE = 160


@dataclass(frozen=True)
class Ink:
    """How much ink lies at each pixel, and what it was read from."""

    strength: NDArray[np.float32]  # (H, W), share of the paper's light that the ink takes, 0..1, not stretched
    light_ink: bool  # the picture had light ink on dark paper
    noise: float  # standard deviation of ``strength`` on plain paper


def grey_levels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, 3) RGB -> uint8 (H, W). Raises PictureError for any other array."""
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
        raise PictureError(
            f"picture: {picture.dtype} {picture.shape}, expected uint8 (H, W) or (H, W, 3); open_picture makes it so"
        )
    if picture.size == 0:
        raise PictureError(f"picture: the array has no pixels {picture.shape}")
    if picture.ndim == 2:
        return np.ascontiguousarray(picture)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), np.uint8)


def ink_map(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (H, W) or (H, W, 3) RGB -> float32 (H, W) in 0..1: light ink on dark, illumination flattened.

    Paper is near 0 and the darkest strokes are 1, whatever the polarity, shadow or gradient. Nothing is removed or
    thresholded. A picture without contrast is all 0. Raises PictureError for any other array.
    """
    ink = find_ink(grey_levels(picture))
    floor = 2.0 * ink.noise
    strong = ink.strength[ink.strength > max(floor, 0.02)]
    if strong.size == 0:
        return np.zeros_like(ink.strength)
    full = max(float(np.percentile(strong, 90)), floor + 0.02)
    return np.asarray(np.clip((ink.strength - floor) / (full - floor), 0.0, 1.0), np.float32)


def find_ink(grey: NDArray[np.uint8]) -> Ink:
    """uint8 (H, W) -> Ink: what the strokes take from the light of the paper around them."""
    light_ink = has_light_ink(grey)
    dark_ink = (255 - grey if light_ink else grey).astype(np.float32)
    paper = np.maximum(paper_light(dark_ink), 1.0)
    strength = np.clip(1.0 - dark_ink / paper, 0.0, 1.0).astype(np.float32)
    return Ink(strength, light_ink, _noise(dark_ink) / float(np.median(paper)))


def has_light_ink(grey: NDArray[np.uint8]) -> bool:
    """uint8 (H, W) -> whether the ink is lighter than the paper.

    Three witnesses: what lies along the border (paper, mostly), which side of Otsu's threshold is the smaller one,
    and whether thin structures stand out as dark (black-hat) or as light (top-hat), which shadows do not change.
    """
    small = _shrunk(grey, PAPER_SIDE)
    level, _ = cv2.threshold(small, 0, 255, cv2.THRESH_OTSU)
    light = small > level
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    kernel = _disc(max(small.shape) // 4)
    black_hat = float(cv2.morphologyEx(small, cv2.MORPH_BLACKHAT, kernel).sum())
    top_hat = float(cv2.morphologyEx(small, cv2.MORPH_TOPHAT, kernel).sum())
    hats = (top_hat - black_hat) / max(top_hat + black_hat, 1.0)
    vote = (0.5 - float(border.mean())) + (0.5 - float(light.mean())) + 0.5 * hats
    return vote > 0


def paper_light(dark_ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (H, W), ink darker than paper -> float32 (H, W): the light of the paper as if nothing were written.

    A grey closing with a disc wider than any stroke: it fills strokes from the paper around them and leaves the
    edges of shadows where they are, which a blur or a fitted plane would not.
    """
    height, width = dark_ink.shape
    small = _shrunk(dark_ink, PAPER_SIDE)
    # Noise would be lifted to its maximum by the closing.
    calm = cv2.medianBlur(small, 3) if min(small.shape) >= 32 else small
    size = max(3, round(0.35 * max(small.shape)))
    closed = cv2.morphologyEx(calm, cv2.MORPH_CLOSE, _disc(size), borderType=cv2.BORDER_REPLICATE)
    smooth = cv2.GaussianBlur(closed, (0, 0), max(1.0, size / 6.0))
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _shrunk(grey: NDArray[Level], side: int) -> NDArray[Level]:
    """The picture with its longest side at most ``side``, averaged down."""
    height, width = grey.shape
    scale = side / max(height, width)
    if scale >= 1:
        return grey
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), grey.dtype)


def _disc(size: int) -> NDArray[np.uint8]:
    size = max(3, size | 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _noise(grey: NDArray[np.float32]) -> float:
    """Standard deviation of the grain, from the Laplacian's median, which strokes hardly move (Immerkaer 1996)."""
    if min(grey.shape) < 5:
        return 0.0
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, -1, kernel)[1:-1, 1:-1])
    return float(np.median(response)) / (0.6745 * 6.0)
