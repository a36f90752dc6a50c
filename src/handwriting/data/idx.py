"""IDX, the file form of MNIST and its kin: a magic number, the sizes, then the values, big-endian, often gzipped.

The form is described at the foot of Yann LeCun's MNIST page: two zero bytes, a type code, the number of dimensions,
a 32-bit size for each, then the data in C order.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handwriting.errors import DataError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def unpack(path: Path) -> bytes:
    """A file, gzipped or plain -> its bytes unpacked. Raises DataError (missing, unreadable, truncated gzip)."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or broken ({error}); delete it and fetch it anew") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def read_idx(path: Path, *, md5: str | None = None) -> NDArray[Any]:
    """An IDX file, gzipped or plain -> its array, of the file's shape and type in native byte order.

    Args:
        path: the file.
        md5: of the unpacked content, when it is known.

    Raises:
        DataError: the file is missing, truncated, not IDX, or not the file that `md5` names.
    """
    content = unpack(path)
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{path} is not the original file (its unpacked MD5 differs); delete it and fetch it anew")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise DataError(f"{path} is not an IDX file (it does not start with an IDX magic number)")
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(f"{path} is truncated: it ends inside its header")
    shape = struct.unpack(f">{rank}I", content[4:start])
    dtype = np.dtype(_DTYPES[content[2]])
    promised = math.prod(shape) * dtype.itemsize
    if len(content) - start != promised:
        raise DataError(
            f"{path} is truncated or too long: its header promises {promised} bytes, {len(content) - start} follow"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))  # a copy: writable, native
