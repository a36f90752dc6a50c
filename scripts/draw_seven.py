"""Draw docs/images/seven.jpg: a handwritten 7 in blue pen on unevenly lit paper, as a phone would see it.

The picture is made here, so it belongs to the project and nothing was trained on it.
"""

import itertools
from pathlib import Path

import cv2
import numpy as np

SIZE = 480
STROKES = [  # points in a unit square, x to the right and y down: the hook and stem, then the bar
    [(0.30, 0.27), (0.33, 0.24), (0.48, 0.245), (0.68, 0.225), (0.66, 0.30), (0.57, 0.48), (0.50, 0.66), (0.465, 0.80)],
    [(0.40, 0.525), (0.54, 0.50), (0.67, 0.495)],
]


def smooth(points: list[tuple[float, float]], steps: int = 60) -> np.ndarray:
    """Control points -> a polyline of `steps` points (Chaikin's corner cutting, four rounds, then resampled)."""
    line = np.array(points)
    for _ in range(4):
        quarter, three = 0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]
        line = np.vstack([line[:1], np.stack([quarter, three], 1).reshape(-1, 2), line[-1:]])
    return line[np.linspace(0, len(line) - 1, steps).astype(int)]


def draw() -> np.ndarray:
    """-> uint8 (480, 480, 3), BGR."""
    generator = np.random.default_rng(7)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    light = 226 - 58 * columns - 30 * rows + 8 * np.sin(5 * rows + 2 * columns)
    ink = np.zeros((SIZE, SIZE), np.uint8)
    for stroke in STROKES:
        points = (smooth(stroke) * SIZE * 16).astype(np.int32)
        for index, (start, end) in enumerate(itertools.pairwise(points)):
            width = 9 + 3 * np.sin(index / 9)
            cv2.line(ink, start.tolist(), end.tolist(), 255, round(width), cv2.LINE_AA, shift=4)
    cover = cv2.GaussianBlur(ink, (0, 0), 1.6)[..., None] / 255 * 0.86
    pen = np.array([122, 58, 34], float)  # a blue ballpoint, BGR
    paper = light[..., None] * np.array([0.94, 0.98, 1.0])
    photo = paper * (1 - cover) + pen * (light[..., None] / 226) * cover
    return np.clip(photo + generator.normal(0, 3.5, photo.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "docs" / "images" / "seven.jpg"
    cv2.imwrite(str(path), draw(), [cv2.IMWRITE_JPEG_QUALITY, 82])
    print(path)
