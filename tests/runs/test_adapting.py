"""`adapt` told whole: accepted with figures, refused without a trace, and what bad input gets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handwriting
from handwriting.classifier import Classifier, load, read, with_metadata
from handwriting.data import Dataset
from handwriting.errors import DataError, HandwritingError, RunError, UnknownName
from handwriting.learning.adapting import Seen
from handwriting.learning.cuts import bad_cuts
from handwriting.runs import Adapted, Refused, Run, adapt, adapting, fitting
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
    def unlearn(hand: Seen, *rest: Any) -> fitting.Taught:
        taught = fitting.teach(hand, *rest)
        return dataclasses.replace(taught, logits=dataclasses.replace(taught.logits, held_out=-hand.logits))

    monkeypatch.setattr(adapting, "teach", unlearn)
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
    monkeypatch.setattr(fitting, "STRENGTHS", (1.0,))  # weakened far enough, it would cost nothing
    with pytest.raises(Refused) as refusal:
        adapt(small_run.model, threes_for_eights(sample), tmp_path / "run")
    report = refusal.value.report
    assert report["person"]["change_points"] >= 0
    assert report["known"]["change_points"] < -0.1
    assert len(report["refused_because"]) == 1
    assert "mnist-sample" in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_the_shipped_model_learns_to_accept_a_hand_and_no_more_bad_cuts(sample: Dataset, tmp_path: Path) -> None:
    person = in_another_hand(some_of_each(sample, 100, 106), slant=-1.1, width=0.6)
    fresh = in_another_hand(some_of_each(sample, 110, 140), slant=-1.1, width=0.6).images
    adapted = adapt("digits", person, tmp_path / "run", data="mnist-sample")
    character = adapted.report["character"]
    assert character["person"]["after"] > character["person"]["before"]
    assert character["cuts"]["after"] <= character["cuts"]["before"]
    assert character["known"]["after"] >= character["known"]["before"] - 0.005
    parent, child = load("digits"), load(adapted.model)
    assert child.reject_below == parent.reject_below
    cuts = bad_cuts(some_of_each(sample, 200, 300).images, 2000, np.random.default_rng(9))
    taken = {
        name: [float((model.scores(images).character >= model.reject_below).mean()) for model in (parent, child)]
        for name, images in (("fresh", fresh), ("cuts", cuts))
    }
    assert taken["fresh"][1] > taken["fresh"][0] + 0.05
    assert taken["cuts"][1] < taken["cuts"][0] + 0.01
    assert "learned to accept this hand" in (adapted.folder / "report.md").read_text()


def test_a_model_that_does_not_judge_characters_keeps_its_way_to_reject(adapted: Adapted) -> None:
    assert adapted.report["character"] is None
    assert "What it accepts as a character is as it was." in (adapted.folder / "report.md").read_text()


def test_what_would_reject_too_many_known_characters_is_weakened_or_left_out(
    sample: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, generator = read("digits"), np.random.default_rng(0)
    memory = fitting.remember(content, some_of_each(sample, 150, 250), some_of_each(sample, 250, 300), generator)
    person = in_another_hand(some_of_each(sample, 100, 105), slant=-1.1, width=0.6)
    (hand,) = fitting.look(content, person.images)

    def strength(most_rejected: float) -> float | None:
        monkeypatch.setattr(fitting, "MOST_REJECTED", most_rejected)
        taught = fitting.teach(hand, person.labels, memory, load("digits"), np.random.default_rng(0))
        return None if taught.character is None else taught.character.strength

    assert strength(100) == 1.0
    assert strength(-100) is None


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
