"""A torch network -> the bytes of an ONNX graph with named inputs and outputs and a free batch size, in 8 bits too."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handwriting.learning import windows
from handwriting.learning.lines import ROWS, LineNetwork


def to_onnx(network: nn.Module, outputs: tuple[str, ...] = ("logits",)) -> bytes:
    """A network of images float (N, 28, 28) -> ONNX bytes: input `images`, `outputs` as named, any N."""
    return _exported(network, torch.zeros(2, 28, 28), {0: torch.export.Dim("N")}, "images", outputs)


def with_convolutions_in_8_bits(graph: bytes, batches: Sequence[NDArray[np.uint8]]) -> bytes:
    """What a function of this module gave, and batches uint8 of what it sees, 255 for 1, to take the range of
    activations from -> ONNX bytes of which the convolutions are computed in 8 bits, with a scale for each channel of
    weights.

    All else stays in float: linear layers are what `handwriting.adapt` corrects. Weights take 7 of the 8 bits, so that
    the 16-bit sums of processors without 8-bit dot products do not saturate.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load_model_from_string(graph).graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self._rows = iter([{name: batch.astype(np.float32) / np.float32(255)} for batch in batches])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._rows, None)

    with tempfile.TemporaryDirectory() as folder:
        given, prepared, found = (Path(folder) / name for name in ("given.onnx", "prepared.onnx", "found.onnx"))
        given.write_bytes(graph)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)  # it fails on lines of any width
        quantize_static(
            prepared,
            found,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
        )
        return found.read_bytes()


def lines_to_onnx(network: LineNetwork) -> bytes:
    """A line network -> ONNX bytes: input `ribbons`, float (1, 2, 40, W), any W; output `answers`."""
    columns = torch.export.Dim("W", min=8, max=65536)
    return _exported(network, torch.zeros(1, 2, ROWS, 100), {3: columns}, "ribbons", ("answers",))


def windows_to_onnx(network: nn.Module) -> bytes:
    """A window network -> ONNX bytes: input `windows`, float (N, 3, 44, 48), any N; output `scores`."""
    example = torch.zeros(2, 3, windows.ROWS, windows.COLUMNS)
    return _exported(network, example, {0: torch.export.Dim("N")}, "windows", ("scores",))


def _exported(network: nn.Module, example: Tensor, free: dict[int, Any], name: str, outputs: tuple[str, ...]) -> bytes:
    # The exporter reports its steps through warnings and logs that say nothing to a user.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval().cpu(),
            (example,),
            input_names=[name],
            output_names=list(outputs),
            dynamic_shapes=(free,),
            dynamo=True,
            verbose=False,
        )
    if program is None:  # only the retired exporter writes to a file and returns nothing
        raise RuntimeError("torch.onnx.export gave no program")
    proto = program.model_proto
    without_traces(proto)
    return bytes(proto.SerializeToString())


def without_traces(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes of its own process: stack traces with paths of the machine that trained."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
