"""The model file: one .onnx whose metadata carry classes, recipe, calibration and measured figures.

A model file is an ONNX graph with the input `images`, float32 (N, 28, 28) in [0, 1], white ink on black, normalisation
inside; the output `logits`, float32 (N, C); and, where the model learned to tell characters from anything else, the
output `character`, float32 (N,), the logit that the picture shows one whole character of the classes. One metadata
property, `handwriting`, holds a JSON document; docs/model-file.md describes its keys.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handwriting.errors import MissingExtra, ModelError, UnknownName

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FORMAT_VERSION = 1
METADATA_KEY = "handwriting"
_SHIPPED = Path(__file__).parent / "models"


def shipped() -> dict[str, Path]:
    """The names and files of the models that come with the package."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.onnx"))}


def locate(model: str | Path) -> Path:
    """A shipped model's name, a .onnx file or a run folder -> the path of the model file.

    Raises:
        UnknownName: no such name.
        ModelError: no such file, or a folder without a model.
    """
    path = Path(model).expanduser()
    if str(model) in shipped():
        return shipped()[str(model)]
    if path.is_file():
        return path
    if path.is_dir():
        if (path / "model.onnx").is_file():
            return path / "model.onnx"
        raise ModelError(f"{path}: no model.onnx in this folder; if its training was interrupted, --resume it")
    if path.suffix or len(path.parts) > 1:
        raise ModelError(f"{path}: no such model file")
    raise UnknownName("model", str(model), shipped())


def read(model: str | Path) -> bytes:
    """A shipped model's name, a .onnx file or a run folder -> its bytes. Raises UnknownName, ModelError."""
    path = locate(model)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def open_session(content: bytes, name: str, threads: int | None = None) -> tuple[InferenceSession, dict[str, Any]]:
    """A model file's bytes -> its onnxruntime session and its metadata.

    Args:
        content: of the .onnx file.
        name: what errors call it.
        threads: for one batch; None lets onnxruntime take all cores.

    Raises:
        ModelError: not ONNX, or an ONNX file that is not one of ours, or of a later format.
    """
    try:
        session = quiet_session(content, threads)
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise ModelError(f"{name}: not a readable ONNX model; train or export it anew") from error
    return session, _metadata(session, name)


def quiet_session(content: bytes, threads: int | None = None, *, waiting: bool = True) -> InferenceSession:
    """An ONNX file's bytes -> its onnxruntime session on the CPU; ``threads`` as of `open_session`.

    ``waiting``: after a batch the threads keep the cores busy for a while, in case another follows: batches one after
    the other are answered sooner, all other work of the process later.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings on stderr would break the one-line promise
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(waiting)))
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _metadata(session: InferenceSession, name: str) -> dict[str, Any]:
    metadata = document(session)
    outputs = {output.name for output in session.get_outputs()}
    inputs = [given.name for given in session.get_inputs()]
    if "classes" not in metadata or "logits" not in outputs or inputs != ["images"]:
        raise ModelError(f"{name}: an ONNX file, but not a handwriting model (no classes in it)")
    if metadata.get("format_version", 0) > FORMAT_VERSION:
        raise ModelError(f"{name}: written by a later version of handwriting; upgrade with pip install -U handwriting")
    return metadata


def document(session: InferenceSession) -> dict[str, Any]:
    """The document that `with_metadata` wrote into a session's model; empty where there is none."""
    written = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    try:
        found = json.loads(written) if written else None
    except json.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {}


def with_metadata(model: bytes, metadata: dict[str, Any]) -> bytes:
    """An ONNX model's bytes -> the same model carrying `metadata` (JSON types) as its document.

    Raises:
        MissingExtra: the package onnx is not installed; it is needed to write models, never to use them.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("writing model files", "adapt") from error
    proto = onnx.load_model_from_string(model)
    del proto.metadata_props[:]
    written = json.dumps({"format_version": FORMAT_VERSION, **metadata}, ensure_ascii=False)
    proto.metadata_props.add(key=METADATA_KEY, value=written)
    return bytes(proto.SerializeToString(deterministic=True))
