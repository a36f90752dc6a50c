"""What the scripts that train have in common: a network in float, trained now or before -> in 8 bits."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handwriting.classifier import document, quiet_session, with_metadata
from handwriting.learning.export import with_convolutions_in_8_bits


def in_float(path: str) -> Path:
    """What the option ``--trained`` takes: the float.onnx of an earlier run."""
    found = Path(path)
    if not found.is_file():
        raise argparse.ArgumentTypeError(f"{path}: no such file")
    try:
        told = document(quiet_session(found.read_bytes()))
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise argparse.ArgumentTypeError(f"{path}: not a readable ONNX model") from error
    if "convolutions" in told:
        raise argparse.ArgumentTypeError(f"{path} is in 8 bits already: give the float.onnx that it was made of")
    return found


def in_8_bits(network: bytes, batches: Sequence[NDArray[np.uint8]], ranges_from: str) -> bytes:
    """A network in float, what its ranges of activations are taken from, and how that is told -> the same network with
    its convolutions in 8 bits, and with its document."""
    told = {**document(quiet_session(network)), "convolutions": {"bits": 8, "ranges_from": ranges_from}}
    return with_metadata(with_convolutions_in_8_bits(network, batches), told)
