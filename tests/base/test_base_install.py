"""The base install predicts: nox runs this where no extra is installed, on each Python that the machine has."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import handwriting as hw

bare = pytest.mark.skipif(
    find_spec("torch") is not None, reason="extras are installed here; nox runs this without them"
)


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """A 7 in dark grey on light grey, 200 pixels tall."""
    picture = Image.new("L", (160, 200), 225)
    ImageDraw.Draw(picture).line([(40, 45), (118, 42), (70, 165)], fill=40, width=11, joint="curve")
    path = tmp_path / "seven.png"
    picture.save(path)
    return path


def test_the_shipped_model_reads_a_picture(seven: Path) -> None:
    answer = hw.load("digits").predict(seven)
    assert (answer.label, answer.rejected) == ("7", False)
    assert answer.probability > 0.9


def test_arrays_are_answered_in_their_order() -> None:
    images = np.zeros((3, 28, 28), np.uint8)
    images[1, 4:24, 13:16] = 255
    answers = hw.load("digits").predict(images)
    assert isinstance(answers, list)
    assert [answer.label for answer in answers] == [None, "1", None]


def test_the_command_answers_in_json(seven: Path) -> None:
    command = [sys.executable, "-m", "handwriting", "predict", str(seven), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    (answer,) = json.loads(result.stdout)
    assert (answer["image"], answer["label"]) == (str(seven), "7")


def test_predicting_loads_no_torch(seven: Path) -> None:
    code = f"import sys, handwriting as hw; hw.load().predict({str(seven)!r}); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "sklearn", "matplotlib", "onnx"} & set(result.stdout.split())


@bare
@pytest.mark.parametrize("arguments", [["train", "--data", "mnist-sample"], ["evaluate", "digits"]])
def test_what_needs_an_extra_names_it_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "handwriting", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "pip install 'handwriting[" in line


@bare
def test_nothing_of_the_extras_came_along() -> None:
    assert [name for name in ("torch", "sklearn", "matplotlib", "fastapi", "onnx") if find_spec(name)] == []
