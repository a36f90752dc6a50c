"""Composed lines: the truth about every mark, and what hands, spacing and cameras do to them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from handwriting.data import Dataset
from handwriting.learning.composing import CROWDED, EVEN, OTHER, TOUCHING, Manner, Material, compose, stroke, write


@pytest.fixture(scope="module")
def material(sample: Dataset) -> Material:
    halves = np.split(np.arange(400), 2)
    hands = tuple((sample.images[own * 12], sample.labels[own * 12]) for own in halves)
    return Material(hands, np.full((3, 28, 28), 200, np.uint8))


def test_every_mark_of_a_line_owns_ink_and_has_a_label(material: Material) -> None:
    for seed in range(30):
        line = write(material, 24, np.random.default_rng(seed), first=5)
        owners = set(np.unique(line.owners)) - {0}
        assert owners <= set(range(5, 5 + len(line.labels)))
        assert len(owners) >= len(line.labels) - 1  # one may be hidden under its neighbours
        assert (line.ink[line.owners > 0] > 0.3).all()
        assert set(line.labels) <= {OTHER, *range(10)}


def test_marks_stand_from_left_to_right(material: Material) -> None:
    for seed in range(30):
        line = write(material, 24, np.random.default_rng(seed))
        lefts = [np.nonzero(line.owners == owner)[1].min() for owner in np.unique(line.owners[line.owners > 0])]
        assert lefts == sorted(lefts)


def test_narrow_marks_stand_a_hair_apart_where_the_manner_is_crowded() -> None:
    """Two 1s that touch along their length: thicker than one, and no more than that."""
    bar = np.zeros((28, 28), np.uint8)
    bar[4:24, 13:15] = 255
    hand = (np.stack([bar] * 2), np.ones(2, np.int64))
    nearest = {}
    for manner in (EVEN, CROWDED):
        steps = []
        for seed in range(60):
            line = write(Material((hand,), bar[None], manner), 40, np.random.default_rng(seed))
            lefts = [np.nonzero(line.owners == owner)[1].min() for owner in np.unique(line.owners[line.owners > 0])]
            steps += np.diff(lefts).tolist()
        nearest[manner] = min(steps)
    assert 1 <= nearest[CROWDED] < 0.15 * 40 <= nearest[EVEN] + 1


def test_a_line_is_one_hands(material: Material) -> None:
    one = Material((material.hands[0], material.hands[0]), material.marks)
    labels = set(material.hands[0][1].tolist()) | {OTHER}
    assert all(set(write(one, 24, np.random.default_rng(seed)).labels) <= labels for seed in range(20))


def test_some_lines_touch_and_some_stand_apart(material: Material) -> None:
    def parts(seed: int) -> tuple[int, int]:
        line = write(material, 24, np.random.default_rng(seed))
        columns = (line.ink > 0.3).any(0).astype(int)
        return int((np.diff(np.concatenate([[0], columns])) == 1).sum()), len(line.labels)

    found = [parts(seed) for seed in range(80)]
    assert any(runs < marks / 2 for runs, marks in found if marks > 3)
    assert any(runs == marks for runs, marks in found if marks > 3)


def test_strokes_have_the_height_asked_for_whatever_the_pen(sample: Dataset) -> None:
    for thin in (-0.1, 0.0, 0.2):
        heights = [stroke(image, 40, 0.1, 1.0, thin).shape[0] for image in sample.images[::100]]
        assert 35 <= np.median(heights) <= 43
    thick, pared = (stroke(sample.images[7], 40, 0.0, 1.0, thin).sum() for thin in (-0.1, 0.2))
    assert pared < thick


def test_a_scene_is_the_same_for_the_same_seed_and_knows_its_ink(material: Material) -> None:
    first, again = (compose(material, np.random.default_rng(3)) for _ in range(2))
    assert (first.picture == again.picture).all()
    assert first.labels == again.labels
    for seed in range(12):
        scene = compose(material, np.random.default_rng(seed))
        assert scene.picture.shape == (*scene.owners.shape, 3)
        assert scene.owners.max() <= len(scene.labels)
        ink, paper = scene.picture[scene.owners > 0], scene.picture[scene.owners == 0]
        assert abs(float(np.median(ink)) - float(np.median(paper))) > 5


def test_digits_mostly_touch_where_the_manner_is_so(material: Material) -> None:
    def touching(manner: Manner) -> float:
        own = Material(material.hands, material.marks, manner)
        lines = [write(own, 32, np.random.default_rng(seed)) for seed in range(80)]
        parts = [cv2.connectedComponents((line.ink > 0.3).astype(np.uint8))[0] - 1 for line in lines]
        return float(np.mean([found < len(line.labels) for found, line in zip(parts, lines, strict=True)]))

    assert touching(TOUCHING) > touching(CROWDED) + 0.1
