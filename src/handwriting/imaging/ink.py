"""Where the ink is: polarity decided, light flattened, one number 0..1 a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from handwriting.errors import PictureError

Level = TypeVar("Level", np.uint8, np.float32)

# The widest stroke that is still taken for ink rather than shadow, as a share of the picture's longest side.
CHARACTER_REACH = 0.35  # one character fills its picture
PAGE_REACH = 0.12  # a line of writing, or a page of them
# The paper is estimated on a picture of at most this side: light changes slowly.
PAPER_SIDE = 160
TINY = 28
EVEN_LIGHT = 0.2  # spread of the paper's levels (10th to 90th percentile) as a share of the contrast of the ink


@dataclass(frozen=True)
class Ink:
    """How much ink lies at each pixel, and what it was read from."""

    strength: NDArray[np.float32]  # (H, W), share of the paper's light that the ink takes, 0..1, not stretched
    light_ink: bool  # the picture had light ink on dark paper
    noise: float  # standard deviation of ``strength`` on plain paper
    scale: float  # how many times as large as the picture it is
    even: bool  # the light is even: there are no shadows to be mistaken for ink


def grey_levels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, 3) RGB -> uint8 (H, W). Raises PictureError for any other array.

    Luma, unless ink and paper differ by colour alone: then the channel that tells them apart best.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
        raise PictureError(
            f"picture: {picture.dtype} {picture.shape}, expected uint8 (H, W) or (H, W, 3); open_picture makes it so"
        )
    if picture.size == 0:
        raise PictureError(f"picture: the array has no pixels {picture.shape}")
    if picture.ndim == 2:
        return np.ascontiguousarray(picture)
    picture = np.ascontiguousarray(picture)
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    few = picture[:: max(1, picture.shape[0] // 64), :: max(1, picture.shape[1] // 64)]
    spread = few.reshape(-1, 3).std(0)
    luma_spread = grey[:: max(1, grey.shape[0] // 64), :: max(1, grey.shape[1] // 64)].std()
    best = int(spread.argmax())
    return np.ascontiguousarray(picture[:, :, best]) if spread[best] > 2.5 * luma_spread + 4 else grey


def ink_map(picture: NDArray[np.uint8], *, reach: float = PAGE_REACH) -> NDArray[np.float32]:
    """uint8 (H, W) or (H, W, 3) RGB -> float32 (H, W) in 0..1: light ink on dark, illumination flattened.

    Paper is near 0 and full strokes are 1, whatever the polarity, shadow or gradient. Nothing is removed or
    thresholded. A picture without contrast is all 0.

    Args:
        picture: a page, a line or a character.
        reach: the widest stroke, as a share of the longest side; wider dark areas count as shadow. The default suits
            lines and pages; ``CHARACTER_REACH`` suits a picture of one character.

    Raises:
        PictureError: an array of another type or shape, or without pixels.
    """
    grey = grey_levels(picture)
    ink = find_ink(grey, reach, has_light_ink(grey))
    floor = max(2.0 * ink.noise, 0.01)
    strong = ink.strength[ink.strength > floor + 0.02]
    if strong.size == 0:
        return np.zeros_like(ink.strength)
    level, _ = cv2.threshold(_levels(strong), 0, 255, cv2.THRESH_OTSU)
    full = float(np.median(strong[strong >= level / 255.0]))
    return np.asarray(np.clip((ink.strength - floor) / (full - floor), 0.0, 1.0), np.float32)


def find_ink(grey: NDArray[np.uint8], reach: float, light_ink: bool, scale: float = 1.0) -> Ink:
    """uint8 (H, W) -> Ink, ``scale`` times as large: what the strokes take from the light of the paper around them."""
    dark_ink = np.asarray(255 - grey if light_ink else grey, np.uint8)
    paper = paper_light(dark_ink, reach)
    if scale != 1.0:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        dark_ink = np.asarray(
            cv2.resize(dark_ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8
        )
        paper = np.asarray(cv2.resize(paper, size, interpolation=cv2.INTER_LINEAR), np.float32)
    paper = np.maximum(paper, 1.0)
    strength = 1.0 - dark_ink.astype(np.float32) / paper
    # The closing follows the brightest grain, so plain paper lies a little above 0.
    strength = np.clip(strength - max(float(np.median(strength)), 0.0), 0.0, 1.0)
    return Ink(
        np.asarray(strength, np.float32),
        light_ink,
        _noise(dark_ink) / float(np.median(paper)),
        scale,
        bool(paper.min() == paper.max()),
    )


def has_light_ink(grey: NDArray[np.uint8]) -> bool:
    """uint8 (H, W) -> whether the ink is lighter than the paper.

    Witnesses, each in -1..1 and positive for light ink: the border is on the dark side of Otsu's threshold (paper lies
    at the edge); likewise one step further in (past the sides of a box); the area as a whole is dark (subtracted: what
    counts is that the edge is emptier than the inside); and structures narrower than a share of the picture stand out
    as light against their local median, which shadows do not change. The weights are a logistic regression on pictures
    composed from MNIST training digits, both polarities.
    """
    small = shrunk(grey, 64)
    level, _ = cv2.threshold(small, 0, 255, cv2.THRESH_OTSU)
    dark = (small <= level).astype(np.float32)
    longest = max(small.shape)
    edge = _border(dark, 0)
    if longest <= TINY:
        return _tiny_has_light_ink(small)
    inner = _border(dark, max(1, round(0.05 * longest)))
    area = 2.0 * float(dark.mean()) - 1.0
    vote = 0.66 * edge + inner**3 - 0.45 * area + 0.28 * _stands_out(small, 0.3)
    return vote + 0.15 * _stands_out(shrunk(grey, PAPER_SIDE), 0.15) > 0


def _tiny_has_light_ink(grey: NDArray[np.uint8]) -> bool:
    """Polarity where there is no room for shadows or boxes: the level of the four corners and of the frame.

    Tightly cut characters touch the frame everywhere but hardly a corner: of 6,000 MNIST training digits brought to
    8x8 and 16x16 without a margin, the corners told 99.97% right, the frame 99.8%, Otsu's threshold on it 98.8%.
    """
    low, high = (float(v) for v in np.percentile(grey, (2, 98)))
    dark = 1.0 - 2.0 * np.clip((grey - low) / max(high - low, 1.0), 0.0, 1.0)
    corners = float(dark[[0, 0, -1, -1], [0, -1, 0, -1]].mean())
    return corners + float(np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]]).mean()) > 0


def _border(dark: NDArray[np.float32], inset: int) -> float:
    """How dark the frame ``inset`` pixels in is: -1 all light .. 1 all dark."""
    inside = dark[inset : dark.shape[0] - inset, inset : dark.shape[1] - inset]
    if min(inside.shape) < 3:
        return 0.0
    frame = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    return 2.0 * float(frame.mean()) - 1.0


def _stands_out(grey: NDArray[np.uint8], share: float) -> float:
    """Skewness of the picture about its local median: -1 dark marks .. 1 light marks."""
    window = min(max(3, int(share * max(grey.shape)) | 1), 255)
    rest = (grey.astype(np.float32) - cv2.medianBlur(grey, window)) ** 3
    return float(rest.sum() / max(float(np.abs(rest).sum()), 1.0))


def paper_light(dark_ink: NDArray[np.uint8], reach: float) -> NDArray[np.float32]:
    """uint8 (H, W), ink darker than paper -> float32 (H, W): the light of the paper as if nothing were written.

    A grey closing with a square wider than any stroke: it fills strokes from the paper around them and leaves the
    edges of shadows where they are, which a blur or a fitted plane would not. When the light is even the paper is one
    level, and then strokes may be as wide as they like.
    """
    height, width = dark_ink.shape
    even = _even_paper(shrunk(dark_ink, PAPER_SIDE))
    if even is not None:
        return np.full(dark_ink.shape, even, np.float32)
    small = shrunk(dark_ink, PAPER_SIDE if reach > PAGE_REACH else 3 * PAPER_SIDE)
    # Grain would be lifted to its maximum by the closing.
    calm = cv2.medianBlur(small, 3) if min(small.shape) >= 32 else small
    size = max(3, round(reach * max(small.shape)) | 1)
    closed = cv2.morphologyEx(calm, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))
    smooth = cv2.blur(closed.astype(np.float32), (max(1, size // 8), max(1, size // 8)))
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _even_paper(dark_ink: NDArray[np.uint8]) -> float | None:
    """The one level of the paper when the light is even: that of the light side of Otsu's threshold.

    None when that side varies much, or when the dark side is wider than any stroke: a shadow.
    """
    level, _ = cv2.threshold(dark_ink, 0, 255, cv2.THRESH_OTSU)
    dark = dark_ink <= level
    if dark.all() or not dark.any():  # one level alone
        return float(dark_ink.flat[0])
    low, middle, high = (float(v) for v in np.percentile(dark_ink[~dark], (10, 50, 90)))
    if max(dark_ink.shape) <= TINY:  # in so few pixels most of them are edges: no telling, and no room for shadows
        return middle
    margin = max(dark_ink.shape) // 4
    wide = cv2.copyMakeBorder(dark.astype(np.uint8), margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    if float(cv2.distanceTransform(wide, cv2.DIST_L2, 3).max()) > CHARACTER_REACH / 2 * max(dark_ink.shape):
        return None
    contrast = middle - float(np.median(dark_ink[dark]))
    return middle if high - low < EVEN_LIGHT * contrast else None


def shrunk(grey: NDArray[Level], side: int) -> NDArray[Level]:
    """The picture with its longest side at most ``side``, averaged down."""
    height, width = grey.shape
    scale = side / max(height, width)
    if scale >= 1:
        return grey
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), grey.dtype)


def _noise(grey: NDArray[np.uint8]) -> float:
    """Standard deviation of the grain, from the Laplacian's median, which strokes hardly move (Immerkaer 1996)."""
    if min(grey.shape) < 5:
        return 0.0
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel)[1:-1, 1:-1])
    return float(np.median(response)) / (0.6745 * 6.0)


def _levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(values * 255.0), np.uint8)
