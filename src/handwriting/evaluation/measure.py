"""`measure`: logits and labels -> `Report`, the numbers that are printed, written and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from handwriting.errors import DataError
from handwriting.evaluation.calibration import coverage_at, expected_calibration_error

_Z95 = 1.959963984540054  # the normal distribution's 97.5% quantile


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Successes out of trials -> the 95% interval of the share, in [0, 1] (Wilson 1927, score interval).

    Unlike the usual p +- 1.96 sd it stays within [0, 1] and keeps its promise near 100%, where these models live.
    """
    if trials == 0:
        return 0.0, 1.0
    share, z2 = successes / trials, _Z95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, eq=False)
class Report:
    """How good the answers to one part of one data set are. `as_json` gives the keys of report.json.

    Attributes:
        data, split: what was measured on.
        n: number of characters.
        accuracy, accuracy_ci95: share right, and its Wilson interval; in [0, 1].
        loss: mean cross-entropy of the raw logits, in nats: summed over all characters, then divided once by n.
        temperature: what `ece` and `confidence` divide the logits by.
        ece: expected calibration error, 15 bins, in [0, 1].
        coverage_at_99_9: the largest share of answers, most confident first, that is right to 99.9%.
        per_class: for each class precision, recall, f1 in [0, 1] and n.
        confusion_matrix: int64 (C, C), rows are true classes, columns answers.
        predicted, confidence: (N,) the answers and their probabilities.
    """

    data: str
    split: str
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    loss: float
    temperature: float
    ece: float
    coverage_at_99_9: float
    per_class: dict[str, dict[str, float]]
    confusion_matrix: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def as_json(self) -> dict[str, Any]:
        """The report in JSON types."""
        return {
            "data": self.data,
            "split": self.split,
            "n": self.n,
            "accuracy": self.accuracy,
            "accuracy_ci95": list(self.accuracy_ci95),
            "loss": self.loss,
            "temperature": self.temperature,
            "ece": self.ece,
            "coverage_at_99_9": self.coverage_at_99_9,
            "per_class": self.per_class,
            "confusion_matrix": self.confusion_matrix.tolist(),
        }


def measure(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    data: str,
    split: str,
    temperature: float = 1.0,
) -> Report:
    """Logits float32 (N, C) and labels int64 (N,) -> Report.

    Raises:
        DataError: nothing to measure, lengths that differ, or logits that are not finite.
    """
    if len(labels) == 0 or logits.shape != (len(labels), len(classes)):
        raise DataError(f"{data}: {logits.shape} logits do not fit {len(labels)} labels of {len(classes)} classes")
    if not np.isfinite(logits).all():
        raise DataError(f"{data}: the model's logits are not finite; train it anew with a lower learning rate")
    rows = np.arange(len(labels))
    predicted = logits.argmax(axis=1).astype(np.int64)
    correct = predicted == labels
    confidence = np.exp(log_softmax(logits.astype(np.float64) / temperature, axis=1))[rows, predicted]
    precision, recall, f1, count = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=0.0
    )
    per_class = {
        name: {"precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i]), "n": int(count[i])}
        for i, name in enumerate(classes)
    }
    return Report(
        data=data,
        split=split,
        n=len(labels),
        accuracy=float(correct.mean()),
        accuracy_ci95=wilson_interval(int(correct.sum()), len(labels)),
        loss=float(-log_softmax(logits.astype(np.float64), axis=1)[rows, labels].sum() / len(labels)),
        temperature=temperature,
        ece=expected_calibration_error(confidence, correct),
        coverage_at_99_9=coverage_at(0.999, confidence, correct),
        per_class=per_class,
        confusion_matrix=confusion_matrix(labels, predicted, labels=np.arange(len(classes))).astype(np.int64),
        predicted=predicted,
        confidence=confidence,
    )
