"""`handwriting data list|fetch`: what can be trained on, and getting it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handwriting.cli.app import DataDirOption, JsonOption, app, print_json

data_app = typer.Typer(help="List and fetch data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("list")
def list_data(data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """Name the data sets: size, licence, and whether they are here already.

    Example: handwriting data list
    """
    from handwriting.data import NAMES, is_here

    rows = [
        {"name": named.name, "about": named.about, "size": named.size, "licence": named.licence}
        | {"here": is_here(named, data_dir)}
        for named in NAMES.values()
    ]
    if json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what", "size", "licence", "here", box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(row[key]) for key in ("name", "about", "size", "licence")), "yes" if row["here"] else "no")
    Console().print(table)


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name that `handwriting data list` gives.")],
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Keep the files here instead of the user's cache.", metavar="DIR")
    ] = None,
) -> None:
    """Download a data set, check it, and keep it. Files that are here and intact are left; broken ones are replaced.

    Example: handwriting data fetch mnist
    """
    from handwriting.data import NAMES
    from handwriting.data.download import fetch_all
    from handwriting.errors import UnknownName

    if name not in NAMES:
        raise UnknownName("data set", name, NAMES)
    paths = fetch_all(NAMES[name], data_dir)
    if not paths:
        typer.echo(f"{name} comes with an installed package: nothing to fetch")
    for path in paths:
        typer.echo(path)
