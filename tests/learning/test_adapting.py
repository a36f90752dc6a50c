"""Learning from a hand: what is added to a model file, and what stays as it was."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from handwriting.classifier import Classifier
from handwriting.data import Dataset
from handwriting.errors import ModelError
from handwriting.learning.adapting import (
    FEATURES,
    Correction,
    Seen,
    fit_correction,
    with_correction,
    with_features,
)
from handwriting.learning.digits import DigitsNetwork
from handwriting.learning.export import to_onnx
from handwriting.learning.networks import Ensemble, Fast
from handwriting.runs import Run
from tests.hands import in_another_hand, some_of_each

Answers = dict[str, NDArray[np.float32]]


def answers(model: bytes, images: NDArray[np.uint8]) -> Answers:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images.astype(np.float32) / 255}), strict=True))


def seen(model: bytes, images: NDArray[np.uint8]) -> Seen:
    found = answers(with_features(model), images)
    return Seen(found["logits"], found[FEATURES], found.get("character"))


def some_correction(width: int, seed: int = 0) -> Correction:
    generator = np.random.default_rng(seed)
    return Correction(
        generator.normal(size=(width, 10)).astype(np.float32), generator.normal(size=10).astype(np.float32)
    )


@pytest.fixture(scope="module")
def two_headed() -> bytes:
    torch.manual_seed(3)
    return to_onnx(DigitsNetwork(), ("logits", "character"))


@pytest.fixture(scope="module")
def ensemble() -> bytes:
    torch.manual_seed(4)
    members = [Fast(10), Fast(10)]
    return to_onnx(Ensemble(members, views=2))


def test_a_correction_is_added_to_the_logits_and_character_keeps_every_bit(two_headed: bytes, sample: Dataset) -> None:
    images = sample.images[::50]
    before = seen(two_headed, images)
    correction = some_correction(before.features.shape[1])
    corrected = with_correction(two_headed, correction)
    onnx.checker.check_model(onnx.load_model_from_string(corrected), full_check=True)
    after = answers(corrected, images)
    np.testing.assert_allclose(after["logits"], correction(before), rtol=1e-4, atol=1e-4)
    assert np.abs(after["logits"] - before.logits).max() > 1
    np.testing.assert_array_equal(after["character"], answers(two_headed, images)["character"])


def test_the_verdict_is_corrected_alike_and_the_logits_keep_every_bit(two_headed: bytes, sample: Dataset) -> None:
    images = sample.images[::50]
    before = seen(two_headed, images)
    both = some_correction(before.features.shape[1])
    correction = Correction(both.weights[:, 0], both.bias[0], "character").shifted(0.5)
    corrected = with_correction(two_headed, correction)
    onnx.checker.check_model(onnx.load_model_from_string(corrected), full_check=True)
    after = answers(corrected, images)
    assert after["character"].shape == (len(images),)
    np.testing.assert_allclose(after["character"], correction(before), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(after["logits"], answers(two_headed, images)["logits"])
    twice = with_correction(with_correction(corrected, both), correction)  # and once more, over and beside others
    expected = 2 * correction(before) - np.asarray(before.character)
    np.testing.assert_allclose(answers(twice, images)["character"], expected, rtol=1e-3, atol=1e-3)


def test_a_correction_of_no_strength_changes_no_logit(two_headed: bytes, sample: Dataset) -> None:
    images = sample.images[:20]
    width = seen(two_headed, images).features.shape[1]
    corrected = with_correction(two_headed, some_correction(width).scaled(0))
    np.testing.assert_array_equal(answers(corrected, images)["logits"], answers(two_headed, images)["logits"])


def test_a_model_can_learn_a_second_hand_on_top_of_the_first(two_headed: bytes, sample: Dataset) -> None:
    images = sample.images[:20]
    before = seen(two_headed, images)
    width = before.features.shape[1]
    first, second = some_correction(width, 1), some_correction(width, 2)
    once = with_correction(two_headed, first)
    assert seen(once, images).features.shape == (20, width), "the first correction's input is not counted twice"
    twice = answers(with_correction(once, second), images)["logits"]
    expected = second(Seen(first(before), before.features))
    np.testing.assert_allclose(twice, expected, rtol=1e-4, atol=1e-4)


def test_an_ensemble_is_corrected_by_the_features_of_all_its_members(ensemble: bytes, sample: Dataset) -> None:
    images = sample.images[:20]
    before = seen(ensemble, images)
    assert before.features.shape == (20, 2 * 576), "each member once, however many views it takes"
    correction = some_correction(2 * 576)
    after = answers(with_correction(ensemble, correction), images)["logits"]
    np.testing.assert_allclose(after, correction(before), rtol=1e-4, atol=1e-3)


def test_a_model_without_a_linear_layer_is_refused_in_one_line() -> None:
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["images"], ["logits"])],
        "flat",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", 28, 28])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 784])],
    )
    model = helper.make_model(graph).SerializeToString()
    for add in (with_features, lambda given: with_correction(given, some_correction(784))):
        with pytest.raises(ModelError, match="no linear layer"):
            add(model)


def test_a_fitted_correction_reads_the_new_hand_and_still_answers_as_before(sample: Dataset, small_run: Run) -> None:
    model = small_run.model.read_bytes()
    taught = in_another_hand(some_of_each(sample, 100, 110))
    fresh = in_another_hand(some_of_each(sample, 110, 150))
    replay, others = some_of_each(sample, 150, 350), some_of_each(sample, 350, 500)
    temperature = Classifier(small_run.model).temperature
    correction = fit_correction(seen(model, taught.images), taught.labels, seen(model, replay.images), temperature)
    hand, known = seen(model, fresh.images), seen(model, others.images)

    def right(logits: NDArray[np.float32], digits: Dataset) -> float:
        return float((logits.argmax(1) == digits.labels).mean())

    assert right(correction(hand), fresh) > right(hand.logits, fresh) + 0.1
    assert right(correction(known), others) > right(known.logits, others) - 0.02
