"""One training told whole: data, learning, choosing on valid, test opened once, report, model file."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import handwriting
from handwriting import data as data_room
from handwriting.classifier import Classifier, with_metadata
from handwriting.data import Dataset, SplitBy, Splits
from handwriting.errors import ModelError, RunError, UnknownName
from handwriting.evaluation import Report, fit_temperature, measure, plots, reject_threshold
from handwriting.files import write_whole
from handwriting.learning.recipes import Recipe, changed
from handwriting.learning.recipes import recipe as named_recipe
from handwriting.runs.folder import RunFolder
from handwriting.runs.report import write_report

if TYPE_CHECKING:
    import torch

    from handwriting.learning.training import Epoch, Training

PARITY_TOLERANCE = 1e-4  # of logits, between torch and onnxruntime, over the whole valid part


@dataclass(frozen=True)
class Watch:
    """What somebody who looks on is told, as it happens; each is called from the training process itself.

    Attributes:
        started: (recipe, splits, device in words), once.
        progress: (epoch's number, characters seen in it, characters in all), every step; may raise KeyboardInterrupt,
            which stops the run cleanly.
        epoch: an Epoch, as it ends.
        warned: a line worth reading.
    """

    started: Callable[[Recipe, Splits, str], None] = lambda _recipe, _splits, _device: None
    progress: Callable[[int, int, int], None] = lambda _number, _seen, _count: None
    epoch: Callable[[Epoch], None] = lambda _epoch: None
    warned: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True, eq=False)
class Run:
    """A training that ended.

    Attributes:
        folder: where everything lies.
        model: the model file in it.
        report: the test part's, in the JSON form of report.json; None when the run was interrupted, since the test
            part is opened only when nothing is left to choose.
        best_epoch: the epoch that valid chose.
        interrupted: whether it was stopped before its last epoch.
    """

    folder: Path
    model: Path
    report: dict[str, Any] | None
    best_epoch: int
    interrupted: bool = False


def train(
    data: str | Path = "mnist",
    recipe: str | Recipe = "classic",
    out: str | Path = "runs/latest",
    *,
    seed: int | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    ensemble: int | None = None,
    tta: bool = False,
    data_dir: str | Path | None = None,
    split_by: str = "class",
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Data and a recipe -> a run folder with its model file, measured.

    Args:
        data: a data set's name, a folder with a subfolder for each class, or a .npz or .parquet file.
        recipe: a name, or a Recipe.
        out: the run's folder.
        seed, epochs, patience: change the recipe where they are not None. Without `epochs`, a recipe in a hurry takes
            more of them on small data (`Recipe.least_steps`).
        ensemble: so many networks, trained side by side, answer as one, in one model file; 1 to 16.
        tta: the model looks at each image in five places and answers with the mean (test-time augmentation).
        data_dir: looked in for data first.
        split_by: "class", or "writer" to keep each writer on one side.
        device: "auto", "cpu", "cuda" or "mps".
        resume: go on after the last epoch of the run in `out`; the recipe and data must be the same.
        overwrite: delete what an earlier run left in `out`.
        watch: told what happens.

    Raises:
        HandwritingError: one of its kinds, in one line, for whatever is wrong with data, options, folder or disk.
    """
    from handwriting.learning import device as devices  # torch: only here, where it trains

    watch = watch or Watch()
    changes = {"seed": seed, "epochs": epochs, "patience": patience, "ensemble": ensemble, "views": 5 if tta else None}
    plan = named_recipe(recipe, **changes) if isinstance(recipe, str) else changed(recipe, **changes)
    if split_by not in data_room.SPLITS_BY:
        raise UnknownName("way to split", split_by, data_room.SPLITS_BY)
    by: SplitBy = "writer" if split_by == "writer" else "class"
    where = devices.choose(device)
    folder = RunFolder(Path(out).expanduser())
    folder.claim(resume=resume, overwrite=overwrite)
    if resume and folder.finished:
        report = folder.read_json("report.json")
        return Run(folder.path, folder.model, report, int(report["best_epoch"]))
    splits = data_room.split(data_room.load(data, data_dir=data_dir), seed=plan.seed, by=by)
    if epochs is None:
        plan = plan.for_characters(len(splits.train))
    _begin(folder, plan, splits, resume=resume)
    watch.started(plan, splits, devices.describe(where))
    return _carry_out(folder, plan, splits, where, watch, resume=resume)


def _begin(folder: RunFolder, recipe: Recipe, splits: Splits, *, resume: bool) -> None:
    """Write what is known before training; when resuming, check that it is still the same."""
    record: dict[str, Any] = {
        "version": handwriting.__version__,
        "recipe": recipe.as_json(),
        "data": _data_record(splits),
    }
    if resume:
        was = folder.read_json("recipe.json")
        for part in ("recipe", "data"):
            differ = [key for key, value in record[part].items() if was.get(part, {}).get(key) != value]
            if differ:
                raise RunError(
                    f"{folder.path}: this run was started with another {part} ({', '.join(differ)}); resume with the "
                    "same options, or start anew with --overwrite"
                )
    else:
        folder.clear()  # only now: whatever was wrong with the options or the data has been refused
        folder.write_json("recipe.json", record)
    first = splits.train
    if not (folder / "samples.png").exists():  # a run killed right at its start has none yet
        plots.save(plots.samples(first.images, first.labels, first.classes), folder / "samples.png")


def _data_record(splits: Splits) -> dict[str, Any]:
    return {
        "name": splits.train.name,
        "note": splits.note,
        "fingerprint": splits.train.fingerprint(),
        "split_by": splits.by,
        "split_seed": splits.seed,
        "n_train": len(splits.train),
        "n_valid": len(splits.valid),
        "n_test": splits.test_size,
    }


def _carry_out(
    folder: RunFolder, recipe: Recipe, splits: Splits, where: torch.device, watch: Watch, *, resume: bool
) -> Run:
    """Train, choose, export, and only then open the test part."""
    from handwriting.learning import checkpoints
    from handwriting.learning.training import Training

    training = Training(recipe, splits.train, splits.valid, where)
    if resume and (folder.checkpoint.exists() or checkpoints.previous(folder.checkpoint).exists()):
        state, warning = checkpoints.load_latest(folder.checkpoint)
        training.restore(*state)
        if warning:
            watch.warned(warning)
    interrupted = False
    try:
        _learn(folder, training, watch)
    except KeyboardInterrupt:
        if not training.history:
            raise RunError(f"stopped before the first epoch ended; nothing to keep in {folder.path}") from None
        interrupted = True
    training.network.load_state_dict(training.best_weights)
    history = [dataclasses.asdict(epoch) for epoch in training.history]
    model, logits = _export(folder, training, splits.valid)
    metadata = _choose_on_valid(folder, recipe, splits, logits, training)
    if interrupted:
        write_whole(folder.model, with_metadata(model, metadata))
        plots.save(plots.curves(_columns(history), training.best_epoch), folder / "curves.png")
        return Run(folder.path, folder.model, None, training.best_epoch, interrupted=True)
    test = splits.open_test()
    report = _measure_test(folder, model, metadata, test)
    _add_test_curve(folder, training, test, history)
    folder.write_history(history)
    note = "test is drawn afterwards from the saved epochs, for display only: nothing was chosen by it"
    plots.save(plots.curves(_columns(history), training.best_epoch, note=note), folder / "curves.png")
    document = _record(report, metadata, splits, training)
    write_report(folder, document, report, test)
    write_whole(folder.model, with_metadata(model, metadata | {"test": _summary(report)}))
    folder.write_json("report.json", document)  # last: it says that the run is finished
    shutil.rmtree(folder.path / "epochs", ignore_errors=True)
    return Run(folder.path, folder.model, document, training.best_epoch)


def _learn(folder: RunFolder, training: Training, watch: Watch) -> None:
    """Carry the recipe out, saving after every epoch: first its weights, then the state that says it is done."""
    from handwriting.learning import checkpoints

    def progress(seen: int, count: int) -> None:
        watch.progress(len(training.history) + 1, seen, count)

    for epoch in training.epochs(progress):
        weights = {name: value.detach().cpu() for name, value in training.network.state_dict().items()}
        checkpoints.save(folder.epoch_weights(epoch.number), (weights, {}), keep_previous=False)
        checkpoints.save(folder.checkpoint, training.state())
        folder.write_history([dataclasses.asdict(done) for done in training.history])
        watch.epoch(epoch)


def _export(folder: RunFolder, training: Training, valid: Dataset) -> tuple[bytes, NDArray[np.float32]]:
    """The trained network -> ONNX bytes and their logits on valid. Raises ModelError when they differ from torch's."""
    import torch

    from handwriting.learning.export import to_onnx
    from handwriting.learning.training import infer

    model = to_onnx(training.network)
    logits = Classifier(with_metadata(model, {"classes": list(valid.classes)})).logits(valid.images)
    expected = infer(training.network.cpu(), valid.images, torch.device("cpu"))
    difference = float(np.abs(logits - expected).max())
    if difference > PARITY_TOLERANCE or (logits.argmax(1) != expected.argmax(1)).any():
        raise ModelError(
            f"{folder.path}: the exported model answers otherwise than torch (logits differ by {difference:.1e}); "
            "no model was written"
        )
    return model, logits


def _choose_on_valid(
    folder: RunFolder, recipe: Recipe, splits: Splits, logits: NDArray[np.float32], training: Training
) -> dict[str, Any]:
    """What valid decides beside the epoch: temperature and threshold; with the rest of the model's metadata."""
    valid = splits.valid
    temperature = fit_temperature(logits, valid.labels)
    report = measure(logits, valid.labels, valid.classes, data=valid.name, split="valid", temperature=temperature)
    return {
        "classes": list(valid.classes),
        "recipe": recipe.as_json(),
        "data": _data_record(splits),
        "temperature": temperature,
        "reject_below": reject_threshold(report.confidence),
        "best_epoch": training.best_epoch,
        "valid": _summary(report),
        "version": handwriting.__version__,
        "run": folder.path.name,
    }


def _measure_test(folder: RunFolder, model: bytes, metadata: dict[str, Any], test: Dataset) -> Report:
    report = measure(
        Classifier(with_metadata(model, metadata)).logits(test.images),
        test.labels,
        test.classes,
        data=test.name,
        split="test",
        temperature=metadata["temperature"],
    )
    plots.save(plots.confusion(report), folder / "confusion.png")
    plots.save(plots.most_confidently_wrong(test.images, test.labels, test.classes, report), folder / "wrong.png")
    return report


def _add_test_curve(folder: RunFolder, training: Training, test: Dataset, history: list[dict[str, Any]]) -> None:
    """Add `test_loss` and `test_accuracy` of every saved epoch to the history's rows."""
    import torch

    from handwriting.learning import checkpoints
    from handwriting.learning.training import infer

    for row in history:
        weights, _ = checkpoints.load(folder.epoch_weights(row["number"]))
        training.network.load_state_dict(weights)
        logits = infer(training.network, test.images, torch.device("cpu"))
        report = measure(logits, test.labels, test.classes, data=test.name, split="test")
        row["test_loss"], row["test_accuracy"] = report.loss, report.accuracy


def _columns(history: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {"epoch": [row["number"] for row in history]} | {
        key: [row[key] for row in history] for key in history[0] if key not in ("number", "seconds")
    }


def _summary(report: Report) -> dict[str, Any]:
    document = report.as_json()
    return {key: document[key] for key in ("n", "accuracy", "accuracy_ci95", "loss", "ece", "coverage_at_99_9")}


def _record(report: Report, metadata: dict[str, Any], splits: Splits, training: Training) -> dict[str, Any]:
    from handwriting.learning import device as devices

    return report.as_json() | {
        "recipe": metadata["recipe"],
        "data_record": metadata["data"],
        "best_epoch": training.best_epoch,
        "valid": metadata["valid"],
        "test_opened": splits.times_opened,
        "training_seconds": sum(epoch.seconds for epoch in training.history),
        "hardware": devices.describe(training.device),
        "reject_below": metadata["reject_below"],
        "version": handwriting.__version__,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
