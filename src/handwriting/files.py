"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handwriting.errors import SaveError

_SCRAP = ".handwriting-"  # begins the names of files that are still being written


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the name ``path`` when the block ends well.

    The bytes reach the disk (fsync) before the rename, so that after a crash or SIGKILL ``path`` is either the old
    file or the new one. When the block fails nothing remains of the temporary file.

    Raises:
        SaveError: the file system refused (disk full, read-only, no such folder); the old file is untouched.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays: savers such as matplotlib's choose the format by it.
        handle, name = tempfile.mkstemp(prefix=_SCRAP, suffix="~" + path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp gives 0600, which would hide results from the user's group
        temporary.replace(path)
    except OSError as error:
        raise SaveError(f"cannot write {path}: {error.strerror or error}; nothing that was there is lost") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sweep(folder: str | Path) -> None:
    """Remove what `whole` left half-written in a folder and below it because its process was killed."""
    for scrap in Path(folder).rglob(_SCRAP + "*~*"):
        scrap.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes | str) -> Path:
    """``content`` (text as UTF-8) to ``path``, whole or not at all; returns the path. Raises SaveError."""
    with whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)
