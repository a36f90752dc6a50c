"""The Open Inference Protocol, version 2 (REST), with the binary tensor extension: what inference clients speak.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from starlette.responses import JSONResponse, Response

import handwriting
from handwriting.errors import HandwritingError
from handwriting.serving.intake import json_object
from handwriting.serving.models import Models, Served
from handwriting.serving.pictures import Ask, Given
from handwriting.serving.problems import Problem, invalid
from handwriting.serving.schemas import problem_responses
from handwriting.serving.settings import Settings

_LENGTH = "Inference-Header-Content-Length"
_OUTPUTS = ("logits", "probabilities", "character", "label")
_DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
_OBJECT = {"content": {"application/json": {"schema": {"type": "object"}}}, "description": "As the protocol says."}


def router(models: Models, settings: Settings) -> APIRouter:
    """The routes under /v2."""
    routes = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])

    @routes.get("", summary="Server metadata", responses={200: _OBJECT})
    async def server() -> Response:
        about = {"name": "handwriting", "version": handwriting.__version__, "extensions": ["binary_tensor_data"]}
        return JSONResponse(about)

    @routes.get("/health/live", summary="Is it alive?", responses={200: _OBJECT})
    async def live() -> Response:
        return JSONResponse({"live": True})

    @routes.get("/health/ready", summary="Does it answer?", responses={200: _OBJECT})
    async def ready() -> Response:
        return JSONResponse({"ready": True})

    async def metadata(name: str, version: str | None = None) -> Response:
        return JSONResponse(_metadata(_find(models, name, version)))

    async def model_ready(name: str, version: str | None = None) -> Response:
        return JSONResponse({"name": _find(models, name, version).name, "ready": True})

    async def infer(name: str, request: Request, version: str | None = None) -> Response:
        return await _infer(_find(models, name, version), request, settings)

    known = {200: _OBJECT, **problem_responses(404)}
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": _request_schema()}}}}
    for path in ("/models/{name}", "/models/{name}/versions/{version}"):
        routes.get(path, summary="Model metadata", responses=known)(metadata)
        routes.get(f"{path}/ready", summary="Is the model ready?", responses=known)(model_ready)
        answers = {200: _OBJECT, **problem_responses(400, 404, 422)}
        routes.post(f"{path}/infer", summary="Infer", responses=answers, openapi_extra=body)(infer)
    return routes


def _find(models: Models, name: str, version: str | None) -> Served:
    served = models.get(name)
    if version is not None and version != served.active.ident:
        raise Problem(404, f"version {version[:80]} of {served.name} is not in service")
    return served


def _metadata(served: Served) -> dict[str, Any]:
    classes = len(served.active.classifier.classes)
    return {
        "name": served.name,
        "versions": [served.active.ident],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28]}],
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [-1, classes]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
            {"name": "character", "datatype": "FP32", "shape": [-1]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    }


async def _infer(served: Served, request: Request, settings: Settings) -> Response:
    document, blobs = _split(await request.body(), request)
    images = _images(document, blobs, settings.max_images)
    wanted = _wanted(document)
    answers = await served.answer([Ask(f"images[{index}]", image) for index, image in enumerate(images)])
    given: list[Given] = []
    for answer in answers:
        if isinstance(answer, HandwritingError):
            raise answer
        given.append(answer)
    # Binary or JSON is asked for each output, or for all of them by the request's own parameter.
    everywhere = bool(_parameters(document).get("binary_data_output", False))
    outputs, tail = [], b""
    for name, parameters in wanted:
        output, data = _output(name, given)
        if parameters.get("binary_data", everywhere):
            raw = _raw(data)
            output["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            output["data"] = [text.decode() for text in data] if isinstance(data, list) else data.ravel().tolist()
        outputs.append(output)
    reply: dict[str, Any] = {"model_name": served.name, "model_version": given[0].version.ident, "outputs": outputs}
    if isinstance(document.get("id"), str):
        reply["id"] = document["id"]
    head = json.dumps(reply).encode()
    if not tail:
        return Response(head, media_type="application/json")
    return Response(head + tail, media_type="application/octet-stream", headers={_LENGTH: str(len(head))})


def _split(body: bytes, request: Request) -> tuple[dict[str, Any], bytes]:
    """The JSON head of a body and the binary tensors behind it."""
    given = request.headers.get(_LENGTH)
    if given is None:
        return json_object(body), b""
    if not (given.isascii() and given.isdecimal() and len(given) < 12 and int(given) <= len(body)):
        raise invalid(_LENGTH, "must be the length of the JSON part of the body")
    return json_object(body[: int(given)]), body[int(given) :]


def _images(document: dict[str, Any], blobs: bytes, limit: int) -> NDArray[Any]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise invalid("inputs", "must be a list of one tensor, `images`")
    [tensor] = inputs
    if tensor.get("name") != "images":
        raise invalid("inputs[0].name", "must be `images`")
    dtype = _DTYPES.get(tensor["datatype"]) if isinstance(tensor.get("datatype"), str) else None
    if dtype is None:
        raise invalid("inputs[0].datatype", "must be UINT8 (0..255) or FP32 (0..1)")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or len(shape) != 3 or shape[1:] != [28, 28] or type(shape[0]) is not int:
        raise invalid("inputs[0].shape", "must be [N, 28, 28]")
    if not 1 <= shape[0] <= limit:
        raise Problem(413 if shape[0] > limit else 422, f"inputs[0].shape: 1 to {limit} images a request")
    images = _tensor(tensor, blobs, dtype, shape[0] * 784).reshape(shape)
    if dtype.kind == "f" and not (images.min() >= 0 and images.max() <= 1):  # NaN fails both
        raise invalid("inputs[0].data", "FP32 images lie in 0..1; send UINT8 for 0..255")
    return images


def _tensor(tensor: dict[str, Any], blobs: bytes, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    size = _parameters(tensor).get("binary_data_size")
    if size is not None:
        if size != count * dtype.itemsize or size != len(blobs):
            raise invalid("inputs[0].parameters.binary_data_size", "does not fit the shape, or the body")
        return np.frombuffer(blobs, dtype)
    try:
        values = np.array(tensor.get("data"))
    except (ValueError, OverflowError, TypeError) as error:
        raise invalid("inputs[0].data", "must be numbers, flat or nested as the shape") from error
    if values.size != count or values.dtype.kind not in ("iu" if dtype.kind == "u" else "iuf"):
        raise invalid("inputs[0].data", f"must be {count} numbers of the datatype, flat or nested as the shape")
    if dtype.kind == "u" and (values.min() < 0 or values.max() > 255):
        raise invalid("inputs[0].data", "UINT8 lies in 0..255")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused with its range
        return values.astype(dtype)


def _parameters(part: dict[str, Any]) -> dict[str, Any]:
    given = part.get("parameters")
    return given if isinstance(given, dict) else {}


def _wanted(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    asked = document.get("outputs")
    if asked is None or asked == []:
        return [(name, {}) for name in _OUTPUTS]
    if not isinstance(asked, list) or not all(isinstance(output, dict) for output in asked):
        raise invalid("outputs", "must be a list of outputs, each with a name")
    for index, output in enumerate(asked):
        if output.get("name") not in _OUTPUTS:
            raise invalid(f"outputs[{index}].name", f"must be one of {', '.join(_OUTPUTS)}")
    if len({output["name"] for output in asked}) < len(asked):
        raise invalid("outputs", "names an output twice")
    return [(output["name"], _parameters(output)) for output in asked]


def _output(name: str, given: list[Given]) -> tuple[dict[str, Any], NDArray[Any] | list[bytes]]:
    """An output's description, and its data: float32, or for labels a list of UTF-8 texts."""
    if name == "label":
        classes = given[0].version.classifier.classes
        labels = [classes[int(answer.probabilities.argmax())].encode() for answer in given]
        return {"name": name, "datatype": "BYTES", "shape": [len(given)]}, labels
    if name == "character":
        data = np.array([answer.character for answer in given], np.float32)
    else:
        data = np.stack([getattr(answer, name) for answer in given]).astype(np.float32)
    return {"name": name, "datatype": "FP32", "shape": list(data.shape)}, data


def _raw(data: NDArray[Any] | list[bytes]) -> bytes:
    """Binary tensor data: little-endian numbers, or each text behind its length in four bytes."""
    if isinstance(data, list):
        return b"".join(struct.pack("<I", len(text)) + text for text in data)
    return data.astype("<f4").tobytes()


def _request_schema() -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"const": "images"},
            "datatype": {"enum": ["UINT8", "FP32"]},
            "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    output = {"type": "object", "required": ["name"], "properties": {"name": {"enum": list(_OUTPUTS)}}}
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": tensor},
            "outputs": {"type": "array", "items": output},
            "parameters": {"type": "object"},
        },
    }
