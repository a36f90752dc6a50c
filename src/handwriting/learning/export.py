"""A torch network -> the bytes of an ONNX graph with named inputs and outputs and a free batch size."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from handwriting.learning import windows
from handwriting.learning.lines import ROWS, LineNetwork


def to_onnx(network: nn.Module, outputs: tuple[str, ...] = ("logits",)) -> bytes:
    """A network of images float (N, 28, 28) -> ONNX bytes: input `images`, `outputs` as named, any N."""
    return _exported(network, torch.zeros(2, 28, 28), {0: torch.export.Dim("N")}, "images", outputs)


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
