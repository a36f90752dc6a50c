"""report.md: a run told for people, with the same numbers as report.json."""

from __future__ import annotations

from typing import Any

from handwriting.data import Dataset
from handwriting.evaluation import Report
from handwriting.files import write_whole
from handwriting.runs.folder import RunFolder


def write_report(folder: RunFolder, document: dict[str, Any], report: Report, test: Dataset) -> None:
    """Write report.md from the run's record. Raises SaveError."""
    recipe, data, valid = document["recipe"], document["data_record"], document["valid"]
    lines = [
        f"# Run `{folder.path.name}`: recipe `{recipe['name']}` on `{data['name']}`",
        "",
        f"Test accuracy **{report.accuracy:.2%}** (95% interval {_interval(report.accuracy_ci95)}), test loss "
        f"**{report.loss:.4f}** nats, n = {report.n}. The test part was opened once, after valid had chosen epoch "
        f"{document['best_epoch']}.",
        "",
        "| part | n | accuracy | 95% interval | loss | ECE | coverage at 99.9% |",
        "|---|---|---|---|---|---|---|",
        _row("valid", valid),
        _row("test", document),
        "",
        f"Training took {document['training_seconds']:.1f} s on {document['hardware']}; the rest of the time went into "
        "validation, export and figures. Data: "
        f"{data['n_train']} train, {data['n_valid']} valid, {data['n_test']} test, split by {data['split_by']} with "
        f"seed {data['split_seed']}, fingerprint `{data['fingerprint']}`."
        + (f" {data['note']}." if data["note"] else ""),
        "",
        "![accuracy and loss over epochs](curves.png)",
        "",
        "![confusion matrix](confusion.png)",
        "",
        "![the most confidently wrong](wrong.png)",
        "",
        "| class | precision | recall | F1 | n |",
        "|---|---|---|---|---|",
    ]
    for name in test.classes:
        row = report.per_class[name]
        lines.append(f"| {name} | {row['precision']:.4f} | {row['recall']:.4f} | {row['f1']:.4f} | {row['n']:.0f} |")
    lines += ["", "Recipe: " + ", ".join(f"{key} {value}" for key, value in recipe.items()) + ".", ""]
    write_whole(folder / "report.md", "\n".join(lines))


def _interval(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.2%} to {bounds[1]:.2%}"


def _row(part: str, row: dict[str, Any]) -> str:
    return (
        f"| {part} | {row['n']} | {row['accuracy']:.2%} | {_interval(row['accuracy_ci95'])} | {row['loss']:.4f} | "
        f"{row['ece']:.4f} | {row['coverage_at_99_9']:.2%} |"
    )
