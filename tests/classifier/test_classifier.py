"""The classifier: one file, the same answers for every way in, and plain words for files that are not ours."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image

from handwriting.classifier import Classifier, load, quiet_session, with_metadata
from handwriting.data import Dataset
from handwriting.errors import ModelError, PictureError, UnknownName
from handwriting.runs import Run


@pytest.fixture(scope="module")
def classifier(small_run: Run) -> Classifier:
    return load(small_run.model)


@pytest.fixture
def picture(sample: Dataset, tmp_path: Path) -> Path:
    digit = cv2.resize(sample.images[0], (140, 140), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / "zero.png"
    cv2.imwrite(str(path), 255 - np.pad(digit, 30))
    return path


def test_a_model_is_found_by_file_and_by_run_folder(small_run: Run) -> None:
    assert load(small_run.folder).path == load(str(small_run.model)).path


def test_uint8_and_float_images_give_the_same_logits(classifier: Classifier, sample: Dataset) -> None:
    images = sample.images[:20]
    expected = classifier.logits(images)
    assert expected.shape == (20, 10)
    assert expected.dtype == np.float32
    for dtype in (np.float32, np.float64):
        np.testing.assert_allclose(classifier.logits(images.astype(dtype) / 255), expected, atol=1e-5)


def test_batches_are_only_an_optimisation(classifier: Classifier, sample: Dataset) -> None:
    images = sample.images[:1500]
    together = classifier.logits(images)
    apart = np.concatenate([classifier.logits(images[i : i + 1]) for i in range(0, 1500, 300)])
    np.testing.assert_allclose(together[::300], apart, atol=1e-4)
    assert classifier.logits(images[:0]).shape == (0, 10)


def test_probabilities_are_calibrated_by_the_temperature(classifier: Classifier, sample: Dataset) -> None:
    logits = classifier.logits(sample.images[:50]).astype(np.float64) / classifier.temperature
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    probabilities = classifier.probabilities(sample.images[:50])
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("bad", [np.zeros((28, 28)), np.zeros((1, 27, 28)), np.zeros((1, 28, 28), int)])
def test_images_of_another_form_are_refused(classifier: Classifier, bad: np.ndarray) -> None:
    with pytest.raises(ModelError, match="images must be"):
        classifier.logits(bad)


@pytest.mark.parametrize("value", [1.5, -0.1, np.nan])
def test_floats_outside_0_to_1_are_refused(classifier: Classifier, value: float) -> None:
    with pytest.raises(ModelError, match=r"0\.\.1"):
        classifier.logits(np.full((1, 28, 28), value, np.float32))


def test_one_picture_gives_one_answer_whatever_way_it_comes(classifier: Classifier, picture: Path) -> None:
    expected = classifier.predict(picture)
    content = picture.read_bytes()
    array = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
    assert array is not None
    for same in (str(picture), content, io.BytesIO(content), Image.open(picture), array):
        assert classifier.predict(same) == expected
    assert classifier.predict([picture, content]) == [expected, expected]
    assert expected.label == expected.top[0][0]
    assert len(expected.top) == 3


def test_arrays_of_28_by_28_are_what_the_model_sees(classifier: Classifier, sample: Dataset) -> None:
    probabilities = classifier.probabilities(sample.images[:5])
    answers = classifier.predict(sample.images[:5])
    assert isinstance(answers, list)
    assert [answer.label for answer in answers] == [classifier.classes[i] for i in probabilities.argmax(1)]
    assert classifier.predict(sample.images[0]) == answers[0]


def test_a_blank_picture_is_rejected_not_guessed(classifier: Classifier) -> None:
    for blank in (np.full((90, 70), 240, np.uint8), np.zeros((28, 28), np.uint8)):
        answer = classifier.predict(blank)
        assert (answer.label, answer.probability, answer.rejected, answer.top) == (None, 0.0, True, ())
        assert "nothing was found" in answer.warnings[-1]


def test_a_broken_picture_is_named_and_the_others_are_answered(
    classifier: Classifier, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    first, second, third = classifier.predict_each([picture, tmp_path / "bad.png", picture])
    assert isinstance(second, PictureError)
    assert "bad.png" in str(second)
    assert first == third == classifier.predict(picture)
    with pytest.raises(PictureError):
        classifier.predict([picture, tmp_path / "bad.png"])


def test_the_metadata_tell_how_the_model_came_to_be(classifier: Classifier) -> None:
    metadata = classifier.metadata
    assert classifier.classes == tuple("0123456789")
    assert metadata["recipe"]["name"] == "classic"
    assert metadata["data"]["n_train"] == 700
    assert metadata["test"]["n"] == 200
    assert classifier.temperature > 0
    json.dumps(metadata)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x07" * 40])
def test_a_file_that_is_no_model_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx: not a readable ONNX model"):
        load(tmp_path / "m.onnx")


def test_an_onnx_file_of_somebody_else_is_said_so(small_run: Run, tmp_path: Path) -> None:
    proto = onnx.load(small_run.model)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="not a handwriting model"):
        load(tmp_path / "m.onnx")


def test_a_model_of_a_later_format_asks_for_an_upgrade(small_run: Run, tmp_path: Path) -> None:
    later = with_metadata(small_run.model.read_bytes(), {"classes": list("01"), "format_version": 99})
    (tmp_path / "m.onnx").write_bytes(later)
    with pytest.raises(ModelError, match="upgrade"):
        load(tmp_path / "m.onnx")


def test_names_and_paths_that_lead_nowhere_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown model 'digist'"):
        load("digist")
    with pytest.raises(ModelError, match="no such model file"):
        load(tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match="no model.onnx in this folder"):
        load(tmp_path)


@pytest.mark.parametrize(("waiting", "spinning"), [(True, "1"), (False, "0")])
def test_threads_wait_for_more_only_where_they_are_to(classifier: Classifier, waiting: bool, spinning: str) -> None:
    assert classifier.path is not None
    options = quiet_session(classifier.path.read_bytes(), waiting=waiting).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == spinning
