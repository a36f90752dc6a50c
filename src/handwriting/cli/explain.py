"""`handwriting explain`: what the model saw of a picture, step by step, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handwriting.cli.app import JsonOption, ModelOption, app, print_json


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="A picture file of one character.", metavar="IMAGE")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the strip.", metavar="PNG")],
    model: ModelOption = "digits",
    json: JsonOption = False,
) -> None:
    """Draw the way from a photo to the 28x28 that the model sees, with the top answers and plain warnings.

    Example: handwriting explain seven.jpg --out steps.png
    """
    from handwriting.classifier import load
    from handwriting.files import write_whole
    from handwriting.imaging import draw_strip, normal_form, open_picture, strip_png

    picture = open_picture(image)
    form = normal_form(picture)
    # The normal form itself is classified: the strip shows exactly what was judged, and `predict` judges the same.
    answer = load(model).predict(form.image, top=5)
    strip = draw_strip(picture, form, answer.top, title=image.name, rejected=answer.rejected)
    write_whole(out, strip_png(strip))
    if json:
        steps = [{"name": step.name, "note": step.note} for step in form.steps]
        found = {"polarity": form.polarity, "box": form.box, "steps": steps, "strip": str(out)}
        print_json(answer.as_json(str(image)) | {"warnings": list(form.warnings)} | found)
        return
    for step in form.steps:
        typer.echo(f"{step.name}: {step.note}")
    for warning in form.warnings:
        typer.echo(f"warning: {warning}")
    typer.echo(f"{answer.label}  {answer.probability:.1%}" if answer.label is not None else "nothing found")
    typer.echo(f"drawn in {out}")
