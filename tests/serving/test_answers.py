"""One picture has one answer, whichever door it comes through; what cannot be answered says why."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from handwriting.classifier import load, read
from handwriting.imaging import normal_form, open_picture
from handwriting.serving import Settings, create_app
from tests.serving.parts import TestClient, files


def normal(picture: bytes) -> NDArray[np.uint8]:
    return normal_form(open_picture(picture)).image


def test_every_door_gives_one_picture_one_answer(client: TestClient, digits: dict[str, bytes], tmp_path: Path) -> None:
    names = []
    for label, picture in digits.items():
        (tmp_path / f"{label}.png").write_bytes(picture)
        names.append(f"{label}.png")
    command = [sys.executable, "-m", "handwriting", "predict", *names, "--json"]
    printed = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)
    assert sum(row["label"] == row["image"][0] for row in printed) >= 9

    form = [("files", (name, digits[name[0]], "image/png")) for name in names]
    assert client.post("/v1/predict", files=form).json() == printed

    texts = [base64.b64encode(picture).decode() for picture in digits.values()]
    answered = client.post("/v1/predict", json={"images": texts}).json()
    assert [{**row, "image": name} for row, name in zip(answered, names, strict=True)] == printed

    arrays = [normal(picture).tolist() for picture in digits.values()]
    answered = client.post("/v1/predict", json={"images": arrays}).json()
    for row, expected in zip(answered, printed, strict=True):
        assert (row["label"], row["rejected"]) == (expected["label"], expected["rejected"])
        assert row["probability"] == pytest.approx(expected["probability"], abs=1e-5)

    tensor = {"name": "images", "datatype": "UINT8", "shape": [10, 28, 28], "data": np.ravel(arrays).tolist()}
    outputs = client.post("/v2/models/digits/infer", json={"inputs": [tensor]}).json()["outputs"]
    labels = next(output["data"] for output in outputs if output["name"] == "label")
    assert labels == [row["label"] for row in printed]


def test_the_28x28_that_the_model_saw_is_given_when_asked_for(client: TestClient, digits: dict[str, bytes]) -> None:
    [row] = client.post("/v1/predict?seen=true", files=files(digits["7"])).json()
    np.testing.assert_array_equal(np.array(row["seen"]), normal(digits["7"]))


def test_large_pictures_take_another_way_to_the_same_answer(client: TestClient, tmp_path: Path) -> None:
    from PIL import Image, ImageDraw

    paper = Image.new("RGB", (1600, 1200), "white")
    ImageDraw.Draw(paper).line([(500, 300), (900, 300), (700, 900)], "black", 60, joint="curve")
    paper.save(tmp_path / "seven.jpg")
    content = (tmp_path / "seven.jpg").read_bytes()
    [row] = client.post("/v1/predict", files=[("files", ("x", content, "image/jpeg"))]).json()
    assert row == load("digits").predict(content).as_json("x")


def test_top_says_how_many_classes_are_named(client: TestClient, digits: dict[str, bytes]) -> None:
    [row] = client.post("/v1/predict?top=10", files=files(digits["3"])).json()
    assert len(row["top"]) == 10
    assert sum(probability for _, probability in row["top"]) == pytest.approx(1, abs=1e-4)


def test_a_broken_picture_has_its_error_in_its_place(client: TestClient, digits: dict[str, bytes]) -> None:
    truncated = digits["4"][: len(digits["4"]) // 2]
    response = client.post("/v1/predict", files=files(digits["1"], b"no picture", truncated, digits["2"]))
    assert response.status_code == 200
    first, second, third, last = response.json()
    assert (first["label"], last["label"]) == ("1", "2")
    for row, name in ((second, "1.png"), (third, "2.png")):
        assert set(row) == {"image", "error"}
        assert row["error"].startswith(name)


def test_a_request_of_nothing_but_broken_pictures_is_a_problem(client: TestClient) -> None:
    response = client.post("/v1/predict", files=files(b"no picture", b""))
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["files[0]", "files[1]"]


def test_a_blank_picture_is_rejected_not_read(client: TestClient) -> None:
    [row] = client.post("/v1/predict", json={"images": [np.zeros((28, 28), int).tolist()]}).json()
    assert (row["label"], row["rejected"]) == (None, True)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_a_real_inference_client_gets_what_the_classifier_gives(
    live: str, digits: dict[str, bytes], binary: bool, datatype: str
) -> None:
    images = np.stack([normal(picture) for picture in digits.values()])
    given = images if datatype == "UINT8" else images.astype(np.float32) / np.float32(255)
    with tritonclient.http.InferenceServerClient(live.removeprefix("http://")) as inference:
        assert inference.is_server_live()
        assert inference.is_server_ready()
        assert inference.is_model_ready("digits")
        assert inference.get_server_metadata()["name"] == "handwriting"
        metadata = inference.get_model_metadata("digits")
        [version] = metadata["versions"]
        tensor = tritonclient.http.InferInput("images", list(given.shape), datatype)
        tensor.set_data_from_numpy(given, binary_data=binary)
        names = ("logits", "probabilities", "character", "label")
        outputs = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in names]
        for asked in (outputs, None):
            result = inference.infer("digits", [tensor], model_version=version, outputs=asked, request_id="r1")
            classifier = load("digits")
            scores = classifier.scores(given)
            np.testing.assert_allclose(result.as_numpy("logits"), classifier.logits(given), atol=1e-4)
            np.testing.assert_allclose(result.as_numpy("probabilities"), scores.probabilities, atol=1e-5)
            np.testing.assert_allclose(result.as_numpy("character"), scores.character, atol=1e-5)
            labels = [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("label")]
            assert labels == [classifier.classes[index] for index in scores.probabilities.argmax(axis=1)]
            assert result.get_response()["id"] == "r1"
        with pytest.raises(InferenceServerException, match="unknown model"):
            inference.infer("nothing", [tensor])


def test_models_are_listed_and_chosen_by_name(settings: Settings, digits: dict[str, bytes], tmp_path: Path) -> None:
    import dataclasses

    other = tmp_path / "other.onnx"
    other.write_bytes(read("digits"))
    both = dataclasses.replace(settings, models=("digits", str(other)))
    with TestClient(create_app(both), base_url="http://localhost") as client:
        table = client.get("/v1/models").json()
        assert [(row["name"], row["default"]) for row in table] == [("digits", True), ("other", False)]
        assert table[0]["classes"] == list("0123456789")
        assert str(tmp_path) not in json.dumps(table)
        assert client.post("/v1/predict?model=other", files=files(digits["5"])).json()[0]["label"] == "5"
        response = client.post("/v1/predict?model=othr", files=files(digits["5"]))
        assert response.status_code == 404
        assert "did you mean 'other'?" in response.json()["detail"]
