"""`handwriting adapt`: a model and one person's characters -> a model that reads this hand too, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handwriting.cli.app import DataDirOption, JsonOption, ModelOption, app, print_json

if TYPE_CHECKING:
    from handwriting.data import Dataset


@app.command()
def adapt(
    samples: Annotated[
        str,
        typer.Option(
            "--samples",
            help="A folder of class folders, a .npz or .parquet file, or the URL of a store of corrections.",
            metavar="FOLDER|FILE|URL",
        ),
    ],
    model: ModelOption = "digits",
    out: Annotated[Path, typer.Option("--out", help="The run's folder.", metavar="RUN")] = Path("runs/adapted"),
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="What the model must not forget. [default: what it was trained on]", metavar="NAME|PATH"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of held-out parts and replayed characters.")] = 11,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Teach a model one person's hand from 5 to 20 characters a class, and keep what it knew.

    Refused, with exit status 1 and nothing written, when accuracy on the person's held-out characters would fall, or
    accuracy on what the model knew by more than 0.1 points.

    Example: handwriting adapt --model digits --samples my-digits --out runs/mine
    """
    from handwriting.runs import Refused
    from handwriting.runs import adapt as adapt_model

    try:
        adapted = adapt_model(
            model, corrections(samples) if "://" in samples else samples, out, data=data, data_dir=data_dir, seed=seed
        )
    except Refused as refusal:
        if json:
            print_json(refusal.report)
        raise
    if json:
        print_json(adapted.report)
        return
    _print_change("your held-out characters", adapted.report["person"])
    known = adapted.report["known"]
    _print_change(f"{known['data']} {known['split']}", known)
    if known["note"]:
        typer.echo(f"{known['data']} {known['note']}")
    if character := adapted.report["character"]:
        accepted = character["person"]
        typer.echo(f"accepted as characters, of your held-out: {accepted['before']:.2%} -> {accepted['after']:.2%}")
    typer.echo(f"learned from {adapted.report['samples']['n']} characters in {adapted.report['seconds']:.1f} s")
    typer.echo(f"model: {adapted.model}")
    typer.echo(f"report: {adapted.folder / 'report.md'}")


def _print_change(name: str, compared: dict[str, Any]) -> None:
    before, after = compared["before"]["accuracy"], compared["after"]["accuracy"]
    typer.echo(
        f"{name}: accuracy {before:.2%} -> {after:.2%} ({compared['change_points']:+.2f} points, n = {compared['n']})"
    )


def corrections(url: str) -> Dataset:
    """The URL of a store of corrections -> what is in it, images as the model saw them."""
    import numpy as np

    from handwriting.data import Dataset
    from handwriting.errors import DataError
    from handwriting.serving import Store

    file = url.removeprefix("sqlite:///")
    if file != url and not Path(file).is_file():
        raise DataError(f"{file}: no such store of corrections")  # opening it would make an empty one
    with Store(url) as store:
        kept = list(store)
        name = str(store)
    if not kept:
        raise DataError(f"{name}: no corrections in this store yet")
    classes = tuple(sorted({correction.label for correction in kept}))
    labels = np.array([classes.index(correction.label) for correction in kept], np.int64)
    return Dataset(name, np.stack([correction.image for correction in kept]), labels, classes)
