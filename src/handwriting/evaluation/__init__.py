"""What numbers mean: metrics, intervals and calibration of logits, never of a model; plots live in `.plots`."""

from handwriting.evaluation.calibration import (
    coverage_at,
    expected_calibration_error,
    fit_temperature,
    reject_threshold,
)
from handwriting.evaluation.measure import Report, measure, wilson_interval

__all__ = [
    "Report",
    "coverage_at",
    "expected_calibration_error",
    "fit_temperature",
    "measure",
    "reject_threshold",
    "wilson_interval",
]
