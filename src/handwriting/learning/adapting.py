"""A few characters in a new hand -> a `Correction`: one linear map added to what a frozen network answers.

The network stays as it is, to the last bit; what its last linear layer sees (its features) also goes through the
correction, which is added to the logits. It is fitted to the new characters and, at the same time, to what the network
answers on characters that it was trained on (replay with distillation: Li and Hoiem 2016, "Learning without
Forgetting"), so that it learns to say nothing about those. A convex problem in a few thousand numbers: about a second.
The output `character` is corrected in the same way, with `bad_cuts` among what is replayed: so it learns to accept the
new hand, and not everything. Needs no torch, and works on any model whose logits come from linear layers, ensembles and
adapted models included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.optimize import minimize

from handwriting.errors import ModelError

FEATURES = "features"  # the output that `with_features` adds
PERSON_WEIGHT = 0.3  # of the mean loss on the new characters beside that on the replayed ones
CHARACTER_WEIGHT = 0.1  # the same for `character`; with 0.3 2 points more of a hand are accepted, but scribbles, too
_L2 = 1e-5  # keeps directions that no character uses at nothing
_STEPS = 40  # of L-BFGS; twice as many gain 0.1 points on the new hand at most


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network makes of N images: logits float32 (N, C), features float32 (N, F), and `character` float32 (N,).

    `character` is the output of that name, a logit; None where the model has none.
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    character: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.logits)

    def subset(self, rows: NDArray[np.int64]) -> Seen:
        """int64 (M,) rows -> the Seen of those M images."""
        character = None if self.character is None else self.character[rows]
        return Seen(self.logits[rows], self.features[rows], character)


@dataclass(frozen=True, eq=False)
class Correction:
    """Features -> what is added to the output of the name `output`.

    Weights float32 (F, C) and bias float32 (C,) for `logits`; (F,) and () for `character`.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    output: str = "logits"

    def scaled(self, strength: float) -> Correction:
        """The same correction, `strength` times as strong: 0 is the network as it was, 1 all that was learned."""
        return Correction(self.weights * np.float32(strength), self.bias * np.float32(strength), self.output)

    def shifted(self, by: float) -> Correction:
        """The same correction, its bias higher by `by`."""
        return Correction(self.weights, self.bias + np.float32(by), self.output)

    def __call__(self, seen: Seen) -> NDArray[np.float32]:
        """What a network makes of N images -> its corrected output, float32 (N, C) or (N,)."""
        return np.asarray(getattr(seen, self.output) + seen.features @ self.weights + self.bias, np.float32)


def fit_correction(
    person: Seen,
    labels: NDArray[np.int64],
    replay: Seen,
    temperature: float = 1.0,
    person_weight: float = PERSON_WEIGHT,
) -> Correction:
    """New characters and their labels (N,), and replayed ones of the network's own training -> Correction.

    Least of: `person_weight` times the mean cross-entropy of the new characters, plus the mean cross-entropy of the
    replayed ones to what the network itself answers there, plus a small L2 penalty. L-BFGS from nothing, so the same
    input gives the same correction.

    Args:
        person: what the network makes of the new characters.
        labels: int64 (N,), which they are.
        replay: what it makes of characters that it must not forget.
        temperature: the network's own; its probabilities, and so the loss, are those of logits divided by it.
        person_weight: of the new characters beside the replayed ones.
    """
    classes, width = person.logits.shape[1], person.features.shape[1]
    scale = np.float32(1 / max(float(np.sqrt(np.square(replay.features).mean())), 1e-12))
    features = np.concatenate([person.features, replay.features]) * scale
    logits = np.concatenate([person.logits, replay.logits])
    targets = np.concatenate([np.eye(classes, dtype=np.float32)[labels], _softmax(replay.logits / temperature)[0]])
    shares = np.repeat([person_weight / len(person), 1 / len(replay)], [len(person), len(replay)])
    weight = shares.astype(np.float32)[:, None]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The loss and its gradient at a flat correction ((F + 1) C,), the bias last."""
        values = flat.astype(np.float32).reshape(width + 1, classes)
        probabilities, logarithms = _softmax((logits + features @ values[:-1] + values[-1]) / temperature)
        pull = weight * (probabilities - targets) / temperature
        gradient = np.concatenate([features.T @ pull, pull.sum(axis=0, keepdims=True)]) + 2 * _L2 * values
        value = -float((weight * targets * logarithms).sum(dtype=np.float64)) + _L2 * float(np.square(values).sum())
        return value, gradient.ravel().astype(np.float64)

    start = np.zeros((width + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    values = found.x.reshape(width + 1, classes).astype(np.float32)
    return Correction(values[:-1] * scale, values[-1])


def fit_character(person: Seen, replay: Seen, cuts: Seen) -> Correction:
    """New characters, replayed ones and bad cuts -> the Correction of `character`, which accepts the new ones.

    The same loss as `fit_correction`'s, with the two classes "one whole character" and "none": the new characters are
    of the first, replayed characters and cuts keep what the network itself says of them.
    """

    def two_classes(*parts: Seen) -> Seen:
        character = np.concatenate(
            [np.zeros(0, np.float32) if part.character is None else part.character for part in parts]
        )
        features = np.concatenate([part.features for part in parts])
        return Seen(np.stack([character, np.zeros_like(character)], axis=1), features)

    first = np.zeros(len(person), np.int64)
    both = fit_correction(two_classes(person), first, two_classes(replay, cuts), person_weight=CHARACTER_WEIGHT)
    return Correction(both.weights[:, 0] - both.weights[:, 1], both.bias[0] - both.bias[1], "character")


def _softmax(logits: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (N, C) -> probabilities and their logarithms, (N, C) each."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=1, keepdims=True)
    return powers / total, shifted - np.log(total)


def with_features(model: bytes) -> bytes:
    """A model file's bytes -> the same model with one more output, `FEATURES` (N, F).

    Raises:
        ModelError: its logits come from no linear layer.
    """
    proto = onnx.load_model_from_string(model)
    name = _add_features(proto.graph)
    proto.graph.node.append(onnx.helper.make_node("Identity", [name], [FEATURES]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, ["N", "F"]))
    return bytes(proto.SerializeToString())


def with_correction(model: bytes, correction: Correction) -> bytes:
    """A model file's bytes -> the same model whose output `correction.output` is corrected; nothing else in it changes.

    Raises:
        ModelError: its logits come from no linear layer.
    """
    proto = onnx.load_model_from_string(model)
    graph = proto.graph
    name = _add_features(graph)
    hand = f"hand{sum(item.name.startswith('hand') for item in graph.initializer) // 2}"  # a model may learn many
    before = f"{hand}_before"
    for node in graph.node:
        for names in (node.input, node.output):
            for place, used in enumerate(names):
                if used == correction.output:
                    names[place] = before
    for part, values in (("weights", correction.weights), ("bias", correction.bias)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), f"{hand}_{part}"))
    for kind, inputs, output in (
        ("MatMul", [name, f"{hand}_weights"], f"{hand}_product"),
        ("Add", [f"{hand}_product", f"{hand}_bias"], f"{hand}_added"),
        ("Add", [before, f"{hand}_added"], correction.output),
    ):
        graph.node.append(onnx.helper.make_node(kind, inputs, [output]))
    return bytes(proto.SerializeToString())


def _add_features(graph: Any) -> str:
    """An ONNX graph -> the name of the tensor that its last linear layers see; joined when there are several."""
    sources = _seen_by_last_layers(graph)
    if len(sources) == 1:
        return sources[0]
    joined = f"features_of_{len(sources)}_layers_{len(graph.node)}"
    graph.node.append(onnx.helper.make_node("Concat", sources, [joined], axis=1))
    return joined


def _seen_by_last_layers(graph: Any) -> list[str]:
    """The inputs (N, F) of the linear layers nearest to `logits`, in the graph's order.

    A layer that an ensemble asks about several views of the image counts once, with its first view.
    """
    weights = {item.name for item in graph.initializer if len(item.dims) == 2}
    maker = {name: node for node in graph.node for name in node.output}
    waiting, known, layers = ["logits"], set(), {}
    while waiting:
        node = maker.get(waiting.pop())
        if node is None or node.output[0] in known:
            continue
        known.add(node.output[0])
        if node.op_type in ("Gemm", "MatMul") and len(node.input) > 1 and node.input[1] in weights:
            layers[node.output[0]] = node
        else:
            waiting.extend(node.input)
    if not layers:
        raise ModelError("this model cannot be adapted: its logits come from no linear layer; train it on the samples")
    found: dict[str, str] = {}
    for node in graph.node:
        if node.output and node.output[0] in layers:
            found.setdefault(node.input[1], node.input[0])
    return list(dict.fromkeys(found.values()))
