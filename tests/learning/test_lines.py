"""The line network: shapes, what it learns from, and its ONNX file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
import torch

from handwriting.data import Dataset
from handwriting.errors import TrainingError
from handwriting.learning.composing import OTHER
from handwriting.learning.export import lines_to_onnx
from handwriting.learning.lines import (
    APART,
    CLASSES,
    DESIGNS,
    OTHER_MARK,
    ROWS,
    Design,
    LineNetwork,
    Lines,
    Member,
    _loss,
    _prepared,
    apart,
    train_lines,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def both() -> LineNetwork:
    return LineNetwork([Member(design) for design in DESIGNS.values()]).eval()


@pytest.fixture(scope="module")
def lines(sample: Dataset) -> Lines:
    """Pairs of digits, 24 columns apart, and now and then a mark that is none."""
    images, labels, places = [], [], []
    for row in range(0, 128, 2):
        ribbon = np.zeros((2, ROWS, 80), np.uint8)
        for column, index in ((10, row * 39), (38, row * 39 + 39)):
            ribbon[:, 6:34, column : column + 28] = sample.images[index]
        images.append(ribbon)
        labels.append(np.array([sample.labels[row * 39], OTHER if row % 16 == 0 else sample.labels[row * 39 + 39]]))
        places.append(np.array([(24, 16, 32), (52, 44, 60)], np.float32))
    return Lines(images, labels, places)


@pytest.mark.parametrize("width", [2, 33, 100])
def test_every_column_gets_log_probabilities(width: int) -> None:
    answers = both()(torch.rand(3, 2, ROWS, width))
    columns = width + width % 2
    assert answers.shape == (3, columns, CLASSES)
    assert torch.allclose(answers.exp().sum(2), torch.ones(3, columns), atol=1e-5)


def test_members_have_an_equal_say_at_each_column() -> None:
    network, ribbons = both(), torch.rand(1, 2, ROWS, 31)
    coarse, fine = (member(ribbons).exp() for member in network.members)
    assert (coarse.shape[1], fine.shape[1]) == (16, 32)
    together = network(ribbons).exp()
    for column in range(32):
        assert torch.allclose(together[0, column], (coarse[0, column // 2] + fine[0, column]) / 2, atol=1e-6)


def test_places_move_with_the_ink(lines: Lines) -> None:
    images = [np.concatenate([image[..., :38], np.zeros((2, ROWS, 60), np.uint8)], 2) for image in lines.images]
    single = Lines(images, [own[:1] for own in lines.labels], [place[:1] for place in lines.places])
    off = []
    for seed in range(5):
        found, _, places = _prepared(single, list(range(16)), seeded(seed))
        columns = torch.arange(found.shape[3]).float()
        for image, place in zip(found, places, strict=True):
            ink = (image[0] - 0.3).clamp(min=0).sum(0)  # above the noise
            off.append(abs(float((ink * columns).sum() / ink.sum()) - float(place[0, 0])))
    assert max(off) < 4  # a bend moves the digit's top and foot differently
    assert sum(off) / len(off) < 1


def test_marks_that_stand_too_near_are_answered_apart_and_none_else_moves() -> None:
    far = np.array([5, 5 + APART, 40], np.float32)
    assert (apart(far) == far).all()
    near = apart(np.array([10, 12, 14, 50], np.float32))
    assert near.tolist() == pytest.approx([12 - APART, 12, 12 + APART, 50])


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("middle", [30.0, 30.5, 31.0, 31.5])
def test_two_equal_marks_side_by_side_are_not_answered_as_one(design: Design, middle: float) -> None:
    """Answers that please the places' part of the loss best must also spell both marks, with a blank between."""
    answers = torch.zeros(1, 64 * design.answers // 2, CLASSES, requires_grad=True)

    class Free(Member):
        def forward(self, ribbons: torch.Tensor) -> torch.Tensor:
            return answers.log_softmax(2)

    network, middles = Free(design), apart(np.array([middle - 1, middle + 1], np.float32))
    place = torch.tensor([(at, at - 2, at + 2) for at in middles])
    optimizer = torch.optim.Adam([answers], 0.3)
    for _ in range(60):
        optimizer.zero_grad()
        _loss(network, torch.zeros(1, 2, ROWS, 64), [np.array([1, 1])], [place]).backward()
        optimizer.step()
    best = answers[0].argmax(1)
    assert best.unique_consecutive().tolist() == [0, 2, 0, 2, 0]


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_learning_lowers_the_loss_and_is_repeatable(lines: Lines, design: Design) -> None:
    def learned() -> Iterator[float]:
        for epoch in train_lines(lambda _: lines, design, epochs=4, generator=seeded(), batch=16):
            yield epoch.loss

    first = list(learned())
    assert first[-1] < 0.6 * first[0]
    assert next(learned()) == pytest.approx(first[0], rel=1e-3)


def test_a_mark_that_is_no_digit_has_a_class_of_its_own() -> None:
    assert OTHER_MARK == CLASSES - 1  # after blank and the ten digits: `reading.sequence` takes the last for it


def test_too_few_lines_are_refused_with_the_batch(lines: Lines) -> None:
    with pytest.raises(TrainingError, match="64 lines are fewer than a batch of 100"):
        next(train_lines(lambda _: lines, DESIGNS["coarse"], epochs=1, generator=seeded(), batch=100))
    with pytest.raises(TrainingError, match="at least 1"):
        next(train_lines(lambda _: lines, DESIGNS["coarse"], epochs=0, generator=seeded()))


def test_the_file_answers_as_the_network_does_at_any_width() -> None:
    network = both()
    session = onnxruntime.InferenceSession(lines_to_onnx(network))
    for width in (9, 64, 333):
        ribbon = torch.rand(1, 2, ROWS, width)
        (found,) = session.run(["answers"], {"ribbons": ribbon.numpy()})
        with torch.inference_mode():
            assert np.abs(found - network(ribbon).numpy()).max() < 1e-3
