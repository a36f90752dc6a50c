"""A disk that is really full, and one that is really read-only: one line, and what was saved stays readable."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from handwriting.learning import checkpoints
from tests.conftest import Command


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 9 MB: room for two checkpoints of the classic recipe, not for a third set of weights."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_stops_in_one_line_with_a_checkpoint_to_go_on_from(
    small_disk: Path, small_file: Path, command: Command
) -> None:
    out = small_disk / "run"
    result = command("train", "--data", small_file, "--recipe", "classic", "--epochs", "9", "--out", out)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "No space left on device" in result.stderr
    (_, document), warning = checkpoints.load_latest(out / "checkpoint.safetensors")
    assert len(document["history"]) >= 1
    assert warning == ""
    assert list(out.rglob(".*")) == []


def test_a_read_only_disk_is_said_so(small_disk: Path, small_file: Path, command: Command) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    result = command("train", "--data", small_file, "--out", small_disk / "run")
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Read-only file system" in result.stderr
