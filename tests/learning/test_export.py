"""An exported model names its inputs and outputs, takes any number of images, and tells nothing of the machine."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import onnx

from handwriting.classifier import as_input, quiet_session, shipped
from handwriting.data import load
from handwriting.learning.export import to_onnx, with_convolutions_in_8_bits
from handwriting.learning.networks import build


def test_an_exported_graph_has_named_ends_and_a_free_batch() -> None:
    graph = onnx.load_model_from_string(to_onnx(build("classic", 10, seed=1))).graph
    assert [value.name for value in graph.input] == ["images"]
    assert [value.name for value in graph.output] == ["logits"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_no_model_holds_paths_of_the_machine_that_made_it() -> None:
    models = [
        to_onnx(build("classic", 10, seed=1)),
        *(path.read_bytes() for path in shipped().values()),
        *_of_reading(),
    ]
    for model in models:
        assert b"site-packages" not in model
        assert str(Path(sys.prefix)).encode() not in model
        assert b"networks.py" not in model


def _of_reading() -> list[bytes]:
    files = resources.files("handwriting.reading")
    return [files.joinpath(f"digits-{name}.onnx").read_bytes() for name in ("lines", "windows")]


def test_the_networks_that_read_compute_all_their_convolutions_in_8_bits() -> None:
    for model in _of_reading():
        proto = onnx.load_model_from_string(model)
        made_by = {name: node.op_type for node in proto.graph.node for name in node.output}
        convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
        assert len(convolutions) >= 5
        assert {made_by.get(name) for node in convolutions for name in node.input} == {"DequantizeLinear"}
        told = json.loads({entry.key: entry.value for entry in proto.metadata_props}["handwriting"])
        assert told["convolutions"]["bits"] == 8


def test_convolutions_alone_are_put_into_8_bits_and_say_what_they_said() -> None:
    images = load("mnist-sample").train.images[::10]
    whole = to_onnx(build("classic", 10, seed=1))
    eighth = with_convolutions_in_8_bits(whole, np.array_split(images[::2], 2))
    assert len(eighth) < len(whole)
    graph = onnx.load_model_from_string(eighth).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    kinds: dict[str, set[str]] = {}
    for node in graph.node:
        kinds.setdefault(node.op_type, set()).update(made_by.get(name, "") for name in node.input)
    assert kinds["Conv"] == {"DequantizeLinear"}
    assert "DequantizeLinear" not in kinds["Gemm"]
    levels = [onnx.numpy_helper.to_array(values) for values in graph.initializer]
    weights = [values for values in levels if values.dtype == np.int8 and values.ndim == 4]
    assert len(weights) == 2
    assert max(np.abs(values).max() for values in weights) <= 64  # 7 bits
    said, say = (quiet_session(model).run(["logits"], {"images": as_input(images)})[0] for model in (whole, eighth))
    assert np.abs(say - said).max() < 0.1 * np.abs(said).max()
    assert np.abs(say - said).max() > 0
