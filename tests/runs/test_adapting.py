"""`adapt` told whole: accepted with figures, refused without a trace, and what bad input gets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handwriting
from handwriting.classifier import Classifier, with_metadata
from handwriting.data import Dataset
from handwriting.errors import DataError, HandwritingError, RunError, UnknownName
from handwriting.learning.adapting import Seen
from handwriting.runs import Adapted, Refused, Run, adapt, adapting
from tests.hands import in_another_hand, some_of_each, threes_for_eights


@pytest.fixture(scope="module")
def person(sample: Dataset) -> Dataset:
    return in_another_hand(some_of_each(sample, 100, 110))


@pytest.fixture(scope="module")
def adapted(person: Dataset, small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    return adapt(small_run.model, person, tmp_path_factory.mktemp("adapted") / "run")


def test_the_adapted_model_reads_fresh_digits_of_the_hand_better(
    adapted: Adapted, sample: Dataset, small_run: Run
) -> None:
    fresh = in_another_hand(some_of_each(sample, 110, 200))
    right = [
        (Classifier(model).logits(fresh.images).argmax(1) == fresh.labels).mean()
        for model in (small_run.model, adapted.model)
    ]
    assert right[1] > right[0] + 0.1


def test_the_report_holds_the_figures_that_decided(adapted: Adapted, person: Dataset) -> None:
    report = json.loads((adapted.folder / "report.json").read_text())
    assert report == adapted.report
    assert report["accepted"]
    assert report["person"]["n"] == len(person) == 100
    assert report["after"]["person"] > report["before"]["person"] + 0.05
    assert report["known"]["change_points"] >= -0.1
    assert report["known"]["n"] == 1500
    assert "stands in" in report["known"]["note"]
    told = (adapted.folder / "report.md").read_text()
    assert f"{report['after']['person']:.2%}" in told
    assert "stands in" in told


def test_the_model_file_says_whose_child_it_is(adapted: Adapted, small_run: Run) -> None:
    parent, child = Classifier(small_run.model), Classifier(adapted.model)
    assert child.metadata["adapted"]["parent"]["fingerprint"] == adapted.report["parent"]["fingerprint"]
    assert child.metadata["adapted"]["samples"]["n"] == 100
    assert (child.classes, child.temperature, child.reject_below) == (
        parent.classes,
        parent.temperature,
        parent.reject_below,
    )
    assert "test" not in child.metadata, "the parent's test figures are not the child's"


def test_a_child_can_be_adapted_again(adapted: Adapted, sample: Dataset, tmp_path: Path) -> None:
    other = in_another_hand(some_of_each(sample, 200, 208), slant=0.7, width=1.2)
    again = adapt(adapted.folder, other, tmp_path / "again")
    assert again.report["after"]["person"] >= again.report["before"]["person"]


def test_a_model_that_reads_the_hand_worse_is_refused_and_leaves_no_trace(
    person: Dataset, small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlearn(hand: Seen, *rest: Any) -> adapting.Learned:
        learned = adapting_learn(hand, *rest)
        return dataclasses.replace(learned, held_out=-hand.logits)

    adapting_learn = adapting.learn
    monkeypatch.setattr(adapting, "learn", unlearn)
    before = small_run.model.read_bytes()
    with pytest.raises(Refused, match=r"^refused: accuracy on the held-out .*nothing was written$") as refusal:
        adapt(small_run.model, person, tmp_path / "run")
    assert not refusal.value.report["accepted"]
    assert refusal.value.report["model"] is None
    assert not (tmp_path / "run").exists()
    assert small_run.model.read_bytes() == before


def test_a_hand_that_calls_every_three_an_eight_is_refused_for_what_it_costs(
    sample: Dataset, small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The held-out samples agree with each other, so only the check on known digits can refuse them."""
    monkeypatch.setattr(adapting, "STRENGTHS", (1.0,))  # weakened far enough, it would cost nothing
    with pytest.raises(Refused) as refusal:
        adapt(small_run.model, threes_for_eights(sample), tmp_path / "run")
    report = refusal.value.report
    assert report["person"]["change_points"] >= 0
    assert report["known"]["change_points"] < -0.1
    assert len(report["refused_because"]) == 1
    assert "mnist-sample" in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_bad_input_is_told_in_one_line(person: Dataset, small_run: Run, sample: Dataset, tmp_path: Path) -> None:
    lone = person.subset(np.append(np.flatnonzero(person.labels != 4), np.flatnonzero(person.labels == 4)[0]))
    few = person.subset(np.array([0, 1, 10, 11, 20, 21], np.int64))
    strange = Dataset("strange", person.images, person.labels, tuple("abcdefghij"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("keep me")
    cases: list[tuple[object, str, type[HandwritingError], str]] = [
        (lone, "run", DataError, "only one sample of 4"),
        (few, "run", DataError, "6 samples are too few"),
        (strange, "run", DataError, "does not know: a, b"),
        (tmp_path / "nowhere" / "x", "run", DataError, "no such folder or file"),
        (person, "full", RunError, "not empty"),
    ]
    for samples, out, kind, match in cases:
        with pytest.raises(kind, match=match) as error:
            adapt(small_run.model, samples, tmp_path / out)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
    with pytest.raises(UnknownName, match="unknown model"):
        adapt("digitz", person, tmp_path / "run")
    assert (tmp_path / "full" / "letter.txt").read_text() == "keep me"
    assert not (tmp_path / "run").exists()


def test_a_model_of_letters_asks_for_what_it_must_not_forget(
    person: Dataset, small_run: Run, small_file: Path, tmp_path: Path
) -> None:
    letters = tuple("abcdefghij")
    metadata = Classifier(small_run.model).metadata | {"classes": list(letters), "data": {"name": "my-letters"}}
    model = tmp_path / "letters.onnx"
    model.write_bytes(with_metadata(small_run.model.read_bytes(), metadata))
    written = Dataset("hand", person.images, person.labels, letters)
    with pytest.raises(DataError, match="--data"):
        adapt(model, written, tmp_path / "run")
    with np.load(small_file) as arrays:
        np.savez(tmp_path / "own.npz", images=arrays["images"], labels=arrays["labels"], classes=np.array(letters))
    known = handwriting.adapt(model, written, tmp_path / "run", data=tmp_path / "own.npz").report["known"]
    assert (known["data"], known["split"]) == ("own", "valid")


@pytest.mark.mnist
def test_whole_mnist_is_what_is_kept_when_it_is_at_hand(
    whole_mnist: Path, person: Dataset, small_run: Run, tmp_path: Path
) -> None:
    metadata = Classifier(small_run.model).metadata | {"data": {"name": "mnist", "split_seed": 11}}
    model = tmp_path / "model.onnx"
    model.write_bytes(with_metadata(small_run.model.read_bytes(), metadata))
    report = adapt(model, person, tmp_path / "run", data_dir=whole_mnist).report
    assert (report["known"]["data"], report["known"]["split"], report["known"]["n"]) == ("mnist", "valid", 12000)
    assert report["known"]["note"] == ""
