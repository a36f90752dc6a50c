"""Candidates as the window network sees them, and what it adds to a line's lattice."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from handwriting.classifier import Classifier
from handwriting.reading.constraints import free
from handwriting.reading.lattice import best_ways, label_edges, passing_edges
from handwriting.reading.lines import find_lines
from handwriting.reading.page import lattices_of, ways
from handwriting.reading.pieces import candidates, find_cuts
from handwriting.reading.sequence import BATCH, LineModel, line_model
from handwriting.reading.sheet import lay_out
from handwriting.reading.windows import COLUMNS, HEIGHT, ROWS, windows
from tests.reading.conftest import Paper


def test_a_candidate_is_in_the_middle_with_the_line_around_it(paper: Paper) -> None:
    sheet = lay_out(paper("4096", gap=4))
    strip = find_lines(sheet)[0]
    cuts = find_cuts(strip)
    found = candidates(strip, cuts)
    seen = windows(sheet, strip, cuts, found)
    assert seen.shape == (len(found), 3, ROWS, COLUMNS)
    assert (seen[:, 0] <= seen[:, 1]).all()
    for window, candidate in zip(seen, found, strict=True):
        columns = np.flatnonzero((window[0] > 60).any(0))
        wide = candidate.box[2] * HEIGHT / strip.height
        if wide < COLUMNS:
            assert abs((columns[0] + columns[-1] + 1) / 2 - COLUMNS / 2) <= 2
            assert abs(np.ptp(columns) + 1 - wide) <= 3


def test_what_lies_on_both_sides_of_a_cut_is_all_of_it(paper: Paper) -> None:
    sheet = lay_out(paper("88", gap=-6))
    strip = find_lines(sheet)[0]
    cuts = find_cuts(strip)
    found = {(own.start, own.end): own for own in candidates(strip, cuts)}
    parts = [
        ((start, at), (at, end), (start, end))
        for start, end in found
        for at in range(start + 1, end)
        if {(start, at), (at, end)} <= found.keys()
    ]
    assert len(parts) > 3
    for three in parts:
        left, right, both = (windows(sheet, strip, cuts, [found[ends]])[0, 0].sum(dtype=int) for ends in three)
        assert left + right == pytest.approx(both, rel=0.03)


def test_no_candidates_give_no_windows(paper: Paper) -> None:
    sheet = lay_out(paper("4"))
    strip = find_lines(sheet)[0]
    assert windows(sheet, strip, find_cuts(strip), []).shape == (0, 3, ROWS, COLUMNS)


def test_its_scores_are_added_as_far_as_it_is_trusted(paper: Paper, digits: Classifier) -> None:
    sheet = lay_out(paper("27", gap=-4))
    files = resources.files("handwriting.reading")
    content = [files.joinpath(f"digits-{name}.onnx").read_bytes() for name in ("lines", "windows")]
    labels = []
    for trust in (0.0, 0.5, 1.0):
        model = LineModel(*content)
        model.trust_windows = trust
        labels.append(lattices_of(sheet, digits, model)[0].labels)
    without = lattices_of(sheet, digits, LineModel(content[0]))[0].labels
    assert np.array_equal(without, labels[0])
    looked_at = np.isfinite(without)
    none, half, whole = (own[looked_at] for own in labels)
    assert np.allclose(half - none, (whole - none) / 2)
    assert np.abs(whole - none).max() > 1


def test_the_shipped_model_trusts_it(digits: Classifier) -> None:
    model = line_model(digits)
    assert model is not None
    assert model.trust_windows > 0
    seen = np.random.default_rng(0).integers(0, 255, (BATCH + 3, 3, ROWS, COLUMNS), np.uint8)
    scores = model.suits(seen)
    assert scores.shape == (BATCH + 3, 10)
    assert np.allclose(scores[-2:], model.suits(seen[-2:]), atol=1e-4)
    assert model.suits(seen[:0]).shape == (0, 10)


def test_it_moves_no_mark_that_is_read_as_before(paper: Paper, digits: Classifier) -> None:
    plain = lattices_of(lay_out(paper("4096", gap=2)), digits, line_model(digits))[0]
    allowed = frozenset(plain.classes)
    before = ways(replace(plain, labels=plain.places), free(), allowed)[0]
    moved = 0
    for seed in range(20):
        said = np.random.default_rng(seed).normal(0, 3, plain.labels.shape)
        lattice = replace(plain, labels=plain.places + said)
        after = ways(lattice, free(), allowed)[0]
        edges = label_edges(lattice, allowed) + passing_edges(lattice)
        moved += best_ways(len(plain.passed), edges, free())[0].edges != after.edges
        if after.text == before.text:
            assert [(edge.start, edge.end) for edge in after.edges] == [(edge.start, edge.end) for edge in before.edges]
    assert moved > 0
