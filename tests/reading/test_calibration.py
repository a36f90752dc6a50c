"""Which marks of a line are taken for characters."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources

import pytest

from handwriting.classifier import Classifier
from handwriting.reading.calibration import Company, Mark, Thresholds, calibration_from, evidence
from handwriting.reading.constraints import free
from handwriting.reading.page import lattices_of, mark_of, runs_of, ways
from handwriting.reading.sequence import line_model
from handwriting.reading.sheet import lay_out
from tests.reading.conftest import Paper

DIGIT, LETTER, DOUBT = Mark(-0.1, 0.99, 0.999), Mark(-4.0, 0.05, 0.6), Mark(-0.8, 0.45, 0.85)
COMPANY = Company(alone=(0.5, 1.5, 0.5, 0.2), joined=(1.5, 2.0, 0.5, 0.2), share=0.5, least=1.0, least_alone=2.0)


def test_digits_keep_to_digits() -> None:
    for joined in (False, True):
        number = [[DIGIT, DIGIT]] if joined else [[DIGIT], [DIGIT]]
        assert COMPANY.rejects([*number, [DOUBT]]) == [False] * (len(number) + 1)
    assert COMPANY.rejects([[DOUBT]]) == [True]
    assert COMPANY.rejects([[LETTER], [DOUBT]]) == [True, True]
    assert COMPANY.rejects([]) == []


def test_a_mark_without_company_must_be_surer() -> None:
    odds = COMPANY.log_odds([DIGIT])
    for bound, rejected in ((odds - 0.1, False), (odds + 0.1, True)):
        assert replace(COMPANY, least_alone=bound).rejects([[DIGIT]]) == [rejected]
        assert replace(COMPANY, least_alone=bound).rejects([[DIGIT], [DIGIT]]) == [False, False]


def test_three_that_hang_together_vouch_for_each_other() -> None:
    for count, rejected in ((1, True), (2, True), (3, False), (5, False)):
        run = [DIGIT] * count
        odds = COMPANY.log_odds(run)
        assert replace(COMPANY, least=odds - 0.1, least_alone=odds + 0.1).rejects([run]) == [rejected]


def test_a_letter_in_a_number_stays_one() -> None:
    assert COMPANY.rejects([[DIGIT], [LETTER], [DIGIT], [DIGIT]]) == [False, True, False, False]
    assert COMPANY.rejects([[DIGIT] * 3, [LETTER, LETTER]]) == [False, True]


def test_what_hangs_together_is_judged_together() -> None:
    assert COMPANY.rejects([[DIGIT, DOUBT, DIGIT]]) == [False]
    assert evidence([DIGIT, LETTER])[0] == pytest.approx((DIGIT.whole + LETTER.whole) / 2)


def test_no_single_number_decides_alone() -> None:
    whole, looks, label = evidence([Mark(-1e3, 0.0, 1.0)])
    assert (whole, looks, label) == (-12.0, -12.0, 12.0)


def test_thresholds_take_each_run_by_itself() -> None:
    thresholds = Thresholds((0.0, 1.0, 0.5), alone=(0.4, 0.5), joined=(0.4, 0.2))
    assert thresholds.rejects([[DIGIT], [DOUBT], [DIGIT, DOUBT], [LETTER, LETTER]]) == [False, True, False, True]
    assert thresholds.rejects([[DIGIT], [DIGIT], [DIGIT], [DOUBT]])[-1]


def test_a_label_that_a_constraint_chose_says_nothing_of_the_mark(paper: Paper, digits: Classifier) -> None:
    (lattice,) = lattices_of(lay_out(paper("4096")), digits, line_model(digits))
    best = ways(lattice, free(), frozenset(lattice.classes))[0]
    edges = [edge for run in runs_of(lattice, best.edges) for edge in run]
    assert [edge.label for edge in edges] == ["4", "0", "9", "6"]
    for edge in edges:
        forced = replace(edge, label="1")
        assert mark_of(lattice, forced) == mark_of(lattice, edge)
        assert mark_of(lattice, edge).label > 0.9


def test_each_way_of_reading_has_its_verdict(digits: Classifier) -> None:
    weights = json.loads(resources.files("handwriting.reading").joinpath("weights.json").read_text())
    assert isinstance(calibration_from(weights).verdict, Thresholds)
    model = line_model(digits)
    assert model is not None
    assert isinstance(model.calibration.verdict, Company)
    kept = calibration_from({**weights, "company": vars(COMPANY)})
    assert kept.verdict == COMPANY
