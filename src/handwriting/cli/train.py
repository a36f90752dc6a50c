"""`handwriting train`: data and a recipe -> a run folder with curves, a report and a model file."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from handwriting.cli.app import DataDirOption, DataOption, JsonOption, app, print_json, show_progress, warn

if TYPE_CHECKING:
    from handwriting.data import Splits
    from handwriting.learning.recipes import Recipe
    from handwriting.learning.training import Epoch
    from handwriting.runs import Run, Watch


@app.command()
def train(
    data: DataOption = "mnist",
    recipe: Annotated[str, typer.Option("--recipe", help="How to train.", metavar="NAME")] = "classic",
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's folder. [default: runs/RECIPE]", metavar="RUN")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of weights, order and split.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.")] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop after this many epochs without a better valid accuracy.")
    ] = None,
    ensemble: Annotated[
        int | None, typer.Option("--ensemble", help="Train so many networks that answer as one.", metavar="K")
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Answer with the mean over five shifted views.")] = False,
    split_by: Annotated[
        str,
        typer.Option("--split-by", help="By writer keeps each writer on one side.", metavar="class|writer"),
    ] = "class",
    device: Annotated[str, typer.Option("--device", help="Where to train.", metavar="auto|cpu|cuda|mps")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out after its last epoch.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Train a network, choose on valid, open the test part once, and leave a report and a model file.

    Ctrl-C stops cleanly: the epoch that valid chooses so far becomes the model, the test part stays closed, and
    --resume goes on.

    Example: handwriting train --data mnist --recipe classic --out runs/classic
    """
    from handwriting.learning.recipes import recipe as named_recipe
    from handwriting.runs import train as run_training

    named_recipe(
        recipe, seed=seed, epochs=epochs, patience=patience, ensemble=ensemble
    )  # refuse what is wrong before torch is loaded
    with _watching() as watch:
        run = run_training(
            data,
            recipe,
            out or Path("runs") / recipe,
            seed=seed,
            epochs=epochs,
            patience=patience,
            ensemble=ensemble,
            tta=tta,
            data_dir=data_dir,
            split_by=split_by,
            device=device,
            resume=resume,
            overwrite=overwrite,
            watch=watch,
        )
    if run.interrupted:
        warn(f"stopped; {run.model} is epoch {run.best_epoch}, chosen by valid so far; --resume goes on")
        raise typer.Exit(1)
    if json:
        print_json(run.report)
    else:
        _summarise(run)


def _summarise(run: Run) -> None:
    report = run.report or {}
    low, high = report["accuracy_ci95"]
    note = report["data_record"]["note"]
    typer.echo(
        f"test accuracy {report['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}), test loss "
        f"{report['loss']:.4f}, n = {report['n']}; epoch {report['best_epoch']} chosen by valid "
        f"({report['valid']['accuracy']:.2%}); trained in {report['training_seconds']:.1f} s on {report['hardware']}"
    )
    if note:
        typer.echo(note)
    typer.echo(f"model: {run.model}")
    typer.echo(f"report: {run.folder / 'report.md'}")


@contextmanager
def _watching() -> Iterator[Watch]:
    """A Watch that draws progress where somebody looks on, and that turns the first Ctrl-C into a clean stop."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from handwriting.runs import Watch

    stopping = False
    looking = show_progress()
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, disable=not looking, transient=True)
    task = bar.add_task("starting", total=None)
    epochs = 0

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        signal.signal(signal.SIGINT, before)  # a second Ctrl-C stops at once

    def started(recipe: Recipe, splits: Splits, device: str) -> None:
        nonlocal epochs
        epochs = recipe.epochs
        bar.update(task, total=epochs * len(splits.train), description="epoch 1")
        if looking:
            console.print(
                f"recipe {recipe.name} on {splits.train.name}: {len(splits.train)} train, {len(splits.valid)} valid, "
                f"{splits.test_size} test (sealed); {device}"
            )

    def progress(number: int, seen: int, count: int) -> None:
        if stopping:
            raise KeyboardInterrupt
        bar.update(task, completed=(number - 1) * count + seen, description=f"epoch {number}/{epochs}")

    def epoch(done: Epoch) -> None:
        if looking:
            console.print(
                f"epoch {done.number:3d}  train loss {done.train_loss:.4f} accuracy {done.train_accuracy:.2%}  "
                f"valid loss {done.valid_loss:.4f} accuracy {done.valid_accuracy:.2%}  {done.seconds:.1f} s"
            )

    before = signal.signal(signal.SIGINT, stop)
    try:
        with bar:
            yield Watch(started=started, progress=progress, epoch=epoch, warned=warn)
    finally:
        signal.signal(signal.SIGINT, before)
