"""The script that makes the line network, end to end at toy size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from handwriting.reading.sequence import LineModel

SCRIPT = Path(__file__).parents[2] / "scripts/train_lines.py"


@pytest.mark.mnist
def test_the_line_networks_script_makes_a_file_that_reading_opens(tmp_path: Path, whole_mnist: Path) -> None:
    options = ["--out", str(tmp_path), "--data-dir", str(whole_mnist), "--threads", "1"]
    options += ["--epochs", "2", "--scenes", "30", "--written", "64"]
    ended = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("loss") == 2
    model = LineModel((tmp_path / "digits-lines.onnx").read_bytes())
    assert model.metadata["recipe"] == {"epochs": 2, "scenes": 30, "written": 64, "seed": 11}
    assert len(model.metadata["loss"]) == 2
