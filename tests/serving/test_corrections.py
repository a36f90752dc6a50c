"""Corrections over HTTP: kept with consent, found in the store, deleted by who stored them, learned from."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handwriting.classifier import load, read, with_metadata
from handwriting.serving import Settings, Store, create_app
from tests.serving.parts import TestClient, files
from tests.serving.test_safety import problem

MINE, OTHERS = "m" * 20, "o" * 20


def new(client: TestClient, picture: bytes, label: str, session: str = MINE, **changed: object) -> dict[str, object]:
    [row] = client.post("/v1/predict?seen=true", files=files(picture)).json()
    return {"image": row["seen"], "label": label, "session": session, "consent": True, **changed}


def test_a_correction_is_in_the_store_with_all_that_belongs_to_it(
    client: TestClient, settings: Settings, digits: dict[str, bytes]
) -> None:
    response = client.post("/v1/corrections", json=new(client, digits["4"], "9"))
    assert response.status_code == 201
    assert settings.store is not None
    with Store(settings.store) as store:
        [kept] = store
    assert (kept.label, kept.predicted_label, kept.session, kept.model) == ("9", "4", MINE, "digits")
    assert kept.predicted_probability > 0.5
    assert kept.model_version == client.get("/v1/models").json()[0]["version"]
    assert kept.id == response.json()["id"]
    [row] = client.post("/v1/predict?seen=true", files=files(digits["4"])).json()
    np.testing.assert_array_equal(kept.image, np.array(row["seen"]))


def test_nothing_is_stored_without_consent_or_with_a_label_that_is_no_class(
    client: TestClient, digits: dict[str, bytes]
) -> None:
    for wrong, field in (({"consent": False}, "consent"), ({"label": "x"}, "label"), ({"session": "me"}, "session")):
        document = problem(client.post("/v1/corrections", json=new(client, digits["4"], "9") | wrong), 422)
        assert document["errors"][0]["field"] == field  # type: ignore[index]
    blank = {"image": np.zeros((28, 28), int).tolist()}
    problem(client.post("/v1/corrections", json=new(client, digits["4"], "9") | blank), 422)
    assert client.get(f"/v1/corrections?session={MINE}").json()["count"] == 0


def test_a_session_sees_and_deletes_its_own_corrections_only(client: TestClient, digits: dict[str, bytes]) -> None:
    first = client.post("/v1/corrections", json=new(client, digits["4"], "9")).json()
    client.post("/v1/corrections", json=new(client, digits["5"], "6"))
    foreign = client.post("/v1/corrections", json=new(client, digits["7"], "1", OTHERS)).json()
    mine = client.get(f"/v1/corrections?session={MINE}").json()
    assert (mine["count"], [kept["label"] for kept in mine["corrections"]]) == (2, ["6", "9"])
    problem(client.delete(f"/v1/corrections/{foreign['id']}?session={MINE}"), 404)
    assert client.delete(f"/v1/corrections/{first['id']}?session={MINE}").json() == {"deleted": 1}
    assert client.delete(f"/v1/corrections?session={MINE}").json() == {"deleted": 1}
    assert client.get(f"/v1/corrections?session={OTHERS}").json()["count"] == 1
    problem(client.delete("/v1/corrections"), 422)  # all of everybody: on the command line only


def test_no_store_keeps_nothing(settings: Settings, digits: dict[str, bytes], tmp_path: Path) -> None:
    with TestClient(create_app(dataclasses.replace(settings, store=None)), base_url="http://localhost") as client:
        assert client.get("/v1/service").json()["store"] is False
        problem(client.post("/v1/corrections", json=new(client, digits["4"], "9")), 404)
    assert list(tmp_path.glob("*.sqlite3*")) == []


def test_a_store_that_fails_later_is_no_secret_and_no_crash(
    settings: Settings, digits: dict[str, bytes], tmp_path: Path
) -> None:
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        with contextlib.closing(sqlite3.connect(tmp_path / "corrections.sqlite3")) as connection:
            connection.execute("drop table corrections")
        response = client.post("/v1/corrections", json=new(client, digits["4"], "9"))
        problem(response, 503)
        assert str(tmp_path) not in response.text
        assert client.post("/v1/predict", files=files(digits["4"])).json()[0]["label"] == "4"


def test_the_command_line_lists_exports_and_deletes(
    client: TestClient, settings: Settings, digits: dict[str, bytes], tmp_path: Path
) -> None:
    stored = client.post("/v1/corrections", json=new(client, digits["4"], "9")).json()
    client.post("/v1/corrections", json=new(client, digits["5"], "6"))

    def corrections(*words: str) -> str:
        command = [sys.executable, "-m", "handwriting", "corrections", *words, "--store", str(settings.store)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    rows = json.loads(corrections("list", "--json"))
    assert [(row["predicted_label"], row["label"]) for row in rows] == [("4", "9"), ("5", "6")]
    corrections("export", str(tmp_path / "hand"))
    assert (tmp_path / "hand" / "9" / f"{stored['id']}.png").is_file()
    assert corrections("delete", stored["id"]) == "1 deleted\n"
    assert corrections("delete", "--all") == "1 deleted\n"
    assert json.loads(corrections("list", "--json")) == []


@pytest.mark.parametrize("form", ["hand", "hand.parquet"])
def test_training_data_takes_what_is_exported(
    client: TestClient, settings: Settings, digits: dict[str, bytes], tmp_path: Path, form: str
) -> None:
    from handwriting import data
    from handwriting.serving import export_folder, export_parquet

    for label in "0123456789":
        client.post("/v1/corrections", json=new(client, digits[label], label))
    assert settings.store is not None
    with Store(settings.store) as store:
        (export_parquet if form.endswith(".parquet") else export_folder)(store, tmp_path / form)
        kept = {correction.label: correction.image for correction in store}
    train = data.load(str(tmp_path / form)).train
    assert train.classes == tuple("0123456789")
    assert len(train) == 10
    classifier = load("digits")
    as_kept = classifier.logits(np.stack([kept[train.classes[label]] for label in train.labels])).argmax(axis=1)
    assert (classifier.logits(train.images).argmax(axis=1) == as_kept).all()


# What `handwriting adapt` promises the service: exit status, JSON on stdout, the model in RUN. The training itself is
# tested with that command; here a script keeps the promise in each of its ways.
ADAPT = """
import json, os, pathlib, sys
import numpy as np
given = dict(zip(sys.argv[1:-1:2], sys.argv[2::2]))
samples = np.load(given["--samples"])["labels"].tolist()
how = os.environ["HOW"]
if how == "crash":
    sys.exit("Traceback: ...")
print(json.dumps({"before": {"person": 0.5}, "after": {"person": 0.9}, "samples": samples, "nice": os.nice(0)}))
if how == "refuse":
    print("handwriting: it would not be better", file=sys.stderr)
    sys.exit(1)
run = pathlib.Path(given["--out"])
run.mkdir(parents=True)
(run / "model.onnx").write_bytes(pathlib.Path(os.environ["BETTER"]).read_bytes())
"""


@pytest.fixture
def learner(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: dict[str, bytes]) -> Settings:
    better = tmp_path / "better.onnx"
    digits_model = load("digits")
    better.write_bytes(with_metadata(read("digits"), {**digits_model.metadata, "version": "better"}))
    (tmp_path / "adapt.py").write_text(ADAPT)
    monkeypatch.setenv("BETTER", str(better))
    return dataclasses.replace(settings, adapt_command=(sys.executable, str(tmp_path / "adapt.py")))


def learn(client: TestClient) -> dict[str, Any]:
    response = client.post("/v1/adapt")
    assert response.status_code == 202, response.text
    while (status := client.get("/v1/adapt").json())["state"] == "running":
        time.sleep(0.05)
    return dict(status)


def test_what_was_learned_answers_next_and_one_call_goes_back(
    learner: Settings, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOW", "accept")
    with TestClient(create_app(learner), base_url="http://localhost") as client:
        problem(client.post("/v1/adapt"), 409)  # nothing to learn from yet
        for label, said in (("4", "9"), ("5", "6")):
            client.post("/v1/corrections", json=new(client, digits[label], said))
        before = client.get("/v1/models").json()[0]["version"]
        status = learn(client)
        assert (status["state"], status["report"]["samples"]) == ("accepted", ["9", "6"])
        assert status["report"]["nice"] > os.nice(0)  # who asks meanwhile comes first
        learned = client.get("/v1/models").json()[0]
        assert learned["version"].startswith("better-")
        assert learned["origin"] == "adapted"
        response = client.post("/v1/predict", files=files(digits["4"]))
        assert response.headers["x-model-version"] == learned["version"]
    with TestClient(create_app(learner), base_url="http://localhost") as client:  # it is still there after a restart
        assert client.get("/v1/models").json()[0]["version"] == learned["version"]
        assert client.post("/v1/models/digits/rollback").json()["version"] == before
        problem(client.post("/v1/models/digits/rollback"), 409)
        assert not list((learner.state / "digits").glob("adapted-*"))  # nothing leads back to it
    with TestClient(create_app(learner), base_url="http://localhost") as client:
        assert client.get("/v1/models").json()[0]["version"] == before


def test_the_oldest_learned_versions_go_and_the_file_that_they_grew_from_stays(
    learner: Settings, digits: dict[str, bytes], tmp_path: Path
) -> None:
    from handwriting.serving.metrics import Metrics
    from handwriting.serving.models import Models
    from handwriting.serving.versions import open_version

    served = Models(learner, Metrics()).default
    base = served.active.ident
    for number in range(12):
        run = learner.state / "digits" / f"adapted-{number}"
        run.mkdir(parents=True)
        content = with_metadata(read("digits"), {**load("digits").metadata, "version": f"v{number}"})
        (run / "model.onnx").write_bytes(content)
        served.swap(open_version(run / "model.onnx", "adapted"))
    assert [version.ident.split("-")[0] for version in served.versions[1:]] == [f"v{number}" for number in range(3, 12)]
    assert served.versions[0].ident == base
    kept = sorted(path.name for path in (learner.state / "digits").glob("adapted-*"))
    assert kept == sorted(f"adapted-{number}" for number in range(3, 12))
    again = Models(learner, Metrics()).default  # after a restart
    assert [version.ident for version in again.versions] == [version.ident for version in served.versions]


def test_two_who_ask_it_to_learn_at_once_start_it_once(
    learner: Settings, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOW", "accept")
    with TestClient(create_app(learner), base_url="http://localhost") as client, ThreadPoolExecutor(4) as pool:
        for label, said in (("4", "9"), ("5", "6")):
            client.post("/v1/corrections", json=new(client, digits[label], said))
        asked = [pool.submit(client.post, "/v1/adapt") for _ in range(4)]
        assert sorted(one.result().status_code for one in asked) == [202, 409, 409, 409]


def test_a_version_with_odd_characters_is_fit_for_a_header(
    settings: Settings, digits: dict[str, bytes], tmp_path: Path
) -> None:
    file = tmp_path / "odd.onnx"
    file.write_bytes(with_metadata(read("digits"), {**load("digits").metadata, "version": "1\r\nSet-Cookie: x=ü"}))
    odd = dataclasses.replace(settings, models=(str(file),))
    with TestClient(create_app(odd), base_url="http://localhost") as client:
        response = client.post("/v1/predict", files=files(digits["4"]))
    assert response.headers["x-model-version"].startswith("1-Set-Cookie-x-")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(("how", "state"), [("refuse", "refused"), ("crash", "failed")])
def test_what_is_not_better_changes_nothing(
    learner: Settings, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, how: str, state: str
) -> None:
    monkeypatch.setenv("HOW", how)
    with TestClient(create_app(learner), base_url="http://localhost") as client:
        for label, said in (("4", "9"), ("5", "6")):
            client.post("/v1/corrections", json=new(client, digits[label], said))
        before = client.get("/v1/models").json()
        assert learn(client)["state"] == state
        assert client.get("/v1/models").json() == before
        assert not any(os.scandir(learner.state / "digits"))


def test_an_open_service_lets_nobody_change_its_models(settings: Settings) -> None:
    public = dataclasses.replace(settings, host="0.0.0.0", no_auth=True)  # noqa: S104
    with TestClient(create_app(public), base_url="http://example.org") as client:
        assert client.get("/v1/service").json()["owner"] is False
        problem(client.post("/v1/adapt"), 403)
        problem(client.post("/v1/models/digits/rollback"), 403)
