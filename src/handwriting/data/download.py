"""The files of a named data set: found here, or fetched from the first mirror that answers, checked, kept."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from pathlib import Path

import pooch

from handwriting.data.idx import unpack
from handwriting.data.places import Named, RemoteFile, cache_dir, find
from handwriting.errors import DataError

_ATTEMPTS = 2  # rounds over all mirrors; a mirror that fails twice seconds apart is down, not hiccuping
_TIMEOUT = 20  # seconds without a byte


def located(named: Named, data_dir: Path | None) -> list[Path]:
    """The paths of a named set's files, in its order; what is missing is fetched. Raises DataError."""
    return [find(named.name, file.name, data_dir) or fetch(named, file) for file in named.files]


def fetch(named: Named, file: RemoteFile, folder: Path | None = None) -> Path:
    """One file of a named set, downloaded into `folder` (default: the user's cache), checked; returns its path.

    Raises:
        DataError: no mirror gave the file; nothing broken is kept.
    """
    folder = folder or cache_dir() / named.name
    pooch.get_logger().setLevel(logging.WARNING)  # its own lines would break a progress bar
    failures: list[str] = []
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(1.0)
        for mirror in named.mirrors:
            try:
                path = pooch.retrieve(
                    mirror + file.name,
                    known_hash=f"md5:{file.packed_md5}",
                    fname=file.name,
                    path=folder,
                    downloader=pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_TIMEOUT),
                )
            except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
                failures.append(f"{mirror.split('/')[2]}: {type(error).__name__}")
                continue
            return Path(path)
    why = "; ".join(failures[: len(named.mirrors)])
    raise DataError(
        f"cannot fetch {named.name}/{file.name} ({why}). Without a network, train on --data mnist-sample, or put the "
        f"files into a folder DIR/{named.name} and set HANDWRITING_DATA=DIR"
    )


def fetch_all(named: Named, data_dir: Path | None = None) -> list[Path]:
    """All files of a named set into `data_dir` (default: the user's cache); good ones are kept, bad ones replaced."""
    folder = (data_dir or cache_dir()) / named.name
    paths = []
    for file in named.files:
        path = folder / file.name
        if path.is_file() and not _intact(path, file):
            path.unlink()
        paths.append(path if path.is_file() else fetch(named, file, folder))
    return paths


def _intact(path: Path, file: RemoteFile) -> bool:
    try:
        return hashlib.md5(unpack(path), usedforsecurity=False).hexdigest() == file.md5
    except DataError:
        return False
