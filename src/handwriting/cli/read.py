"""`handwriting read`: pages of writing -> lines of characters."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handwriting.cli.app import JsonOption, ModelOption, app, print_json, warn

if TYPE_CHECKING:
    from handwriting.reading import Page


@app.command()
def read(
    images: Annotated[list[Path], typer.Argument(help="Picture files of pages or lines.", metavar="IMAGE...")],
    model: ModelOption = "digits",
    annotate: Annotated[
        Path | None, typer.Option("--annotate", help="Draw boxes and labels into copies there.", metavar="DIR")
    ] = None,
    length: Annotated[int | None, typer.Option("--length", min=1, help="Every line has so many characters.")] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", help=r"Every line is of this form, e.g. '\d{2}/\d{2}'.", metavar="REGEX")
    ] = None,
    checksum: Annotated[
        str | None, typer.Option("--checksum", help="Every line passes this check: luhn.", metavar="NAME")
    ] = None,
    alphabet: Annotated[
        str | None,
        typer.Option("--alphabet", help="digits, letters, upper, lower, hex, or the characters.", metavar="NAME|CHARS"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Read lines of handwritten characters from photos and scans of pages.

    Constraints guide the reading itself: of all ways to read a line the best one that they allow is taken. A picture
    that cannot be read is named, the others are answered, and the exit status is 1.

    Example: handwriting read page.jpg --length 4 --annotate read/
    """
    from handwriting.classifier import load
    from handwriting.errors import PictureError
    from handwriting.reading import read as read_page

    classifier = load(model)
    rows: list[dict[str, Any]] = []
    for image, copy in zip(images, _copies(images, annotate), strict=True):
        try:
            page = read_page(
                image, model=classifier, length=length, pattern=pattern, checksum=checksum, alphabet=alphabet
            )
        except PictureError as error:
            warn(str(error))
            rows.append({"image": str(image), "error": str(error)})
            continue
        rows.append(page.as_json(str(image)))
        if copy is not None:
            _draw(image, page, copy)
        if not json:
            _print(image, page)
    if json:
        print_json(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _print(image: Path, page: Page) -> None:
    if not page.lines:
        typer.echo(f"{image}: nothing written")
    if page.turned:
        warn(f"{image}: read turned by {page.turned} degrees counter-clockwise")
    for unknown, run in groupby(page.lines, key=lambda line: bool(line.characters) and not line.text):
        lines = list(run)
        # Bits of a grid are lines by the hundred: those between two that were read are told in one.
        for some in [lines] if unknown else [[line] for line in lines]:
            rejected = sum(character.rejected for line in some for character in line.characters)
            among = f" in {len(some)} lines" if len(some) > 1 else ""
            note = f"  ({rejected} rejected{among}: no character that this model knows)" if rejected else ""
            probability = max(line.probability for line in some)
            typer.echo(f"{image}: {some[0].text or '-'}  {probability:.1%}{note}")


def _copies(images: list[Path], folder: Path | None) -> list[Path | None]:
    """A file in the folder for each picture; pictures of one name in different folders do not overwrite each other."""
    if folder is None:
        return [None] * len(images)
    taken: dict[str, int] = {}
    copies: list[Path | None] = []
    for image in images:
        number = taken[image.stem] = taken.get(image.stem, 0) + 1
        copies.append(folder / (f"{image.stem}.png" if number == 1 else f"{image.stem}-{number}.png"))
    return copies


def _draw(image: Path, page: Page, copy: Path) -> None:
    from PIL import Image

    from handwriting.files import whole
    from handwriting.imaging import open_picture
    from handwriting.reading import annotated

    with whole(copy) as temporary:
        Image.fromarray(annotated(open_picture(image), page)).save(temporary, format="PNG")
