"""The deployable: one .onnx file with classes, normalisation and calibration in it; predicts without torch."""

from handwriting.classifier.classifier import Classifier, Prediction, Scores, as_input, load, nothing_found
from handwriting.classifier.modelfile import document, locate, quiet_session, read, shipped, with_metadata

__all__ = [
    "Classifier",
    "Prediction",
    "Scores",
    "as_input",
    "document",
    "load",
    "locate",
    "nothing_found",
    "quiet_session",
    "read",
    "shipped",
    "with_metadata",
]
