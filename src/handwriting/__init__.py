"""Handwriting: train a character classifier in seconds, measure it honestly, use it on photos.

Importing the package loads neither torch nor opencv nor onnxruntime: each public name is fetched on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> the room that defines it
_ROOMS = {
    "HandwritingError": "errors",
    "Classifier": "classifier",
    "Prediction": "classifier",
    "load": "classifier",
    "Page": "reading",
    "read": "reading",
    "adapt": "runs",
    "evaluate": "runs",
    "train": "runs",
}
__all__ = [
    "Classifier",
    "HandwritingError",
    "Page",
    "Prediction",
    "__version__",
    "adapt",
    "evaluate",
    "load",
    "read",
    "train",
]

if TYPE_CHECKING:
    from handwriting.classifier import Classifier, Prediction, load
    from handwriting.errors import HandwritingError
    from handwriting.reading import Page, read
    from handwriting.runs import adapt, evaluate, train


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'handwriting' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"handwriting.{_ROOMS[name]}"), name)
    except ModuleNotFoundError as error:
        from handwriting.errors import missing_extra

        raise missing_extra(error) or error from error


def __dir__() -> list[str]:
    return sorted(__all__)
