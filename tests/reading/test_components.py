"""Ink and its components are those that numpy and OpenCV give, however much ink there is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from handwriting.reading.components import inked, parts


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.4, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 200), (301, 1), (211, 163)])
def test_ink_and_components_are_those_of_numpy_and_opencv(size: tuple[int, int], share: float) -> None:
    mask = (np.random.default_rng(0).random(size) < share).astype(np.uint8)
    for ink in (mask, mask > 0, np.ascontiguousarray(mask.T).T):
        assert all(map(np.array_equal, inked(ink), np.nonzero(ink)))
    labels, stats = parts(mask)
    _, expected, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    assert np.array_equal(labels, expected)
    assert np.array_equal(stats[1:], boxes[1:])
    assert not stats[0].any()
    assert len(stats) == len(boxes)


def test_the_boxes_of_nested_marks_are_their_own() -> None:
    mask = np.zeros((60, 90), np.uint8)
    cv2.rectangle(mask, (5, 4), (80, 50), (1,))
    cv2.circle(mask, (40, 25), 9, (1,), -1)
    _, stats = parts(mask)
    assert stats[1].tolist() == [5, 4, 76, 47, 2 * 76 + 2 * 45]
    assert stats[2, :4].tolist() == [31, 16, 19, 19]
