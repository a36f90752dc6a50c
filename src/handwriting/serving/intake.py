"""From a request's body to the pictures in it: multipart files, or JSON with base64 or raw 28x28 arrays."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.requests import Request

from handwriting.errors import HandwritingError, PictureError
from handwriting.serving.pictures import Ask
from handwriting.serving.problems import Problem, invalid
from handwriting.serving.settings import Settings

_TYPES = "multipart/form-data with the field `files`, or application/json with `images`"


async def pictures(request: Request, settings: Settings, *, top: int = 3, most: int | None = None) -> list[Ask]:
    """The pictures of a request, in order; one that is broken carries its error.

    Args:
        top: how many classes their answers name.
        most: of how many pictures, when fewer than ``settings.max_images``.

    Raises:
        Problem: 415 another content type; 413 too many; 422 no pictures, or a body of another form.
    """
    limit = most or settings.max_images
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _files(request, limit, top)
    if kind == "application/json":
        return _images(json_object(await request.body()), limit, top)
    raise Problem(415, f"the body must be {_TYPES}")


def json_object(body: bytes) -> dict[str, Any]:
    """A body -> the JSON object in it. Raises Problem 422."""
    try:
        document = from_json(body)  # a third of the time of json.loads; FastAPI brings it
    except ValueError as error:
        raise invalid("body", "not a JSON document") from error
    if not isinstance(document, dict):
        raise invalid("body", "must be a JSON object")
    return document


def levels(rows: Any) -> NDArray[np.uint8]:
    """Nested lists -> uint8 (28, 28). Raises PictureError for any but 28 rows of 28 whole numbers in 0..255."""
    try:
        array = np.array(rows)
    except (ValueError, OverflowError, TypeError) as error:
        raise PictureError("must be 28 rows of 28 whole numbers") from error
    if array.shape != (28, 28) or array.dtype.kind not in "iu":
        raise PictureError("must be 28 rows of 28 whole numbers")
    if array.min() < 0 or array.max() > 255:
        raise PictureError("its numbers must lie in 0..255, white ink on black")
    return array.astype(np.uint8)


def all_broken(answers: Iterable[object], asks: list[Ask], field: str) -> Problem | None:
    """The Problem of a request of which no picture could be read; None when one could."""
    errors = [str(answer) for answer in answers if isinstance(answer, HandwritingError)]
    if len(errors) < len(asks):
        return None
    named = [(f"{field}[{index}]", detail) for index, detail in enumerate(errors)]
    return Problem(422, errors[0] if len(errors) == 1 else "none of the pictures can be read", errors=named)


async def _files(request: Request, limit: int, top: int) -> list[Ask]:
    async with request.form(max_files=limit + 1, max_fields=limit + 1) as form:
        asks = []
        for index, (field, part) in enumerate(form.multi_items()):
            if field != "files":
                raise invalid(field[:80], "unknown field: pictures go into `files`")
            if not isinstance(part, UploadFile):
                raise invalid(f"files[{index}]", "must be a file with a name")
            asks.append(Ask((part.filename or f"files[{index}]")[:200], await part.read(), top))
    return _counted(asks, "files", limit)


def _images(document: dict[str, Any], limit: int, top: int) -> list[Ask]:
    unknown = sorted(set(document) - {"images"})
    if unknown:
        raise invalid(unknown[0][:80], "unknown field: pictures go into `images`")
    images = document.get("images")
    if not isinstance(images, list):
        raise invalid("images", "must be a list of base64 texts or 28x28 arrays")
    return [_image(f"images[{index}]", image, top) for index, image in enumerate(_counted(images, "images", limit))]


def _counted(found: list[Any], field: str, limit: int) -> list[Any]:
    if not found:
        raise invalid(field, "there is no picture")
    if len(found) > limit:
        message = f"{len(found)} pictures, at most {limit} a request"
        raise Problem(413, message, errors=[(field, message)])
    return found


def _image(name: str, image: Any, top: int) -> Ask:
    try:
        if isinstance(image, str):
            return Ask(name, _decoded(image), top)
        return Ask(name, levels(image), top)
    except PictureError as error:
        return Ask(name, b"", top, error=PictureError(f"{name}: {error}"))


def _decoded(text: str) -> bytes:
    """Base64, with or without the head of a data: URL -> bytes."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError("not base64 text") from error
