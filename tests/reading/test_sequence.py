"""The line network's answers, combined with cuts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from handwriting.classifier import Classifier
from handwriting.reading import sequence
from handwriting.reading.lines import find_lines
from handwriting.reading.page import lattices_of
from handwriting.reading.pieces import find_cuts
from handwriting.reading.ribbon import HEIGHT, RIM, ROWS, ribbon
from handwriting.reading.sequence import crossing, line_model, no_digit, on_ways, one_digit, turns, with_turns
from handwriting.reading.sheet import lay_out
from tests.reading.conftest import Paper

_seed = st.integers(0, 2**32 - 1)


def answers_of(seed: int, count: int, classes: int = 3) -> NDArray[np.float64]:
    return np.asarray(np.log(np.random.default_rng(seed).dirichlet(np.ones(classes + 2), count)))


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != 0]


@given(_seed, st.integers(1, 5))
def test_one_digit_sums_over_all_alignments(seed: int, count: int) -> None:
    answers = answers_of(seed, count)
    found = one_digit(answers, np.array([0]), count)[0, count]
    for digit in (1, 2, 3):
        paths = [path for path in itertools.product(range(4), repeat=count) if collapsed(path) == [digit]]
        total = sum(np.exp(sum(answers[t, label] for t, label in enumerate(path))) for path in paths)
        assert np.exp(found[digit - 1]) == pytest.approx(total)


@given(_seed)
def test_one_digit_begins_where_it_is_told(seed: int) -> None:
    answers = answers_of(seed, 9)
    for start, length in ((0, 3), (4, 5), (8, 1)):
        part = one_digit(answers[start : start + length], np.array([0]), length)[0, length]
        assert np.allclose(one_digit(answers, np.array([start]), 6)[0, length], part)


@given(_seed)
def test_no_digit_is_blank_or_another_mark(seed: int) -> None:
    answers = answers_of(seed, 8)
    found = no_digit(answers, np.array([0, 3, 3, 8]))
    each = np.log(np.exp(answers[:, 0]) + np.exp(answers[:, -1]))
    assert np.allclose(found, [each[:3].sum(), 0, each[3:].sum()])


@given(_seed)
def test_how_far_a_candidate_is_off_the_best_way_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    passed = -rng.random(4)
    start = rng.integers(0, 4, 7)
    end = np.minimum(start + rng.integers(1, 3, 7), 4)
    scores = rng.normal(0, 1, 7)
    edges = [(int(s), int(e), float(x), k) for k, (s, e, x) in enumerate(zip(start, end, scores, strict=True))]
    edges += [(piece, piece + 1, float(x), -1) for piece, x in enumerate(passed)]
    ways: list[tuple[int, float, tuple[int, ...]]] = [(0, 0.0, ())]
    done = []
    while ways:
        at, score, used = ways.pop()
        if at == 4:
            done.append((score, used))
        ways += [(e, score + x, (*used, k)) for s, e, x, k in edges if s == at]
    best = max(score for score, _ in done)
    found = on_ways(start, end, scores, passed)
    for number in range(7):
        assert found[number] == pytest.approx(max(score for score, used in done if number in used) - best)


def test_a_run_of_one_digit_is_broken_only_where_it_ends() -> None:
    rows = np.full((8, 5), 0.01)
    rows[[0, 1, 6, 7], 0] = rows[2:6, 2] = 0.96
    broken = crossing(np.log(rows))[:, 1]
    assert broken[[0, 2, 6, 8]].max() < 0.05
    assert broken[3:6].min() > 0.9


def test_where_the_network_goes_on_to_the_next_mark() -> None:
    rows = np.full((12, 5), 0.01)
    best = [0, 1, 1, 0, 0, 1, 1, 2, 2, 0, 4, 0]
    rows[np.arange(12), best] = 0.96
    rows[4, 0] = 0.98
    assert turns(np.log(rows)).tolist() == [4, 7, 9]
    assert turns(np.log(rows[:3])).tolist() == []


def test_a_cut_is_added_where_ink_shows_none(paper: Paper) -> None:
    strip = find_lines(lay_out(paper("11", gap=-9)))[0]
    cuts = find_cuts(strip)
    wide = int(np.ceil(strip.mask.shape[1] * HEIGHT / strip.height)) + 2 * RIM
    rows = np.full((wide, 12), 1e-4)
    rows[:, 0] = 0.99
    middle = wide // 2
    rows[middle - 2 : middle + 2, 0], rows[middle - 2 : middle, 3], rows[middle : middle + 2, 8] = 1e-4, 0.99, 0.99
    more, at = with_turns(strip, cuts, np.log(rows))
    assert len(more.paths) == len(more.ink) == len(at)
    assert middle in at
    assert (np.diff(at) >= 0).all()
    assert {tuple(path) for path in cuts.paths} <= {tuple(path) for path in more.paths}


def test_marks_that_are_no_digits_are_as_rare_as_on_a_page(
    paper: Paper, digits: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = line_model(digits)
    assert model is not None
    sheet = lay_out(paper("4096"))
    band = ribbon(sheet, find_lines(sheet)[0])
    among = model.answers(band)
    monkeypatch.setattr(sequence, "_mostly_digits", lambda likely: False)
    found = model.answers(band)
    monkeypatch.setattr(sequence, "STRANGE", 1.0)
    as_trained = model.answers(band)
    for answers in (among, found, as_trained):
        assert np.allclose(np.exp(answers).sum(1), 1)
    for answers, factor in ((found, 0.05), (among, 0.001)):
        rarer = (answers[:, -1] - answers[:, 0]) - (as_trained[:, -1] - as_trained[:, 0])
        assert np.allclose(rarer, np.log(factor))
        assert np.allclose(answers[:, 1] - answers[:, 0], as_trained[:, 1] - as_trained[:, 0])


@pytest.mark.parametrize(
    ("spelled", "mostly"), [("2204", True), ("2x04", True), ("2xx0", False), ("x", False), ("x4", False), ("", False)]
)
def test_a_line_is_mostly_digits_when_fewer_of_its_marks_are_none(spelled: str, mostly: bool) -> None:
    likely = np.full((3 * len(spelled) + 1, 12), 0.01)
    likely[:, 0] = 0.5
    for place, sign in enumerate(spelled):
        likely[3 * place + 1 : 3 * place + 3, 11 if sign == "x" else int(sign) + 1] = 0.9
    assert sequence._mostly_digits(likely) == mostly


def test_a_ribbon_has_the_lines_characters_at_one_height_and_its_middle(paper: Paper) -> None:
    for lines, size in ((("4096",), (0, 0)), (("27183", "150"), (900, 1200))):
        sheet = lay_out(paper(*lines, size=size))
        for strip in find_lines(sheet):
            band = ribbon(sheet, strip)
            ink = band.image[0] > 100
            rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
            assert HEIGHT - 4 <= np.ptp(rows) + 1 <= HEIGHT + 6
            assert abs(rows.mean() - ROWS / 2) < 3
            assert abs(columns[0] - RIM) <= 2
            assert abs(columns[-1] - (band.image.shape[2] - RIM)) <= 3


def test_the_line_network_reads_beside_models_of_mnists_digits_only(
    digits: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line_model(digits) is not None
    monkeypatch.setattr(digits, "metadata", {**digits.metadata, "data": {"name": "my-numerals"}})
    assert line_model(digits) is None
    monkeypatch.undo()
    monkeypatch.setattr(digits, "classes", tuple("abcdefghij"))
    assert line_model(digits) is None


def test_both_ways_of_weighing_give_lattices_over_the_same_cuts(paper: Paper, digits: Classifier) -> None:
    sheet = lay_out(paper("4096"))
    (pieces,), (line,) = lattices_of(sheet, digits, None), lattices_of(sheet, digits, line_model(digits))
    assert (pieces.cuts.paths == line.cuts.paths).all()  # all digits stand apart: the network adds no cut
    assert len(pieces.candidates) == len(line.candidates)
    assert np.isfinite(pieces.labels).all()
    shown = np.isfinite(line.labels).any(1)
    assert 4 <= shown.sum() < len(line.candidates)  # the classifier is asked about those on good ways only
    assert np.allclose(line.probabilities.sum(1), 1)
    assert (line.passed <= 0).all()


def test_answers_never_take_the_rows_of_another_line(paper: Paper, digits: Classifier) -> None:
    model = line_model(digits)
    assert model is not None
    sheet = lay_out(paper("1234", "5678"))
    for strip, text in zip(find_lines(sheet), ("1234", "5678"), strict=True):
        best = np.argmax(model.answers(ribbon(sheet, strip)), 1)
        read = "".join(str(label - 1) for label in collapsed(tuple(best)) if label != 11)
        assert set(read) <= set(text)
    assert len(best) - ribbon(sheet, strip).image.shape[2] in (0, 1)
