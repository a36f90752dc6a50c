"""`handwriting models`: the models that come with the package."""

from __future__ import annotations

from typing import Any

from handwriting.cli.app import JsonOption, app, print_json


@app.command()
def models(json: JsonOption = False) -> None:
    """List the shipped models: classes, size and measured accuracy.

    Example: handwriting models
    """
    from handwriting.classifier import Classifier, shipped

    rows: list[dict[str, Any]] = []
    for name, path in shipped().items():
        metadata = Classifier(path).metadata
        rows.append(
            {"name": name, "classes": metadata["classes"], "bytes": path.stat().st_size}
            | {key: metadata.get(key) for key in ("version", "test", "measured")}
        )
    if json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "classes", "size", "test accuracy", "measured", box=None, header_style="bold")
    for row in rows:
        accuracy = f"{row['test']['accuracy']:.2%} (n = {row['test']['n']})" if row["test"] else "not measured"
        measured = ", ".join(f"{what} {value}" for what, value in (row["measured"] or {}).items())
        table.add_row(row["name"], " ".join(row["classes"]), f"{row['bytes'] / 1e6:.2f} MB", accuracy, measured)
    Console().print(table)
