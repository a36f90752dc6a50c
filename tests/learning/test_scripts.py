"""The scripts that make the shipped networks, end to end at toy size."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from handwriting.classifier import Classifier
from handwriting.reading.sequence import LineModel

SCRIPTS = Path(__file__).parents[2] / "scripts"


def ended(script: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """A script's whole process."""
    command = [sys.executable, str(SCRIPTS / script), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(script: str, *options: str | Path) -> str:
    """A script's output; it must have succeeded."""
    process = ended(script, *options)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.mnist
def test_the_digits_models_script_makes_a_model_with_two_answers(tmp_path: Path, whole_mnist: Path) -> None:
    size = ["--scale", "0.01", "--epochs", "1", "--late", "1"]
    output = run("train_digits.py", "--out", tmp_path, "--data-dir", whole_mnist, "--threads", "1", *size)
    assert output.count(": loss") == 2
    model = Classifier(tmp_path / "model.onnx")
    assert model.scores(np.zeros((1, 28, 28), np.uint8)).character is not None
    assert model.metadata["valid"]["n"] == 12_000
    assert "test" not in model.metadata
    again: list[str | Path] = ["--out", tmp_path / "again", "--data-dir", whole_mnist, "--trained"]
    assert "loss" not in run("train_digits.py", *again, tmp_path / "float.onnx")
    assert (tmp_path / "again/model.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()
    process = ended("train_digits.py", *again, tmp_path / "model.onnx")
    assert process.returncode != 0
    assert "in 8 bits already: give the float.onnx" in process.stderr


@pytest.mark.mnist
def test_the_line_networks_script_makes_a_file_that_reading_opens(tmp_path: Path, whole_mnist: Path) -> None:
    size = ["--epochs", "2", "--scenes", "30", "--written", "64", "--batch", "32"]
    output = run("train_lines.py", "--out", tmp_path, "--data-dir", whole_mnist, "--threads", "1", *size)
    assert output.count("loss") == 6
    file = tmp_path / "digits-lines.onnx"
    recipes = LineModel(file.read_bytes()).metadata["recipe"]
    assert {name: recipe["seed"] for name, recipe in recipes.items()} == {
        "coarse-even": 11,
        "fine-even": 11,
        "fine-crowded": 12,
    }
    for recipe in recipes.values():
        assert (recipe["epochs"], recipe["scenes"], recipe["written"], len(recipe["loss"])) == (2, 30, 64, 2)
    file.unlink()
    (tmp_path / "fine-even.pt").unlink()
    output = run("train_lines.py", "--out", tmp_path, "--data-dir", whole_mnist, "--threads", "1", *size)
    assert output.count("loss") == 2  # what is there is not trained again
    assert file.exists()
    again: list[str | Path] = ["--out", tmp_path / "again", "--data-dir", whole_mnist, "--threads", "1", "--trained"]
    assert "loss" not in run("train_lines.py", *again, tmp_path / "float.onnx")
    assert (tmp_path / "again/digits-lines.onnx").read_bytes() == file.read_bytes()
    assert file.stat().st_size < 0.3 * (tmp_path / "float.onnx").stat().st_size
    model, was = (LineModel(path.read_bytes()).metadata for path in (file, tmp_path / "float.onnx"))
    assert model == {**was, "convolutions": model["convolutions"]}
    process = ended("train_lines.py", *again, file)
    assert process.returncode != 0
    assert "in 8 bits already: give the float.onnx" in process.stderr
    for name in ("coarse-even", "fine-even"):  # the first is gone the second time, and not trained
        process = ended("train_lines.py", "--out", tmp_path, "--data-dir", whole_mnist, *size, "--epochs", "3")
        assert process.returncode != 0
        assert f"{name}.pt was trained with {{'epochs': 2" in process.stderr
        assert "loss" not in process.stdout
        (tmp_path / f"{name}.pt").unlink()


@pytest.mark.mnist
def test_the_members_of_one_manner_can_be_trained_by_a_run_of_their_own(tmp_path: Path, whole_mnist: Path) -> None:
    size = ["--epochs", "1", "--scenes", "30", "--written", "64", "--batch", "32", "--processes", "2"]
    half = ["--only", "coarse-crowded", "fine-crowded"]
    run("train_lines.py", "--out", tmp_path, "--data-dir", whole_mnist, "--threads", "1", *half, *size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coarse-crowded.pt", "fine-crowded.pt"]


@pytest.mark.mnist
def test_a_line_network_can_learn_on(tmp_path: Path, whole_mnist: Path) -> None:
    size = ["--only", "fine-even", "--epochs", "1", "--scenes", "30", "--written", "64", "--batch", "32"]
    first, more = tmp_path / "first", tmp_path / "more"
    run("train_lines.py", "--out", first, "--data-dir", whole_mnist, "--threads", "1", *size)
    still = ["--rate", "1e-9", "--seed", "5"]  # no step to speak of
    run("train_lines.py", "--out", more, "--after", first, "--data-dir", whole_mnist, "--threads", "1", *size, *still)
    documents = [torch.load(folder / "fine-even.pt") for folder in (first, more)]
    assert documents[1]["recipe"]["after"] == documents[0]["recipe"]
    before, after = (document["weights"]["features.3.weight"] for document in documents)
    assert torch.allclose(before, after, atol=1e-5)
    process = ended("train_lines.py", "--out", more, "--data-dir", whole_mnist, *size, *still)  # without --after
    assert process.returncode != 0
    assert "fine-even.pt went on from another member" in process.stderr
    process = ended("train_lines.py", "--out", tmp_path, "--after", more, "--only", "coarse-even")
    assert process.returncode != 0
    assert "coarse-even.pt: no such file" in process.stderr


@pytest.mark.mnist
def test_the_window_networks_script_makes_a_file_that_reading_opens(tmp_path: Path, whole_mnist: Path) -> None:
    size = ["--epochs", "2", "--scenes", "12", "--window", "1"]
    output = run("train_windows.py", "--out", tmp_path, "--data-dir", whole_mnist, "--threads", "1", *size)
    assert output.count("nats a line") == 2
    lines = resources.files("handwriting.reading").joinpath("digits-lines.onnx").read_bytes()
    file = tmp_path / "digits-windows.onnx"
    model = LineModel(lines, file.read_bytes())
    assert model.suits(np.zeros((1, 3, 44, 48), np.uint8)).shape == (1, 10)
    again: list[str | Path] = ["--out", tmp_path / "again", "--data-dir", whole_mnist, "--threads", "1", "--trained"]
    assert "nats" not in run("train_windows.py", *again, tmp_path / "float.onnx")
    assert (tmp_path / "again/digits-windows.onnx").read_bytes() == file.read_bytes()
    process = ended("train_windows.py", *again, file)
    assert process.returncode != 0
    assert "in 8 bits already: give the float.onnx" in process.stderr


@pytest.mark.parametrize("script", ["train_digits.py", "train_lines.py", "train_windows.py"])
def test_a_trained_network_that_is_not_there_or_none_is_said_so(script: str, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for name, words in (("none.onnx", "no such file"), ("text.onnx", "not a readable ONNX model")):
        process = ended(script, "--out", tmp_path, "--trained", tmp_path / name)
        assert process.returncode != 0
        assert process.stderr.splitlines()[-1].endswith(f"{name}: {words}")
