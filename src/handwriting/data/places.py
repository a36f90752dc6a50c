"""What a named data set is, and where its files are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from handwriting.data.dataset import Source


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set: its usual name, the MD5 of the packed download and of its unpacked content."""

    name: str
    packed_md5: str
    md5: str


@dataclass(frozen=True)
class Named:
    """A data set that has a name: what `handwriting data list` says of it, and how it is loaded."""

    name: str
    about: str
    size: str
    licence: str
    load: Callable[[Path | None], Source]
    files: tuple[RemoteFile, ...] = ()
    mirrors: tuple[str, ...] = ()


def data_dirs(data_dir: Path | None) -> list[Path]:
    """The folders in which data is looked for, in order: `data_dir`, $HANDWRITING_DATA, the user's cache."""
    named = [data_dir, os.environ.get("HANDWRITING_DATA")]
    return [*(Path(folder).expanduser() for folder in named if folder), cache_dir()]


def cache_dir() -> Path:
    """Where downloads are kept."""
    return Path(platformdirs.user_cache_dir("handwriting")) / "data"


def find(set_name: str, file_name: str, data_dir: Path | None) -> Path | None:
    """The first folder's copy of a data set's file, packed (.gz) or unpacked; None when there is none."""
    for folder in data_dirs(data_dir):
        for name in (file_name, file_name.removesuffix(".gz")):
            if (folder / set_name / name).is_file():
                return folder / set_name / name
    return None
