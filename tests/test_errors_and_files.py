"""Errors say what to do; files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from handwriting.errors import HandwritingError, SaveError, UnknownName, missing_extra
from handwriting.files import whole, write_whole


def test_an_unknown_name_brings_the_nearest_one() -> None:
    message = str(UnknownName("recipe", "clasic", ["classic", "fast"]))
    assert message == "unknown recipe 'clasic': did you mean 'classic'? known: classic, fast"


def test_a_far_name_brings_only_the_list() -> None:
    assert "did you mean" not in str(UnknownName("recipe", "zzz", ["classic", "fast"]))


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    error = missing_extra(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    assert isinstance(error, HandwritingError)
    assert "pip install 'handwriting[train]'" in str(error)
    assert missing_extra(ModuleNotFoundError(name="nonsense")) is None


def test_a_failed_write_leaves_the_old_file_and_no_scraps(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.txt", "old")

    def fill(temporary: Path) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:  # the kernel's own full disk
            full.write(b"x")

    with pytest.raises(SaveError, match="No space left"), whole(path) as temporary:
        fill(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_is_a_save_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="cannot write"):
        write_whole(tmp_path / "file" / "below.txt", "x")
