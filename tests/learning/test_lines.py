"""The line network: shapes, what it learns from, and its ONNX file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.isotonic import isotonic_regression

from handwriting.data import Dataset
from handwriting.errors import TrainingError
from handwriting.learning.composing import OTHER
from handwriting.learning.export import lines_to_onnx
from handwriting.learning.lines import (
    APART,
    BLANK,
    CLASSES,
    CPU,
    DESIGNS,
    OTHER_MARK,
    ROWS,
    Design,
    LineNetwork,
    Lines,
    Member,
    Packed,
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
        found, _, places = _prepared(Packed(single, CPU), torch.arange(16), seeded(seed), 1.0)
        columns = torch.arange(found.shape[3]).float()
        for image, place in zip(found, places, strict=True):
            ink = (image[0] - 0.3).clamp(min=0).sum(0)  # above the noise
            off.append(abs(float((ink * columns).sum() / ink.sum()) - float(place[0, 0])))
    assert max(off) < 4  # a bend moves the digit's top and foot differently
    assert sum(off) / len(off) < 1


def test_half_as_strong_changes_leave_places_nearer_to_where_they_were(lines: Lines) -> None:
    packed, rows = Packed(lines, CPU), torch.arange(64)
    off = {}
    for strength in (0.0, 0.5, 1.0):
        found, labels, places = _prepared(packed, rows, seeded(), strength)
        middle = torch.tensor([24.0, 52.0]) + (found.shape[3] - 80) // 2
        off[strength] = float((places[..., 0] - middle).abs().mean())
        assert (labels == packed.labels).all()
    assert off[0.0] == pytest.approx(0, abs=1e-4)
    assert 0.3 * off[1.0] < off[0.5] < 0.7 * off[1.0]


def test_lines_of_any_width_and_count_of_marks_are_packed_and_prepared_as_they_are() -> None:
    """One of two marks, one of none and one of one, each of its own width."""
    images = [np.full((2, ROWS, width), value, np.uint8) for width, value in ((40, 255), (9, 51), (60, 102))]
    labels = [np.array([3, OTHER]), np.array([], np.int64), np.array([0])]
    places = [np.array([(9, 5, 13), (30, 25, 35)], np.float32), np.zeros((0, 3), np.float32)]
    packed = Packed(Lines(images, labels, [*places, np.array([(30, 20, 40)], np.float32)]), CPU)
    found, known, where = _prepared(packed, torch.tensor([2, 0, 1]), seeded(), 0.0)
    assert found.shape == (3, 2, ROWS, 96)
    for ribbon, width, value in zip(found, (60, 40, 9), (0.4, 1.0, 0.2), strict=True):
        ink = torch.zeros(96)
        ink[(96 - width) // 2 : (96 - width) // 2 + width] = value
        assert torch.allclose(ribbon, ink.expand(2, ROWS, 96), atol=1e-4)
    assert known.tolist() == [[1, BLANK], [4, OTHER_MARK], [BLANK, BLANK]]
    assert where[0, 0].tolist() == pytest.approx([48, 38, 58])
    assert where[1].flatten().tolist() == pytest.approx([37, 33, 41, 58, 53, 63])
    assert where[0, 1, 0].isinf()
    assert where[2, :, 0].isinf().all()


def test_marks_that_stand_too_near_are_answered_apart_and_none_else_moves() -> None:
    far = torch.tensor([[5, 5 + APART, 40, np.inf]])
    assert (apart(far) == far).all()
    near = apart(torch.tensor([[10.0, 12, 14, 50]]))
    assert near[0].tolist() == pytest.approx([12 - APART, 12, 12 + APART, 50])


def test_what_is_answered_apart_is_moved_the_least() -> None:
    """As scikit-learn's isotonic regression finds it, lines of any count of marks in one table."""
    rng = np.random.default_rng(0)
    table = np.full((200, 9), np.inf, np.float32)
    for row in table:
        count = rng.integers(0, 10)
        row[:count] = np.sort(rng.uniform(0, 80, count))
    steps = APART * np.arange(9)
    for row, found in zip(table, apart(torch.from_numpy(table)).numpy(), strict=True):
        known = np.isfinite(row)
        assert (np.isinf(found) == ~known).all()
        if known.any():
            wanted = isotonic_regression((row - steps)[known]) + steps[known]
            assert found[known].tolist() == pytest.approx(wanted.tolist(), abs=1e-3)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("middle", [30.0, 30.5, 31.0, 31.5])
def test_two_equal_marks_side_by_side_are_not_answered_as_one(design: Design, middle: float) -> None:
    """Answers that please the places' part of the loss best must also spell both marks, with a blank between."""
    answers = torch.zeros(1, 64 * design.answers // 2, CLASSES, requires_grad=True)

    class Free(Member):
        def forward(self, ribbons: torch.Tensor) -> torch.Tensor:
            return answers.log_softmax(2)

    network, middles = Free(design), apart(torch.tensor([[middle - 1, middle + 1]]))
    places = torch.stack([middles, middles - 2, middles + 2], 2)
    labels, counts = torch.tensor([[2, 2]]), torch.tensor([2])
    optimizer = torch.optim.Adam([answers], 0.3)
    for _ in range(60):
        optimizer.zero_grad()
        _loss(network, torch.zeros(1, 2, ROWS, 64), labels, places, counts).backward()
        optimizer.step()
    best = answers[0].argmax(1)
    assert best.unique_consecutive().tolist() == [0, 2, 0, 2, 0]


def learned(lines: Lines, device: torch.device = CPU) -> Iterator[tuple[float, ...]]:
    """The losses of a small training of both designs, epoch by epoch."""
    designs = list(DESIGNS.values())
    for epoch in train_lines(lambda _: lines, designs, epochs=4, generator=seeded(), batch=16, device=device):
        yield epoch.losses


def test_learning_lowers_the_loss_and_is_repeatable(lines: Lines) -> None:
    first = list(learned(lines))
    for design, loss in enumerate(first[0]):
        assert first[-1][design] < 0.6 * loss
    assert next(learned(lines)) == pytest.approx(first[0], rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_learning_on_a_gpu_lowers_the_loss_as_well(lines: Lines) -> None:
    first = list(learned(lines, torch.device("cuda")))
    for design, loss in enumerate(first[0]):
        assert first[-1][design] < 0.6 * loss


def test_a_mark_that_is_no_digit_has_a_class_of_its_own() -> None:
    assert OTHER_MARK == CLASSES - 1  # after blank and the ten digits: `reading.sequence` takes the last for it


def test_too_few_lines_are_refused_with_the_batch(lines: Lines) -> None:
    with pytest.raises(TrainingError, match="64 lines are fewer than a batch of 100"):
        next(train_lines(lambda _: lines, [DESIGNS["coarse"]], epochs=1, generator=seeded(), batch=100))
    with pytest.raises(TrainingError, match="at least 1"):
        next(train_lines(lambda _: lines, [DESIGNS["coarse"]], epochs=0, generator=seeded()))


def test_the_file_answers_as_the_network_does_at_any_width() -> None:
    network = both()
    session = onnxruntime.InferenceSession(lines_to_onnx(network))
    for width in (9, 64, 333):
        ribbon = torch.rand(1, 2, ROWS, width)
        (found,) = session.run(["answers"], {"ribbons": ribbon.numpy()})
        with torch.inference_mode():
            assert np.abs(found - network(ribbon).numpy()).max() < 1e-3
