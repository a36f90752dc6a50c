"""`handwriting evaluate`: a model and data -> how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handwriting.cli.app import DataDirOption, DataOption, JsonOption, app, print_json


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model, a .onnx file or a run folder.", metavar="MODEL")],
    data: DataOption = "mnist",
    split: Annotated[str, typer.Option("--split", help="Which part.", metavar="test|valid|train")] = "test",
    out: Annotated[Path | None, typer.Option("--out", help="Write report and figures here.", metavar="DIR")] = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Measure a model on a part of a data set, split as it was when the model was trained.

    Example: handwriting evaluate runs/classic --data mnist --split test
    """
    from handwriting.runs import evaluate as evaluate_model

    report = evaluate_model(model, data, split, out, data_dir=data_dir)
    if json:
        print_json(report.as_json())
        return
    low, high = report.accuracy_ci95
    typer.echo(
        f"{report.data} {report.split}: accuracy {report.accuracy:.2%} (95% interval {low:.2%} to {high:.2%}), loss "
        f"{report.loss:.4f}, ECE {report.ece:.4f}, coverage at 99.9% {report.coverage_at_99_9:.2%}, n = {report.n}"
    )
    if out is not None:
        typer.echo(f"report: {out / 'report.json'}")
