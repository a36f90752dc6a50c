"""Where the ink is: polarity decided, light flattened, one number 0..1 a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
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
EVEN_LIGHT = 0.3  # most spread of the paper about its surface (5th to 95th percentile), in contrasts of the ink
UNSURE = 0.5  # witnesses of polarity that together say less than this are asked for whose paper is smooth
SHADOW = 0.22  # what reaches further into the picture from its edge, as a share of its longest side, is no stroke


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
    spread = cv2.meanStdDev(few)[1]  # in a tenth of the time that numpy takes for so few
    luma_spread = float(cv2.meanStdDev(grey[:: max(1, grey.shape[0] // 64), :: max(1, grey.shape[1] // 64)])[1][0, 0])
    best = int(spread.argmax())
    return np.ascontiguousarray(picture[:, :, best]) if spread[best, 0] > 2.5 * luma_spread + 4 else grey


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
    paper, even = paper_light(dark_ink, reach)
    if scale != 1.0:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        dark_ink = np.asarray(
            cv2.resize(dark_ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8
        )
        paper = np.asarray(cv2.resize(paper, size, interpolation=cv2.INTER_LINEAR), np.float32)
    paper = np.maximum(paper, 1.0)
    strength = 1.0 - dark_ink.astype(np.float32) / paper
    noise = _noise(dark_ink) / float(np.median(paper))
    if not even:  # the closing follows the brightest grain, so plain paper lies a little above 0
        strength -= min(max(float(np.median(strength)), 0.0), 0.05)
    strength = np.clip(strength, 0.0, 1.0)
    return Ink(np.asarray(strength, np.float32), light_ink, noise, scale, even)


def has_light_ink(grey: NDArray[np.uint8]) -> bool:
    """uint8 (H, W) -> whether the ink is lighter than the paper.

    Witnesses, each in -1..1 and positive for light ink: the edge of the picture is on the dark side of Otsu's threshold
    (paper lies there); what stands out from the local median is light, which shadows and vignettes hardly change; the
    picture as a whole is dark (subtracted: what counts is that the edge is emptier than the inside). The weights are
    rounded from logistic regressions on 9,300 pictures composed from MNIST training digits and drawings, thin to thick,
    tightly cut or not, each in both polarities: 0.2% are told wrong; of 1,000 more with a box along the edge, 6%.
    Where they say little together, the paper has the last word, if it is a smooth surface one way round alone.
    """
    small = shrunk(grey, 64)
    if max(small.shape) <= TINY:
        return _tiny_has_light_ink(small)
    level, _ = cv2.threshold(small, 0, 255, cv2.THRESH_OTSU)
    dark = small <= level
    area = 2.0 * float(dark.mean()) - 1.0
    light = _edge(dark) - 0.4 * area + 0.7 * _stands_out(small, 0.6) + 0.3 * _stands_out(small, 0.3)
    if abs(light) < UNSURE:
        smooth, smooth_inverted = (_smooth_paper(levels) is not None for levels in (small, ~small))
        if smooth != smooth_inverted:
            return smooth_inverted
    return light > 0


def _tiny_has_light_ink(grey: NDArray[np.uint8]) -> bool:
    """Polarity where there is no room for shadows or boxes: the level of the four corners and of the frame.

    Tightly cut characters touch the frame everywhere but hardly a corner: of 6,000 MNIST training digits brought to
    8x8 and 16x16 without a margin, the corners told 99.97% right, the frame 99.8%, Otsu's threshold on it 98.8%.
    """
    low, high = (float(v) for v in np.percentile(grey, (2, 98)))
    dark = 1.0 - 2.0 * np.clip((grey - low) / max(high - low, 1.0), 0.0, 1.0)
    corners = float(dark[[0, 0, -1, -1], [0, -1, 0, -1]].mean())
    return corners + float(np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]]).mean()) > 0


def _edge(dark: NDArray[np.bool_]) -> float:
    """How dark the edge of the picture is, -1 all light .. 1 all dark, taken past the line of a box along it."""
    depth = max(3, round(0.1 * max(dark.shape)))
    sides = []
    for side in (dark, dark[::-1], dark.T, dark.T[::-1]):
        corner = round(0.1 * side.shape[1])  # belongs to the sides across
        along = 2.0 * side[:depth, corner : side.shape[1] - corner].mean(1) - 1.0
        sides.append(float(along[0]))
        for past in range(1, min(depth // 2 + 1, len(along))):
            line, inside = along[:past] * np.sign(along[0]), along[past:] * -np.sign(along[0])
            if line.min() > 0.4 and inside.min() > 0.0 and inside.mean() > 0.4:
                sides[-1] = float(along[past:].mean())
                break
    return sum(sides) / len(sides)


def _stands_out(grey: NDArray[np.uint8], share: float) -> float:
    """Skewness of the picture about its local median: -1 dark marks .. 1 light marks."""
    window = min(max(3, int(share * max(grey.shape)) | 1), 255)
    rest = (grey.astype(np.float32) - cv2.medianBlur(grey, window)) ** 3
    return float(rest.sum() / max(float(np.abs(rest).sum()), 1.0))


def paper_light(dark_ink: NDArray[np.uint8], reach: float) -> tuple[NDArray[np.float32], bool]:
    """uint8 (H, W), ink darker than paper -> float32 (H, W): the light of the paper as if nothing were written.

    Where the light changes smoothly, and True comes with it, the paper is a surface of second order, and strokes may be
    as wide as they like. Else a grey closing with a square wider than any stroke: it fills strokes from the paper
    around them and leaves the edges of shadows where they are, which a blur or a fitted surface would not.
    """
    size = (dark_ink.shape[1], dark_ink.shape[0])
    smooth = _smooth_paper(shrunk(dark_ink, PAPER_SIDE))
    if smooth is not None:
        return np.asarray(cv2.resize(smooth, size, interpolation=cv2.INTER_LINEAR), np.float32), True
    small = shrunk(dark_ink, PAPER_SIDE if reach > PAGE_REACH else 3 * PAPER_SIDE)
    # Grain would be lifted to its maximum by the closing.
    calm = cv2.medianBlur(small, 3) if min(small.shape) >= 32 else small
    window = max(3, round(reach * max(small.shape)) | 1)
    closed = cv2.morphologyEx(calm, cv2.MORPH_CLOSE, np.ones((window, window), np.uint8))
    even = cv2.blur(closed.astype(np.float32), (max(1, window // 8), max(1, window // 8)))
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_LINEAR), np.float32), False


def _smooth_paper(dark_ink: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """The paper's levels as a surface of second order, float32 (h, w), when that tells it from the ink everywhere.

    None when the paper still varies much, or when what is darker is wider than any stroke: a shadow.
    """
    level, _ = cv2.threshold(dark_ink, 0, 255, cv2.THRESH_OTSU)
    dark = dark_ink <= level
    if dark.all() or not dark.any():  # one level alone
        return np.full(dark_ink.shape, float(dark_ink.flat[0]), np.float32)
    if max(dark_ink.shape) <= TINY:  # in so few pixels most of them are edges: no telling, and no room for shadows
        return np.full(dark_ink.shape, float(np.median(dark_ink[~dark])), np.float32)
    paper = _surface(dark_ink, dark)
    if paper is None:  # the darker half of a vignette hides thin strokes from a threshold
        window = np.ones((max(3, round(CHARACTER_REACH * max(dark_ink.shape)) | 1),) * 2, np.uint8)
        local = np.asarray(cv2.morphologyEx(dark_ink, cv2.MORPH_BLACKHAT, window), np.uint8)
        level, _ = cv2.threshold(local, 0, 255, cv2.THRESH_OTSU)
        paper = _surface(dark_ink, local > level)
    return paper


def _surface(dark_ink: NDArray[np.uint8], dark: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """A surface of second order through the paper, from a first guess at the ink, bool (h, w); None if it does not fit.

    In turns: fitted to what is no ink; then ink is what lies more than half its contrast below it.
    """
    levels = dark_ink.astype(np.float32)
    terms = _terms(dark_ink.shape)
    for _ in range(6):
        if dark.all() or not dark.any():
            return None
        # Half-inked pixels beside the strokes would pull the paper down.
        plain = cv2.dilate(dark.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
        if plain.sum() < 20:
            plain = ~dark
        some = np.flatnonzero(plain)
        some = some[:: max(1, len(some) // 2000)]
        few, known = terms[some], levels.flat[some]
        # A little ridge: what the pixels do not tell is level.
        ridge = 0.001 * len(known) * np.diag([0.0] + [1.0] * 5)
        weights = np.linalg.solve(few.T @ few + ridge, few.T @ known).astype(np.float32)
        paper = (terms @ weights).reshape(levels.shape)
        below = paper - levels
        contrast = float(np.median(below[dark]))
        # Faint strokes: what is no more than grain would make the contrast ever smaller.
        before, dark = dark, below > max(0.5 * contrast, 2.5 * float(below[plain].std()))
        if contrast <= 0:
            return None
        if (dark == before).mean() > 0.998:
            break
    # Grain is evened out before looking at how far the paper is from its surface; a shadow is not.
    window = (max(3, max(dark_ink.shape) // 12),) * 2
    weight = cv2.blur(plain.astype(np.float32), window)
    rest = cv2.blur(below * plain, window)[weight > 0.3] / weight[weight > 0.3]
    low, high = np.percentile(rest, (5, 95)) if rest.size > 20 else (0.0, 0.0)
    return None if high - low > EVEN_LIGHT * contrast or _has_shadow(dark) else paper


def _has_shadow(dark: NDArray[np.bool_]) -> bool:
    """Whether the dark side, bool (h, w), is wider than any stroke somewhere, and goes on outside the picture there."""
    longest = max(dark.shape)
    margin = longest // 3
    shape = dark.astype(np.uint8)
    beyond, within = (
        cv2.distanceTransform(cv2.copyMakeBorder(shape, margin, margin, margin, margin, border), cv2.DIST_L2, 3)[
            margin:-margin, margin:-margin
        ].max()
        for border in (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)
    )
    return bool(beyond > max(SHADOW * longest, 1.2 * float(within)))


@lru_cache(maxsize=16)  # up to 10 MB
def _terms(shape: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w) -> float32 (h * w, 6): 1, x, y and their squares and product, x and y within -1..1."""
    ys, xs = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    return np.stack([np.ones_like(xs), xs, ys, xs * xs, xs * ys, ys * ys], axis=-1).reshape(-1, 6)


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
