"""How far probabilities can be trusted: temperature, expected calibration error, coverage at a given accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def fit_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """Logits (N, C) and labels (N,) of the valid part -> the temperature of least mean cross-entropy.

    One number divides all logits, so no predicted class changes (Guo et al. 2017, "On Calibration of Modern Neural
    Networks", section 4.2). It is sought in [0.05, 20].
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        return float(-scaled[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Confidences (N,) in [0, 1] and whether each answer was right (N,) -> ECE in [0, 1].

    Equal-width bins; the gap between mean confidence and accuracy of each, weighted by its share (Naeini et al. 2015;
    15 bins as in Guo et al. 2017).
    """
    index = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gaps = np.bincount(index, weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))


def coverage_at(accuracy: float, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """The largest share of answers, most confident first, that is right to at least `accuracy`; in [0, 1].

    Answers of equal confidence come or go together: a threshold cannot part them.
    """
    order = np.argsort(-confidence, kind="stable")
    running = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    last_of_ties = np.append(np.diff(confidence[order]) != 0, True)
    good = np.flatnonzero((running >= accuracy) & last_of_ties)
    return float((good[-1] + 1) / len(order)) if len(good) else 0.0


def reject_threshold(scores: NDArray[np.floating[Any]], accepted: float = 0.99) -> float:
    """Scores (N,) of real characters of the valid part -> the threshold below which all but `accepted` of them lie."""
    return float(np.quantile(scores, 1 - accepted))
