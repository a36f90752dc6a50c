"""A model file as the service has loaded it: which bytes answer."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.classifier import Classifier, read
from handwriting.errors import ModelError


@dataclass(frozen=True)
class Version:
    """A model file as it was when it was loaded.

    Attributes:
        ident: the version in the file's metadata and the start of its SHA-256: other bytes, other ident.
        origin: "file" or "adapted".
    """

    classifier: Classifier
    ident: str
    path: Path
    origin: str
    loaded_at: datetime

    def as_json(self) -> dict[str, Any]:
        """What clients are told of it; no paths."""
        return {"version": self.ident, "origin": self.origin, "loaded_at": self.loaded_at.isoformat()}


def open_version(path: Path, origin: str = "file") -> Version:
    """A model file -> a Version that has answered once. Raises ModelError."""
    content = read(path)
    try:
        classifier = Classifier(content, threads=1)  # batches are small: more threads would only fight the event loop
    except ModelError as error:
        raise ModelError(str(error).replace("the model", str(path), 1)) from error
    logits = classifier.logits(np.zeros((2, 28, 28), np.uint8))
    if logits.shape != (2, len(classifier.classes)):
        raise ModelError(f"{path}: {len(classifier.classes)} classes, but logits of shape {logits.shape}")
    version = re.sub(r"[^A-Za-z0-9._+-]+", "-", str(classifier.metadata.get("version", "0")))[:40]  # goes into a header
    ident = f"{version}-{hashlib.sha256(content).hexdigest()[:12]}"
    return Version(classifier, ident, path, origin, datetime.now(timezone.utc))
