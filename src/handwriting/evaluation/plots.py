"""Figures of a run, as matplotlib figures: samples, curves, confusion matrix, the most confidently wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from handwriting.evaluation.measure import Report
from handwriting.files import whole

_COLOURS = {"train": "#4c78a8", "valid": "#f58518", "test": "#54a24b"}


def save(figure: Figure, path: str | Path, dpi: int = 120) -> Path:
    """A figure to a .png (or another suffix that matplotlib knows), whole or not at all. Raises SaveError."""
    with whole(path) as temporary:
        FigureCanvasAgg(figure)
        figure.savefig(temporary, dpi=dpi)
    return Path(path)


def samples(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str], columns: int = 10, rows: int = 4
) -> Figure:
    """Images (N, 28, 28), labels (N,) -> a grid of the first characters of each class in turn, labelled.

    Classes appear in their order until the grid is full, so that with 10 classes each column is one class.
    """
    chosen: list[int] = []
    by_class = [np.flatnonzero(labels == label) for label in range(len(classes))]
    depth = 0
    while len(chosen) < columns * rows and any(len(members) > depth for members in by_class):
        chosen += [int(members[depth]) for members in by_class if len(members) > depth]
        depth += 1
    titles = [classes[labels[index]] for index in chosen]
    return _grid([images[index] for index in chosen[: columns * rows]], titles, columns)


def most_confidently_wrong(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str], report: Report, count: int = 20
) -> Figure:
    """The wrong answers of highest probability: each with its label, the answer and the answer's probability."""
    wrong = np.flatnonzero(report.predicted != labels)
    wrong = wrong[np.argsort(-report.confidence[wrong], kind="stable")][:count]
    titles = [f"{classes[labels[i]]}, said {classes[report.predicted[i]]} {report.confidence[i]:.0%}" for i in wrong]
    if not len(wrong):
        figure = Figure(figsize=(4, 1), layout="constrained")
        figure.text(0.5, 0.5, f"none of {report.n} answers was wrong", ha="center", va="center")
        return figure
    return _grid([images[index] for index in wrong], titles, 5, width=1.5)


def _grid(images: Sequence[NDArray[np.uint8]], titles: Sequence[str], columns: int, width: float = 0.9) -> Figure:
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(columns * width, rows * (width + 0.25)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(title, fontsize=8, pad=2)
    return figure


def curves(history: Mapping[str, Sequence[float]], best_epoch: int, *, note: str = "") -> Figure:
    """A history -> accuracy and loss over epochs.

    Args:
        history: columns `epoch`, `train_accuracy`, `train_loss`, `valid_accuracy`, ... and, where it was drawn
            afterwards, `test_accuracy` and `test_loss`; accuracies in [0, 1], losses in nats.
        best_epoch: the epoch that valid chose; marked by a line.
        note: printed below.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, quantity in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for part, colour in _COLOURS.items():
            values = history.get(f"{part}_{quantity}")
            if values is not None and len(values):
                label = f"{part} (display only)" if part == "test" else part
                axis.plot(history["epoch"], values, marker="o", markersize=3, color=colour, label=label)
        axis.axvline(best_epoch, color="0.6", linestyle="--", linewidth=1, label="chosen by valid")
        axis.set(xlabel="epoch", ylabel="accuracy" if quantity == "accuracy" else "loss (nats)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
    if note:
        figure.supxlabel(note, fontsize=8)
    return figure


def confusion(report: Report) -> Figure:
    """A Report -> its confusion matrix as a figure: shade by share of the true class, counts written in the cells."""
    matrix, classes = report.confusion_matrix, list(report.per_class)
    size = max(4.0, 0.45 * len(classes) + 1.5)
    figure = Figure(figsize=(size, size), layout="constrained")
    axis = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)  # the root shows single errors beside thousands
    axis.set_xticks(range(len(classes)), classes)
    axis.set_yticks(range(len(classes)), classes)
    axis.set(
        xlabel="answer", ylabel="true class", title=f"{report.data} {report.split}: {report.accuracy:.2%} of {report.n}"
    )
    if len(classes) <= 30:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if share[row, column] > 0.4 else "black"
            axis.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=7, color=colour)
    return figure
