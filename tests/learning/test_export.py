"""An exported model names its inputs and outputs, takes any number of images, and tells nothing of the machine."""

from __future__ import annotations

import sys
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
    models = [to_onnx(build("classic", 10, seed=1)), *(path.read_bytes() for path in shipped().values())]
    for model in models:
        assert b"site-packages" not in model
        assert str(Path(sys.prefix)).encode() not in model
        assert b"networks.py" not in model


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
