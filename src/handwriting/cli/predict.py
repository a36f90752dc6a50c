"""`handwriting predict`: pictures of one character each -> labels."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handwriting.cli.app import JsonOption, ModelOption, app, print_json, warn

if TYPE_CHECKING:
    from handwriting.classifier import Prediction


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Picture files, one character each.", metavar="IMAGE...")],
    model: ModelOption = "digits",
    top: Annotated[int, typer.Option("--top", min=1, help="How many of the most probable classes to give.")] = 3,
    json: JsonOption = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the answers here too.", metavar="FILE")] = None,
) -> None:
    """Say which character each picture shows.

    Photos, scans, drawings and screenshots, dark on light or light on dark, of any size. A picture that cannot be read
    is named, the others are answered, and the exit status is 1.

    Example: handwriting predict seven.png --top 2 --json
    """
    from handwriting.classifier import load
    from handwriting.errors import PictureError

    answers = load(model).predict_each(images, top=top)
    rows: list[dict[str, Any]] = []
    for image, answer in zip(images, answers, strict=True):
        if isinstance(answer, PictureError):
            warn(str(answer))
            rows.append({"image": str(image), "error": str(answer)})
        else:
            rows.append(answer.as_json(str(image)))
            if not json:
                typer.echo(_line(image, answer))
    if csv_file is not None:
        _write_csv(csv_file, rows)
    if json:
        print_json(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _line(image: Path, answer: Prediction) -> str:
    if answer.label is None:
        return f"{image}: nothing found"
    others = ", ".join(f"{label} {probability:.1%}" for label, probability in answer.top[1:])
    line = f"{image}: {answer.label}  {answer.probability:.1%}" + (f"  (then {others})" if others else "")
    line += "  rejected: no character that this model knows" if answer.rejected else ""
    return line + (f"  [{'; '.join(answer.warnings)}]" if answer.warnings else "")


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    from handwriting.files import write_whole

    text = io.StringIO()
    columns = ["image", "label", "probability", "rejected", "error"]
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())
