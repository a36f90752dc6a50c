"""From a file, bytes, Pillow picture or array to one form: uint8 RGB, upright, opaque."""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from handwriting.errors import PictureError

PictureLike: TypeAlias = "str | Path | bytes | BinaryIO | Image.Image | NDArray[Any]"

# Named, so that Pillow never tries a format that starts another program (EPS) or one we have not tested.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # JPEG brings phones' MPO with it
MOST_PIXELS = 50_000_000  # unless told otherwise
ORIENTATION_TAG = 0x0112
# Opening a pipe without a writer does not wait; Windows translates line ends where it is not told to leave them.
_TO_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_LOOKED_AT = 250_000  # pixels at a time where a picture's colours are worked out in floats
_MOST_SCANS = 200  # of a JPEG; progressive ones have about 10, and a small file can hold thousands
# A PNG of nothing but levels: how it begins, 8 bits of grey or RGB that are not interlaced, and how it ends.
_PNG_BEGINS, _PNG_KINDS = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", (b"\x08\0\0\0\0", b"\x08\2\0\0\0")
_PNG_ENDS = b"\0\0\0\0IEND\xaeB`\x82"
_MOST_PLAIN = 65_536  # pixels; in larger pictures Pillow's steps beside decoding hardly count
# ISO 14496-12: bytes 4-12 of a phone's HEIC/AVIF file.
PHONE_BRANDS = (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypavif")


def open_picture(source: PictureLike, *, max_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """A picture from anywhere -> uint8 (H, W, 3) RGB, turned upright by its EXIF orientation, alpha filled.

    Reads PNG, JPEG, WebP, BMP, TIFF, GIF and PPM of 1, 8, 16 bits or float; grey, palette, RGB, CMYK; with or without
    alpha. Arrays may be (H, W), (H, W, 1|2|3|4): uint8, bool, wider integers, or floats in [0, 1] or [0, 255].
    Transparent parts become white; or black when the visible ink is light; or the colour of the visible paper when
    most of the picture is opaque.

    Args:
        source: path, encoded bytes, binary file, Pillow picture or array.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        PictureError: missing, empty, truncated, not a picture, no pixels, too many pixels, animated, or values that
            are not finite. One line; it begins with the path when there is one.
    """
    levels = open_levels(source, max_pixels=max_pixels)
    return levels if levels.ndim == 3 else np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB), np.uint8)


def open_levels(source: PictureLike, *, max_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """As `open_picture`, but a picture that is known to be grey may stay uint8 (H, W)."""
    if isinstance(source, np.ndarray):
        return _opaque(_array_levels(source, max_pixels))
    if isinstance(source, Image.Image):
        return _decoded(source, _file_name(source) or "picture", max_pixels)
    name, content = _named_bytes(source)
    plain = _plain_png(content, max_pixels)
    if plain is not None:
        return plain
    _check_scans(name, content)
    opened = io.BytesIO(content)
    with _refusals(name, opened), Image.open(opened, formats=FORMATS) as picture:
        return _decoded(picture, name, max_pixels)


def _plain_png(content: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """A small whole PNG of grey or RGB levels and nothing else -> uint8 (H, W), or (H, W, 3) RGB, by opencv: it takes a
    third of Pillow's time, and data sets are made of such files. None for all else, which Pillow then reads or words
    the error.

    Checksums are compared first, as libpng tells of damage on stderr.
    """
    if not (content.startswith(_PNG_BEGINS) and content.endswith(_PNG_ENDS) and content[24:29] in _PNG_KINDS):
        return None
    width, height = struct.unpack(">II", content[16:24])
    if not 0 < width * height <= min(max_pixels, _MOST_PLAIN):
        return None
    header, pixels = content[12:33], content[37 : -len(_PNG_ENDS)]  # chunks from their type on to their checksum
    if not (pixels.startswith(b"IDAT") and int.from_bytes(content[33:37], "big") == len(pixels) - 8):
        return None
    if any(zlib.crc32(chunk[:-4]) != int.from_bytes(chunk[-4:], "big") for chunk in (header, pixels)):
        return None
    grey = content[24:29] == _PNG_KINDS[0]
    levels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    if levels is None:
        return None
    return np.asarray(levels if grey else cv2.cvtColor(levels, cv2.COLOR_BGR2RGB), np.uint8)


def _check_scans(name: str, content: bytes) -> None:
    """Raise PictureError for a JPEG of so many passes over its pixels that it would take minutes to decode."""
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > _MOST_SCANS:
        raise PictureError(f"{name}: a JPEG of more than {_MOST_SCANS} scans; save it anew")


def _named_bytes(source: str | Path | bytes | BinaryIO) -> tuple[str, bytes]:
    """Where a picture's bytes are -> (name for messages, the bytes). Raises PictureError."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, content = "picture", bytes(source)
    elif isinstance(source, (str, Path)):
        name = str(source)
        try:
            content = _file_bytes(name)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise PictureError(f"{name}: no such file") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise PictureError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    elif hasattr(source, "read"):
        name = _file_name(source) or "picture"
        try:
            content = source.read()
        except (OSError, ValueError) as error:
            raise PictureError(f"{name}: cannot be read: {error}") from error
        if not isinstance(content, bytes):
            raise PictureError(f"{name}: opened as text; open it with mode 'rb'")
    else:
        raise PictureError(f"picture: cannot open {type(source).__name__}; give a path, bytes, file, picture or array")
    if not content:
        raise PictureError(f"{name}: the file is empty")
    return name, content


def _file_bytes(name: str) -> bytes:
    """The bytes of the file of this name, in four calls to the system: a small picture's take longer than decoding it.

    Raises OSError, ValueError for a NUL in the name, and PictureError for what is no file.
    """
    handle = os.open(name, _TO_READ)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):  # a pipe or device might never end
            raise PictureError(f"{name}: not a file")
        parts, left = [], status.st_size
        while left > 0 and (part := os.read(handle, left)):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(handle)
    return b"".join(parts)


def _file_name(source: object) -> str:
    """The path that a file or Pillow picture was opened from, or ''."""
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return str(name) if isinstance(name, (str, Path)) else ""


@contextmanager
def _refusals(name: str, opened: BinaryIO) -> Iterator[None]:
    """Turns whatever a decoder raises into one PictureError that begins with ``name``."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd tags and of many pixels: what matters of that is said by an error.
            warnings.simplefilter("ignore")
            yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: too many pixels to open safely; make it smaller") from error
    except UnidentifiedImageError as error:
        opened.seek(0)
        if opened.read(12)[4:].startswith(PHONE_BRANDS):
            raise PictureError(f"{name}: a HEIC or AVIF photo; export it as JPEG or PNG") from error
        raise PictureError(f"{name}: not a picture that can be read (PNG, JPEG, WebP, BMP, TIFF, GIF, PPM)") from error
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise PictureError(f"{name}: truncated or damaged: {reason}") from error


def _decoded(picture: Image.Image, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """A lazily opened Pillow picture -> uint8 (H, W, 3) RGB. Raises PictureError."""
    width, height = picture.size
    if width * height == 0:
        raise PictureError(f"{name}: the picture has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise PictureError(
            f"{name}: {width}x{height} is {width * height / 1e6:.0f} megapixels, over the limit of "
            f"{max_pixels / 1e6:.0f}; make it smaller"
        )
    with _refusals(name, io.BytesIO()):
        frames = getattr(picture, "n_frames", 1)
        if frames > 1 and picture.format != "MPO":  # a phone's MPO is a JPEG with a preview behind it
            kind = "pages" if picture.format == "TIFF" else "frames (animated)"
            raise PictureError(f"{name}: has {frames} {kind}; save the one you mean as PNG or JPEG")
        picture.load()
        picture = _upright(picture)
        if picture.mode.startswith(("I", "F")):
            return _opaque(_array_levels(np.asarray(picture), max_pixels))
        # tRNS of a grey or RGB file is transparency as well, but keeps the plain mode.
        alpha = "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info
        mode = "RGBA" if alpha else "RGB"
        levels = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    return _opaque(levels)


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; as it is when the EXIF block is damaged."""
    try:
        return picture if picture.getexif().get(ORIENTATION_TAG, 1) == 1 else ImageOps.exif_transpose(picture)
    except Exception:  # noqa: BLE001 - a damaged EXIF block raises almost anything, and the pixels are good
        return picture


def _array_levels(array: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    """An array of any numeric type -> uint8 (H, W, 3 or 4), RGB(A). Raises PictureError."""
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise PictureError(f"picture: an array of shape {array.shape}; expected (H, W) or (H, W, 1 to 4)")
    height, width, channels = array.shape
    if height * width == 0:
        raise PictureError(f"picture: the array has no pixels {array.shape}")
    if height * width > max_pixels:
        raise PictureError(f"picture: {width}x{height} is over the limit of {max_pixels / 1e6:.0f} megapixels")
    levels = _eight_bits(array)
    if channels <= 2:  # grey, or grey with alpha
        levels = levels[:, :, [0] * 3 + [1] * (channels - 1)]
    return levels


def _eight_bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Levels of any numeric type -> uint8, by the range that the type and its largest value tell."""
    if array.dtype == np.uint8:
        return np.asarray(array)
    if array.dtype == np.bool_:
        return np.where(array, 255, 0).astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise PictureError(f"picture: an array of {array.dtype}; expected numbers")
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise PictureError("picture: has values that are not finite (NaN or infinity)")
    values -= min(float(values.min()), 0.0)
    top = float(values.max())
    # 1 is white in floats and masks; 12-bit scans are stored in 16 bits, so white is the first that holds every level.
    white = next((w for w in (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0) if top <= w), top)
    return np.asarray(np.rint(values * (255.0 / white)), np.uint8)


def _opaque(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 RGB or RGBA -> RGB, transparent parts filled with what the visible ink contrasts with."""
    if levels.shape[2] == 3:
        return np.ascontiguousarray(levels)
    alpha = levels[:, :, 3]
    if alpha.min() == 255:
        return np.ascontiguousarray(levels[:, :, :3])
    step = max(1, round((alpha.size / _LOOKED_AT) ** 0.5))
    fill = _fill(levels[::step, ::step])
    filled = np.empty((*alpha.shape, 3), np.uint8)
    rows = max(1, _LOOKED_AT // alpha.shape[1])
    for top in range(0, len(levels), rows):  # in bands: as floats a whole large picture would take gigabytes
        band = levels[top : top + rows].astype(np.float32)
        weight = band[:, :, 3:] / 255.0
        filled[top : top + rows] = np.rint(band[:, :, :3] * weight + fill * (1.0 - weight))
    return filled


def _fill(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGBA -> the colour of what its transparent parts lie on, float32 (3,)."""
    rgb, weight = levels[:, :, :3].astype(np.float32), levels[:, :, 3].astype(np.float32) / 255.0
    if weight.mean() > 0.5:
        # Mostly opaque: a photo or card with cut corners. The fill continues its paper.
        return np.asarray(np.median(rgb[levels[:, :, 3] > 127], axis=0), np.float32)
    # Ink on nothing: white paper, unless the ink itself is light.
    visible = float(weight.sum())
    light = visible > 0 and float((rgb.mean(2) * weight).sum()) / visible > 160.0
    return np.full(3, 0.0 if light else 255.0, np.float32)
