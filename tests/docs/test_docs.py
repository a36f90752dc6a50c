"""Every code block of README and docs runs as it stands.

Blocks marked ``python`` run in order in one namespace for each document; lines that start with ``$`` in blocks marked
``console`` run in a shell. A block after ``<!-- not run: reason -->`` is left out. All run in a folder that holds the
pictures and the small data folder which the documents speak of.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from handwriting.data import Dataset
from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?```(python|console)\n(.*?)```", re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str]]:
    """A document -> (language, text) of each block that is to be run."""
    return [(language, text) for skipped, language, text in BLOCK.findall(path.read_text()) if not skipped]


@pytest.fixture
def desk(sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a reader of the documents would have it."""
    for picture in (ROOT / "docs" / "images").glob("*.jpg"):
        shutil.copy(picture, tmp_path)
    for label in range(10):  # my-digits/0/00.png ...: somebody's own pictures
        folder = tmp_path / "my-digits" / str(label)
        folder.mkdir(parents=True)
        for number, index in enumerate(np.flatnonzero(sample.labels == label)[:20]):
            image = cv2.resize(sample.images[index], (84, 84), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / f"{number:02d}.png"), 240 - (np.pad(image, 24) * 0.8).astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return tmp_path


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path)], ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_block_of_a_document_runs(path: Path, desk: Path) -> None:
    namespace: dict[str, object] = {"__name__": "document"}
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for language, text in blocks(path):
        if language == "python":
            exec(compile(text, str(path), "exec"), namespace)  # noqa: S102 - that is the test
            continue
        commands = re.findall(r"^\$ (.*(?:\\\n.*)*)", text, re.MULTILINE)
        assert commands, f"a console block without a command in {path.name}"
        for command in commands:
            result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
            assert result.returncode == 0, f"{path.name}: {command}\n{result.stdout}{result.stderr}"


def test_every_link_inside_the_project_leads_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}"
