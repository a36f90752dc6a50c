"""Checkpoints: one safetensors file, the state's document in its header, so that the two can never disagree.

No pickle: a checkpoint from a stranger can be opened safely. The one before it is kept beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from handwriting.errors import CheckpointError
from handwriting.files import whole

State = tuple[dict[str, Tensor], dict[str, Any]]
_DOCUMENT = "handwriting"


def save(path: Path, state: State, *, keep_previous: bool = True) -> None:
    """A state to `path`, whole or not at all; the file that was there becomes `previous(path)`. Raises SaveError.

    A kill between the two renames leaves no `path` but a whole `previous(path)`, which `load` then takes.
    """
    tensors, document = state
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}  # as the format wants them
    with whole(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={_DOCUMENT: json.dumps(document)})
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(None, str(error)) from error
        if keep_previous and path.exists():
            path.replace(previous(path))


def previous(path: Path) -> Path:
    """Where the checkpoint before the last is."""
    return path.with_stem(path.stem + "-previous")


def load(path: Path) -> State:
    """What `save` wrote. Raises CheckpointError: missing, truncated, or not a checkpoint of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {})[_DOCUMENT])
            # clone: safetensors maps the file, which is about to be replaced
            return {name: file.get_tensor(name).clone() for name in file.keys()}, document  # noqa: SIM118 - no mapping
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint") from error
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is broken or not a checkpoint of handwriting ({error})") from error


def load_latest(path: Path) -> tuple[State, str]:
    """The state of `path` or, when that is broken or missing, of the one before it, and a warning that says so.

    Raises:
        CheckpointError: neither can be used.
    """
    try:
        return load(path), ""
    except CheckpointError as error:
        if not previous(path).exists():
            raise
        return load(previous(path)), f"{error}; going on from the checkpoint before it"
