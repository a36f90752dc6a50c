"""Every error a user can meet: one small tree, one line each, saying what was wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HandwritingError(Exception):
    """The root: anything this package refuses, in one line fit to print after ``handwriting:``."""


class UnknownName(HandwritingError):
    """A data set, recipe, device, model or option value that does not exist; the message names the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}known: {', '.join(names)}")


class PictureError(HandwritingError):
    """A picture that cannot be read: missing, empty, truncated, not an image, too many pixels."""


class DataError(HandwritingError):
    """Data that is missing, broken or of the wrong form."""


class ModelError(HandwritingError):
    """A model file that is missing, broken or not one of ours."""


class CheckpointError(HandwritingError):
    """A checkpoint that cannot be used."""


class RunError(HandwritingError):
    """A run folder that is in the way, or has nothing to resume."""


class TrainingError(HandwritingError):
    """A training run that cannot start or go on: option out of range, loss not finite, out of memory."""


class SaveError(HandwritingError):
    """A file that could not be written; what was there before is untouched."""


# The optional packages that a feature may find missing, by the extra that brings them.
_EXTRAS = {
    "evaluate": ("sklearn", "matplotlib"),
    "sample": ("mlxtend",),
    "adapt": ("onnx", "scipy"),
    "train": ("torch", "onnxscript", "safetensors"),
    "serve": ("fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client", "psycopg", "pyarrow", "multipart"),
}


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """The error of a failed import -> what to install, when an extra brings that package; else None."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in _EXTRAS.items():
        if package in packages:
            return MissingExtra(f"this (package {package!r})", extra)
    return None


class MissingExtra(HandwritingError):
    """A feature whose optional packages are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs optional packages: pip install 'handwriting[{extra}]'")
