"""The window network: what it learns from whole lines, and its ONNX file."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handwriting.errors import TrainingError
from handwriting.learning.export import windows_to_onnx
from handwriting.learning.windows import (
    COLUMNS,
    LABELS,
    NONE,
    ROWS,
    UNKNOWN,
    CutLine,
    WindowNetwork,
    shares,
    train_windows,
)
from handwriting.reading import windows as seen

_seed = st.integers(0, 2**32 - 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_line(seed: int, text: tuple[int, ...] = (3, 3)) -> CutLine:
    """A line of four pieces, any one or two of which are a candidate, with random scores of labels 0 to 3."""
    rng = np.random.default_rng(seed)
    start, end = np.array([(a, b) for a in range(4) for b in (a + 1, a + 2) if b <= 4], np.int64).T
    scores = np.full((len(start), LABELS), -40.0)
    scores[:, :4] = rng.normal(0, 2, (len(start), 4))
    windows, unknown = np.zeros((len(start), 3, ROWS, COLUMNS), np.uint8), np.full(len(start), UNKNOWN)
    return CutLine(windows, start, end, scores, rng.normal(-1, 1, 4), unknown, np.array(text, np.int64))


def all_ways(line: CutLine, at: int = 0) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Score and text of each way from a cut to the last, counting labels 0 to 3 alone."""
    if at == len(line.passed):
        yield 0.0, ()
        return
    for score, text in all_ways(line, at + 1):
        yield score + line.passed[at], text
    for own in np.flatnonzero(line.start == at):
        for score, text in all_ways(line, int(line.end[own])):
            for label in range(4):
                yield score + line.scores[own, label], (label, *text)


@given(_seed, st.lists(st.integers(0, 3), max_size=4))
def test_the_truths_share_is_that_of_the_ways_that_spell_it(seed: int, text: list[int]) -> None:
    line = some_line(seed, tuple(text))
    ways = list(all_ways(line))
    total = sum(math.exp(score) for score, _ in ways)
    right = sum(math.exp(score) for score, spelled in ways if spelled == tuple(text))
    lacks, _ = shares(line, line.scores)
    assert lacks == pytest.approx(math.log(total / right), abs=1e-6)


@given(_seed, st.integers(0, 6), st.integers(0, 3))
def test_the_gradient_is_the_change_of_what_is_lacking(seed: int, own: int, label: int) -> None:
    line = some_line(seed)
    _, gradient = shares(line, line.scores)
    step = np.zeros_like(line.scores)
    step[own, label] = 1e-4
    more, less = (shares(line, line.scores + sign * step)[0] for sign in (1, -1))
    assert gradient[own, label] == pytest.approx((more - less) / 2e-4, abs=1e-5)


def test_a_truth_that_no_way_spells_teaches_nothing() -> None:
    line = some_line(0, (1, 2, 3, 1, 2))
    lacks, gradient = shares(line, line.scores)
    assert lacks == math.inf
    assert not gradient.any()


@pytest.fixture(scope="module")
def lines() -> list[CutLine]:
    """Lines of two pieces: one wide digit, a 0, or two narrow ones, 1s; only windows tell which."""
    made = []
    for number in range(40):
        two = number % 2 == 1
        windows = np.zeros((3, 3, ROWS, COLUMNS), np.uint8)
        windows[:, 1:, 10:34, 20:22] = windows[:, 1:, 10:34, 26:28] = 200
        if not two:
            windows[:, 1:, 10:12, 20:28] = windows[:, 1:, 32:34, 20:28] = 200
        windows[:, 0] = windows[:, 1]
        windows[0, 0, :, 24:] = windows[1, 0, :, :24] = 0
        start, end = np.array([(0, 1), (1, 2), (0, 2)], np.int64).T
        scores = np.full((3, LABELS), -20.0)
        scores[:2, 1], scores[2, 0] = -1.0, -2.0
        text = np.array([1, 1] if two else [0], np.int64)
        made.append(CutLine(windows, start, end, scores, np.full(2, -20.0), np.array([0, NONE, UNKNOWN]), text))
    return made


def test_it_learns_from_lines_what_no_candidate_was_told(lines: list[CutLine]) -> None:
    def learned() -> list[float]:
        return [epoch.loss for epoch in train_windows(lambda _: lines, epochs=8, generator=seeded())]

    epochs = list(train_windows(lambda _: lines, epochs=8, generator=seeded()))
    assert all(epoch.before == pytest.approx(math.log(2), abs=0.01) for epoch in epochs)
    assert epochs[-1].loss < 0.25 * epochs[0].before
    assert [epoch.loss for epoch in epochs[:2]] == pytest.approx(learned()[:2], rel=1e-2)


def test_it_begins_by_saying_nothing() -> None:
    assert not WindowNetwork().eval()(torch.rand(2, 3, ROWS, COLUMNS)).any()


def test_too_few_lines_are_refused_with_the_batch(lines: list[CutLine]) -> None:
    with pytest.raises(TrainingError, match="40 lines are fewer than a batch of 64"):
        next(train_windows(lambda _: lines, epochs=1, generator=seeded(), batch=64))
    with pytest.raises(TrainingError, match="at least 1"):
        next(train_windows(lambda _: lines, epochs=0, generator=seeded()))


def test_the_file_answers_as_the_network_does_for_any_number_of_windows() -> None:
    network = WindowNetwork()
    torch.nn.init.normal_(network.head.weight)
    network.eval()
    session = onnxruntime.InferenceSession(windows_to_onnx(network))
    for count in (1, 7):
        windows = torch.rand(count, 3, ROWS, COLUMNS)
        (found,) = session.run(["scores"], {"windows": windows.numpy()})
        with torch.inference_mode():
            assert np.abs(found - network(windows).numpy()).max() < 1e-3


def test_both_sides_agree_on_the_size_of_a_window() -> None:
    assert (ROWS, COLUMNS) == (seen.ROWS, seen.COLUMNS)
