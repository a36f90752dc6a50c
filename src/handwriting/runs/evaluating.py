"""A model file and data -> Report: any model, any data whose classes it knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from handwriting import data as data_room
from handwriting.classifier import Classifier
from handwriting.data import Dataset
from handwriting.errors import DataError, UnknownName
from handwriting.evaluation import Report, measure, plots
from handwriting.files import write_whole

SPLIT_NAMES = ("test", "valid", "train")


def evaluate(
    model: str | Path | Classifier,
    data: str | Path = "mnist",
    split: str = "test",
    out: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
) -> Report:
    """A model's answers to one part of a data set, measured.

    Data is split as it was when the model was trained (the model file says how), so that its test part holds nothing
    that the model learned from.

    Args:
        model: a shipped model's name, a .onnx file, a run folder or a Classifier.
        data: a data set's name, a folder with a subfolder for each class, or a file.
        split: "test", "valid" or "train".
        out: a folder for report.json, confusion.png and wrong.png.
        data_dir: looked in for data first.

    Raises:
        UnknownName: no such split, data set or model.
        DataError: the data has a class that the model does not know.
    """
    if split not in SPLIT_NAMES:
        raise UnknownName("split", split, SPLIT_NAMES)
    classifier = model if isinstance(model, Classifier) else Classifier(model)
    trained_on = classifier.metadata.get("data", {})
    source = data_room.load(data, data_dir=data_dir)
    splits = data_room.split(source, seed=int(trained_on.get("split_seed", 11)), by=trained_on.get("split_by", "class"))
    part = {"train": lambda: splits.train, "valid": lambda: splits.valid, "test": splits.open_test}[split]()
    part = in_classes_of(classifier, part)
    report = measure(
        classifier.logits(part.images),
        part.labels,
        classifier.classes,
        data=part.name,
        split=split,
        temperature=classifier.temperature,
    )
    if out is not None:
        folder = Path(out)
        plots.save(plots.confusion(report), folder / "confusion.png")
        wrong = plots.most_confidently_wrong(part.images, part.labels, part.classes, report)
        plots.save(wrong, folder / "wrong.png")
        write_whole(folder / "report.json", json.dumps(report.as_json(), indent=2) + "\n")
    return report


def in_classes_of(classifier: Classifier, part: Dataset) -> Dataset:
    """The same characters, labelled by the model's classes."""
    if part.classes == classifier.classes:
        return part
    present = [part.classes[label] for label in np.unique(part.labels)]
    strange = [name for name in present if name not in classifier.classes]
    if strange:
        raise DataError(
            f"{part.name} has classes that this model does not know: {', '.join(strange)}; it knows "
            f"{', '.join(classifier.classes)}"
        )
    index = np.array([classifier.classes.index(name) if name in classifier.classes else -1 for name in part.classes])
    return Dataset(part.name, part.images, index[part.labels].astype(np.int64), classifier.classes, part.writers)
