"""The scripts that make the shipped networks, end to end at toy size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from handwriting.classifier import Classifier
from handwriting.reading.sequence import LineModel

SCRIPTS = Path(__file__).parents[2] / "scripts"


def run(script: str, *options: str | Path) -> str:
    """A script's output; it must have succeeded."""
    command = [sys.executable, str(SCRIPTS / script), *map(str, options)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.mnist
def test_the_digits_models_script_makes_a_model_with_two_answers(tmp_path: Path, whole_mnist: Path) -> None:
    size = ["--scale", "0.01", "--epochs", "1", "--late", "1"]
    output = run("train_digits.py", "--out", tmp_path, "--data-dir", whole_mnist, "--threads", "1", *size)
    assert output.count(": loss") == 2
    model = Classifier(tmp_path / "model.onnx")
    assert model.scores(np.zeros((1, 28, 28), np.uint8)).character is not None
    assert model.metadata["valid"]["n"] == 12_000
    assert "test" not in model.metadata


@pytest.mark.mnist
def test_the_line_networks_script_makes_a_file_that_reading_opens(tmp_path: Path, whole_mnist: Path) -> None:
    size = ["--epochs", "2", "--scenes", "30", "--written", "64"]
    output = run("train_lines.py", "--out", tmp_path, "--data-dir", whole_mnist, "--threads", "1", *size)
    assert output.count("loss") == 8
    file = tmp_path / "digits-lines.onnx"
    recipes = LineModel(file.read_bytes()).metadata["recipe"]
    assert {name: recipe["seed"] for name, recipe in recipes.items()} == {
        "coarse": 11,
        "fine": 12,
        "coarse-crowded": 13,
        "fine-crowded": 14,
    }
    for recipe in recipes.values():
        assert (recipe["epochs"], recipe["scenes"], recipe["written"], len(recipe["loss"])) == (2, 30, 64, 2)
    file.unlink()
    (tmp_path / "fine.pt").unlink()
    output = run("train_lines.py", "--out", tmp_path, "--data-dir", whole_mnist, "--threads", "1", *size)
    assert output.count("loss") == 2  # what is there is not trained again
    assert file.exists()
    command = [sys.executable, str(SCRIPTS / "train_lines.py"), "--out", str(tmp_path), "--data-dir", str(whole_mnist)]
    ended = subprocess.run([*command, *size, "--epochs", "3"], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "coarse.pt was trained with {'epochs': 2" in ended.stderr
