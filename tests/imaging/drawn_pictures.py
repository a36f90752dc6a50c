"""Pictures for the tests: digits drawn large, on papers that photos show."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Alpha = NDArray[np.float32]


def seven(height: int = 200, width: int = 150, stroke: float = 0.06) -> Alpha:
    """A 7 with room around it: float32 (height, width), 1 is ink."""
    return _polyline([(0.28, 0.25), (0.72, 0.25), (0.45, 0.78)], height, width, stroke)


def two(height: int = 200, width: int = 150, stroke: float = 0.06) -> Alpha:
    """A 2 with room around it: float32 (height, width), 1 is ink."""
    points = [(0.3, 0.35), (0.4, 0.25), (0.6, 0.25), (0.68, 0.38), (0.6, 0.5), (0.3, 0.75), (0.72, 0.75)]
    return _polyline(points, height, width, stroke)


def on_paper(ink: Alpha, paper: float | Alpha = 225.0, dark: float = 0.8) -> Picture:
    """Ink that takes the share ``dark`` of the paper's light -> uint8 (H, W)."""
    return np.asarray(np.clip(np.rint(paper * (1.0 - dark * ink)), 0, 255), np.uint8)


def shadow(height: int, width: int, depth: float = 0.5) -> Alpha:
    """Light of a paper with a soft diagonal shadow: float32 (height, width)."""
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    across = xs / width + ys / height - 1.0
    return np.asarray(225.0 * (1.0 - depth / (1.0 + np.exp(-across * 60.0))), np.float32)


def likeness(first: Picture, second: Picture) -> float:
    """Correlation of two 28x28: 1 is the same. The best of shifts by one pixel: the centre of mass is rounded."""
    shifted = [np.roll(first, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return max(float(np.corrcoef(image.ravel(), second.ravel())[0, 1]) for image in shifted)


def _polyline(points: list[tuple[float, float]], height: int, width: int, stroke: float) -> Alpha:
    big = 4  # drawn larger and averaged down, as a pen on a sensor is
    canvas = np.zeros((height * big, width * big), np.uint8)
    corners = np.array([[x * width * big, y * height * big] for x, y in points], np.int32)
    thick = max(1, round(stroke * max(height, width) * big))
    cv2.polylines(canvas, [corners], False, 255, thick, cv2.LINE_AA)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32) / 255.0, np.float32)


def on_table(
    sheet: Picture,
    corners: NDArray[np.float64],
    size: tuple[int, int],
    shade: float = 70.0,
    grain: float = 0.1,
    tint: tuple[float, float, float] = (1.0, 0.8, 0.6),
) -> Picture:
    """A sheet (h, w, 3) whose corners (x, y), clockwise from the top left, lie there on a table (W, H)."""
    high, wide = sheet.shape[:2]
    from_corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float32)
    matrix = cv2.getPerspectiveTransform(from_corners, corners.astype(np.float32))
    streaks = np.random.default_rng(1).normal(0, grain, (size[1] // 30 + 2, size[0] // 4 + 2))
    table = shade * np.array(tint, np.float32) * (1 + cv2.resize(streaks, size)[..., None])
    cover = cv2.warpPerspective(np.ones((high, wide), np.float32), matrix, size, flags=cv2.INTER_LINEAR)[..., None]
    view = table * (1 - cover) + cv2.warpPerspective(sheet, matrix, size, borderMode=cv2.BORDER_REPLICATE) * cover
    return np.asarray(np.clip(view, 0, 255), np.uint8)
