"""An exported model names its inputs and outputs, takes any number of images, and tells nothing of the machine."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx

from handwriting.classifier import shipped
from handwriting.learning.export import to_onnx
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
