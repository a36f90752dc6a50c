"""`handwriting adapt` as a person types it: figures, a refusal, one line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handwriting.cli import main
from handwriting.cli.adapt import corrections
from handwriting.data import Dataset
from handwriting.errors import DataError
from handwriting.runs import Run, fitting
from handwriting.serving import Correction, Store
from tests.hands import in_another_hand, some_of_each, threes_for_eights

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def person(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    hand = in_another_hand(some_of_each(sample, 100, 106))
    path = tmp_path_factory.mktemp("person") / "hand.npz"
    np.savez(path, images=hand.images, labels=hand.labels, classes=np.array(hand.classes))
    return path


def test_adapt_prints_both_accuracies_before_and_after(
    command: Command, person: Path, small_run: Run, tmp_path: Path
) -> None:
    done = command("adapt", "--model", small_run.model, "--samples", person, "--out", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith("your held-out characters: accuracy ")
    assert "n = 60" in first
    assert second.startswith("mnist-sample held out: accuracy ")
    assert (tmp_path / "run" / "model.onnx").is_file()


def test_a_refusal_is_exit_status_1_one_line_and_the_figures_as_json(
    sample: Dataset,
    small_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = threes_for_eights(sample)
    np.savez(tmp_path / "wrong.npz", images=wrong.images, labels=wrong.labels, classes=np.array(wrong.classes))
    monkeypatch.setattr(fitting, "STRENGTHS", (1.0,))  # weakened far enough, it would cost nothing
    arguments = ["--model", small_run.model, "--samples", tmp_path / "wrong.npz", "--out", tmp_path / "run", "--json"]
    monkeypatch.setattr(sys, "argv", ["handwriting", "adapt", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("handwriting: refused: ")
    assert len(printed.err.splitlines()) == 1
    report = json.loads(printed.out)
    assert not report["accepted"]
    assert set(report["before"]) == set(report["after"]) == {"person", "valid"}
    assert not (tmp_path / "run").exists()


def test_a_hand_is_learned_without_torch(person: Path, small_run: Run, tmp_path: Path) -> None:
    """A server that was installed with the extra `serve` alone learns from its corrections."""
    code = "\n".join(
        [
            "import sys",
            "class NoTorch:",
            "    def find_spec(self, name, *_):",
            "        if name.partition('.')[0] == 'torch':",
            "            raise ModuleNotFoundError('no torch here', name=name)",
            "sys.meta_path.insert(0, NoTorch())",
            "from handwriting.cli import main",
            "main()",
        ]
    )
    arguments = ["adapt", "--model", small_run.model, "--samples", person, "--out", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "model.onnx").is_file()


def test_missing_samples_are_one_line(command: Command, small_run: Run, tmp_path: Path) -> None:
    done = command("adapt", "--model", small_run.model, "--samples", tmp_path / "none", "--out", tmp_path / "run")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "no such folder or file" in done.stderr


def test_corrections_in_a_store_are_samples(sample: Dataset, tmp_path: Path) -> None:
    hand = some_of_each(sample, 0, 2)
    url = f"sqlite:///{tmp_path / 'corrections.sqlite3'}"
    with pytest.raises(DataError, match="no such store"):
        corrections(url)
    with Store(url) as store:
        for image, label in zip(hand.images, hand.labels, strict=True):
            store.add(
                Correction(
                    image=image,
                    label=hand.classes[label],
                    predicted_label="1",
                    predicted_probability=0.5,
                    model="digits",
                    model_version="1",
                    session="test",
                )
            )
    found = corrections(url)
    np.testing.assert_array_equal(found.images, hand.images)
    assert [found.classes[label] for label in found.labels] == [hand.classes[label] for label in hand.labels]


def test_an_empty_store_has_nothing_to_teach(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    Store(url).close()
    with pytest.raises(DataError, match="no corrections"):
        corrections(url)
