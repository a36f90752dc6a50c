"""Numbers mean what their names say: held against hand counts, known tables and other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, log_loss

from handwriting.data import Dataset
from handwriting.errors import DataError
from handwriting.evaluation import (
    coverage_at,
    expected_calibration_error,
    fit_temperature,
    measure,
    plots,
    reject_threshold,
    wilson_interval,
)

ABC = ("a", "b", "c")
finite = st.floats(-20, 20, width=32)


def some_logits(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, n)
    logits = generator.normal(size=(n, 3)).astype(np.float32) + 2 * np.eye(3, dtype=np.float32)[labels]
    return logits, labels.astype(np.int64)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (9904, 10000), (10000, 10000)])
def test_the_wilson_interval_is_scipys(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_no_trials_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_accuracy_and_loss_are_scikit_learns() -> None:
    logits, labels = some_logits()
    report = measure(logits, labels, ABC, data="d", split="test")
    probabilities = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(1, keepdims=True)
    assert report.accuracy == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert report.loss == pytest.approx(log_loss(labels, probabilities))


def test_the_confusion_matrix_counts_rows_true_columns_answered() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    report = measure(logits, np.array([0, 0, 1, 2]), ABC, data="d", split="test")
    assert report.confusion_matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert report.per_class["a"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "n": 2}


def test_the_report_has_the_keys_that_the_interface_promises() -> None:
    logits, labels = some_logits()
    keys = set(measure(logits, labels, ABC, data="d", split="test").as_json())
    assert keys >= {"data", "split", "n", "accuracy", "accuracy_ci95", "loss", "ece", "per_class", "confusion_matrix"}
    assert "coverage_at_99_9" in keys


@given(arrays(np.float32, (40, 3), elements=finite), st.floats(0.05, 20))
@settings(max_examples=50, deadline=None)
def test_temperature_never_changes_the_predicted_class(logits: np.ndarray, temperature: float) -> None:
    labels = np.zeros(40, np.int64)
    plain = measure(logits, labels, ABC, data="d", split="test")
    scaled = measure(logits, labels, ABC, data="d", split="test", temperature=temperature)
    np.testing.assert_array_equal(plain.predicted, scaled.predicted)
    assert plain.loss == scaled.loss


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_the_temperature_undoes_a_scaling_of_the_logits(factor: float) -> None:
    logits, labels = some_logits(5000)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor * fit_temperature(logits, labels), rel=0.01)


def test_perfect_confidence_has_no_calibration_error_and_false_confidence_all() -> None:
    assert expected_calibration_error(np.ones(10), np.ones(10, bool)) == 0
    assert expected_calibration_error(np.ones(10), np.zeros(10, bool)) == 1
    assert expected_calibration_error(np.full(10, 0.7), np.arange(10) < 7) == pytest.approx(0)


def test_coverage_is_the_share_that_can_be_trusted() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    assert coverage_at(0.999, confidence, np.array([True, True, False, True])) == 0.5
    assert coverage_at(0.75, confidence, np.array([True, True, False, True])) == 1.0
    assert coverage_at(0.999, confidence, np.array([False, True, True, True])) == 0.0


def test_coverage_cannot_part_equal_confidences() -> None:
    assert coverage_at(1.0, np.array([0.9, 0.9]), np.array([True, False])) == 0.0


def test_the_reject_threshold_lets_the_promised_share_through() -> None:
    scores = np.random.default_rng(0).random(10000).astype(np.float32)
    assert (scores >= reject_threshold(scores, 0.97)).mean() == pytest.approx(0.97, abs=0.001)


@pytest.mark.parametrize("bad", ["empty", "shape", "nan"])
def test_what_cannot_be_measured_is_refused(bad: str) -> None:
    logits, labels = some_logits(5)
    if bad == "empty":
        logits, labels = logits[:0], labels[:0]
    elif bad == "shape":
        labels = labels[:4]
    else:
        logits[0, 0] = np.nan
    with pytest.raises(DataError):
        measure(logits, labels, ABC, data="d", split="test")


def test_every_figure_is_drawn_from_real_digits(sample: Dataset, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    logits = (np.eye(10)[sample.labels] * 3 + generator.normal(size=(5000, 10))).astype(np.float32)
    report = measure(logits, sample.labels, sample.classes, data="sample", split="test")
    history: dict[str, list[float]] = {
        "epoch": [1, 2],
        "train_accuracy": [0.5, 0.9],
        "train_loss": [1, 0.2],
        "test_loss": [1, 0.3],
    }
    figures = {
        "samples": plots.samples(sample.images, sample.labels, sample.classes),
        "wrong": plots.most_confidently_wrong(sample.images, sample.labels, sample.classes, report),
        "confusion": plots.confusion(report),
        "curves": plots.curves(history, 2, note="note"),
    }
    for name, figure in figures.items():
        assert plots.save(figure, tmp_path / f"{name}.png").stat().st_size > 5000
    assert len(figures["samples"].axes) == 40
    titles = [axis.get_title() for axis in figures["samples"].axes[:10]]
    assert titles == list("0123456789")
    assert {line.get_label() for line in figures["curves"].axes[1].lines} >= {"train", "test (display only)"}


def test_no_wrong_answer_is_said_so() -> None:
    images, labels = np.zeros((3, 28, 28), np.uint8), np.array([0, 1, 2])
    report = measure(np.eye(3, dtype=np.float32), labels, ABC, data="d", split="test")
    figure = plots.most_confidently_wrong(images, labels, ABC, report)
    assert "none of 3" in figure.texts[0].get_text()
