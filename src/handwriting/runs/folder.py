"""The folder that a run leaves: what lies in it, who may write into it, and what was recorded."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handwriting.errors import RunError
from handwriting.files import sweep, write_whole

_FILES = (
    "recipe.json",
    "history.csv",
    "samples.png",
    "curves.png",
    "confusion.png",
    "wrong.png",
    "report.md",
    "report.json",
    "checkpoint.safetensors",
    "checkpoint-previous.safetensors",
    "model.onnx",
)


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run's folder."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def checkpoint(self) -> Path:
        """The state after the last epoch."""
        return self.path / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        """What the run is for."""
        return self.path / "model.onnx"

    @property
    def finished(self) -> bool:
        """Whether the test part was opened and everything written: report.json is written last."""
        return (self.path / "report.json").is_file()

    def epoch_weights(self, number: int) -> Path:
        """Where the weights after an epoch wait for the test curve; removed when the run is finished."""
        return self.path / "epochs" / f"{number:04d}.safetensors"

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """Check that the folder may be written into; an earlier run in it stays until `clear`.

        Raises:
            RunError: it holds something and neither `resume` nor `overwrite` says what to do; or `overwrite` would
                delete files that no run wrote; or there is nothing to resume.
        """
        sweep(self.path)
        occupied = self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))
        if resume:
            if not (self.path / "recipe.json").is_file():
                raise RunError(f"{self.path}: no run to resume here; leave out --resume to start one")
            return
        if occupied and not overwrite:
            raise RunError(
                f"{self.path} exists already; --resume goes on, --overwrite starts anew, or choose another --out"
            )
        if occupied and not (self.path / "recipe.json").is_file():
            raise RunError(f"{self.path} is not a run folder, so --overwrite does not touch it; choose another --out")

    def clear(self) -> None:
        """Delete what an earlier run left; nothing else in the folder is touched."""
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "epochs", ignore_errors=True)

    def write_json(self, name: str, document: dict[str, Any]) -> None:
        """A document of JSON types to a file of the folder. Raises SaveError."""
        write_whole(self.path / name, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """What `write_json` wrote. Raises RunError: missing or broken."""
        try:
            document = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(
                f"{self.path / name} is missing or broken ({error}); start the run anew with --overwrite"
            ) from error
        if not isinstance(document, dict):
            raise RunError(f"{self.path / name} is not what a run writes; start the run anew with --overwrite")
        return document

    def write_history(self, rows: Sequence[dict[str, Any]]) -> None:
        """One row an epoch to history.csv. Raises SaveError."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.path / "history.csv", text.getvalue())
