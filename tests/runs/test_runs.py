"""A run told whole: what it leaves, what it refuses, and that the test part is opened once and last."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from handwriting.classifier import Classifier
from handwriting.data import Dataset, Splits
from handwriting.errors import DataError, ModelError, RunError, UnknownName
from handwriting.runs import Run, Watch, evaluate, train
from handwriting.runs import training as runs_training

FILES = {
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
}


def test_a_run_leaves_what_the_house_says_and_no_scraps(small_run: Run) -> None:
    assert {path.name for path in small_run.folder.iterdir()} == FILES


def test_the_report_is_the_models_own_answers_to_the_test_part(small_run: Run, small_file: Path) -> None:
    again = evaluate(small_run.model, small_file)
    assert small_run.report is not None
    assert again.as_json().items() <= small_run.report.items()
    assert small_run.report["test_opened"] == 1
    assert f"{again.accuracy:.2%}" in (small_run.folder / "report.md").read_text()


def test_the_history_has_train_valid_and_test_and_valid_chose_the_kept_epoch(small_run: Run, small_file: Path) -> None:
    with (small_run.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["number"]) for row in rows] == [1, 2]
    for part in ("train", "valid", "test"):
        assert all(0 <= float(row[f"{part}_accuracy"]) <= 1 for row in rows)
    assert small_run.report is not None
    best = rows[small_run.best_epoch - 1]
    assert float(best["test_accuracy"]) == pytest.approx(small_run.report["accuracy"])
    valid = evaluate(small_run.model, small_file, "valid")
    assert valid.accuracy == pytest.approx(max(float(row["valid_accuracy"]) for row in rows))


def test_the_test_part_is_opened_once_and_after_the_last_epoch(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    opened = Splits.open_test

    def open_test(splits: Splits) -> Dataset:
        events.append("test")
        return opened(splits)

    monkeypatch.setattr(Splits, "open_test", open_test)
    watch = Watch(epoch=lambda epoch: events.append(f"epoch {epoch.number}"))
    train(small_file, "classic", tmp_path / "run", epochs=2, watch=watch)
    assert events == ["epoch 1", "epoch 2", "test"]


def test_a_model_that_answers_otherwise_than_torch_is_never_written(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shifted(Classifier):
        def logits(self, images: NDArray[Any]) -> NDArray[np.float32]:
            return np.asarray(super().logits(images) + np.float32(0.01))

    monkeypatch.setattr(runs_training, "Classifier", Shifted)
    with pytest.raises(ModelError, match="answers otherwise than torch"):
        train(small_file, "classic", tmp_path / "run", epochs=1)
    assert not (tmp_path / "run" / "model.onnx").exists()


def test_resuming_with_other_options_is_refused(small_file: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(_epoch: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(small_file, "classic", tmp_path / "run", epochs=2, watch=Watch(epoch=stop))
    with pytest.raises(RunError, match=r"another recipe \(epochs\)"):
        train(small_file, "classic", tmp_path / "run", epochs=3, resume=True)
    assert train(small_file, "classic", tmp_path / "run", epochs=2, resume=True).report


def test_overwriting_with_data_that_is_not_there_keeps_the_earlier_run(small_run: Run) -> None:
    before = {path.name: path.read_bytes() for path in small_run.folder.iterdir()}
    with pytest.raises(UnknownName, match="did you mean 'mnist'"):
        train("mnits", "classic", small_run.folder, epochs=1, overwrite=True)
    assert {path.name: path.read_bytes() for path in small_run.folder.iterdir()} == before


def test_overwriting_deletes_runs_and_nothing_else(small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not a run folder"):
        train(small_file, "classic", tmp_path, epochs=1, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_class_that_the_model_does_not_know_is_named(small_run: Run, tmp_path: Path, sample: Dataset) -> None:
    np.savez(tmp_path / "letters.npz", images=sample.images[:40], labels=np.repeat(["a", "b"], 20))
    with pytest.raises(DataError, match="does not know: a, b"):
        evaluate(small_run.model, tmp_path / "letters.npz")


def test_an_unknown_split_brings_the_nearest(small_run: Run, small_file: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'valid'"):
        evaluate(small_run.model, small_file, "vallid")
