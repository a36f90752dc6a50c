"""SIGKILL at random moments: nothing unreadable is left, and the resumed run ends with the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from handwriting.classifier import load
from handwriting.learning import checkpoints
from tests.conftest import Command

EPOCHS = 6


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    options = ["--data", str(data), "--recipe", "classic", "--epochs", str(EPOCHS), "--out", str(out), *more]
    return [sys.executable, "-m", "handwriting", "train", *options]


@pytest.fixture(scope="module")
def unbroken(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    subprocess.run(arguments(small_file, out), check=True, capture_output=True)
    return out


def readable(run: Path) -> None:
    """Every file that has a name of its own can be read whole."""
    for path in run.rglob("*"):
        if path.suffix == ".safetensors" and not path.name.startswith("."):
            checkpoints.load(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.name == "model.onnx":
            load(path)


def test_a_run_killed_ten_times_ends_with_the_weights_of_an_unbroken_one(
    unbroken: Path, small_file: Path, tmp_path: Path
) -> None:
    """Ten kills at random moments, spread over start, epochs, checkpoints and the finish."""
    generator, out = random.Random(11), tmp_path / "run"
    kills = 0
    while kills < 10:
        resume = ["--resume"] if (out / "recipe.json").exists() else []
        process = subprocess.Popen(arguments(small_file, out, *resume), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # A sixth of a run's time on average, counted from when the folder shows that the work goes on.
        before = len(list(out.glob("*"))) if out.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and len(list(out.glob("*"))) <= before:
            time.sleep(0.02)
            if before:
                break
        time.sleep(generator.uniform(0.0, 4.0 if before else 1.0))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        kills += 1
        assert process.returncode in (0, -signal.SIGKILL), errors
        readable(out)
        if process.returncode == 0:
            break
    resumed = subprocess.run(arguments(small_file, out, "--resume"), capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    readable(out)
    expected, found = (checkpoints.load(run / "checkpoint.safetensors") for run in (unbroken, out))
    assert {name: value.numpy().tobytes() for name, value in found[0].items()} == {
        name: value.numpy().tobytes() for name, value in expected[0].items()
    }
    assert list(out.rglob(".*")) == []
    assert {path.name for path in out.iterdir()} == {path.name for path in unbroken.iterdir()}


def test_ctrl_c_keeps_what_there_is_and_the_test_part_closed(small_file: Path, unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(arguments(small_file, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(errors.strip().splitlines()) == 1
    assert "--resume goes on" in errors
    assert load(out).metadata["valid"]["n"] == 100
    assert "test" not in load(out).metadata
    assert not (out / "report.json").exists()
    subprocess.run(arguments(small_file, out, "--resume"), check=True, capture_output=True)
    assert (out / "model.onnx").read_bytes()
    assert json.loads((out / "report.json").read_text())["accuracy"] == pytest.approx(
        json.loads((unbroken / "report.json").read_text())["accuracy"]
    )


def test_a_checkpoint_broken_on_disk_is_said_and_the_one_before_it_used(
    unbroken: Path, small_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(arguments(small_file, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (out / "checkpoint-previous.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    checkpoint = out / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000] if checkpoint.exists() else b"")
    resumed = subprocess.run(arguments(small_file, out, "--resume"), capture_output=True, text=True, check=False)
    assert resumed.returncode == 0
    assert "broken" in resumed.stderr
    assert "the checkpoint before it" in resumed.stderr
    assert (out / "model.onnx").is_file()


def test_finished_runs_are_not_run_again(unbroken: Path, small_file: Path, command: Command) -> None:
    model = (unbroken / "model.onnx").stat()
    result = command(*arguments(small_file, unbroken, "--resume")[3:])
    assert result.returncode == 0
    assert "test accuracy" in result.stdout
    assert (unbroken / "model.onnx").stat().st_mtime_ns == model.st_mtime_ns
