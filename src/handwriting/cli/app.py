"""The typer application that every command registers itself on, and what all commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="handwriting",
    help="Train a handwriting CNN in seconds, measure it honestly, and use it on a photo of your own writing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", help="A shipped model, a .onnx file or a run folder.", metavar="NAME|FILE"),
]
DataOption = Annotated[
    str,
    typer.Option("--data", help="A data set's name, a folder of class folders, or a file.", metavar="NAME|PATH"),
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Look for data here first (before $HANDWRITING_DATA).", metavar="DIR")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout, and nothing else.")]


def print_json(document: Any) -> None:
    """A document of JSON types to stdout."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def warn(line: str) -> None:
    """A line to stderr."""
    typer.echo(f"handwriting: {line}", err=True)


def show_progress() -> bool:
    """Whether somebody looks on: progress is drawn only on a terminal."""
    return sys.stderr.isatty()
