"""`handwriting serve` and `handwriting corrections`: the service, and what its users put right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handwriting.cli.app import JsonOption, app, print_json
from handwriting.errors import DataError

if TYPE_CHECKING:
    from handwriting.serving import Store

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="HANDWRITING_STORE",
        help="sqlite:////path/to/file or postgresql+psycopg://user@host/database; without it a SQLite file of yours.",
        metavar="URL",
    ),
]


@app.command()
def serve(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A shipped model, a .onnx file or a run folder; again for more.", metavar="NAME|FILE"
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    store: StoreOption = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Keep no corrections at all.")] = False,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="HANDWRITING_API_KEY", help="What clients must show; better given by the environment.", metavar="KEY"
        ),
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Answer anybody, on any address.")] = False,
    state: Annotated[
        Path | None, typer.Option(help="Where adapted models are kept; without it your data folder.", metavar="DIR")
    ] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 30.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the model over HTTP, with a page to draw on.

    Listens on this machine only, unless it is given a key. Open http://127.0.0.1:8000 to draw, /docs for the API.

    Example: handwriting serve --port 8000
    """
    from handwriting.errors import UnknownName
    from handwriting.serving import Settings, default_state, default_url
    from handwriting.serving import serve as run

    levels = ("debug", "info", "warning", "error")
    if log_level not in levels:
        raise UnknownName("log level", log_level, levels)
    settings = Settings(
        models=tuple(models or ["digits"]),
        host=host,
        port=port,
        api_key=api_key,
        no_auth=no_auth,
        store=None if no_store else store or default_url(),
        time_limit=time_limit,
        state=state or default_state(),
    )
    run(settings, log_level=log_level)


corrections = typer.Typer(help="What users of the page put right: list, export, delete.", no_args_is_help=True)
app.add_typer(corrections, name="corrections")


def _open(store: str | None) -> Store:
    from handwriting.serving import Store, default_url

    return Store(store or default_url())


@corrections.command("list")
def list_corrections(store: StoreOption = None, json: JsonOption = False) -> None:
    """Show every stored correction, oldest first.

    Example: handwriting corrections list --json
    """
    with _open(store) as opened:
        rows = [
            {
                "id": kept.id,
                "created_at": kept.created_at.isoformat() if kept.created_at else "",
                "session": kept.session,
                "label": kept.label,
                "predicted_label": kept.predicted_label,
                "predicted_probability": round(kept.predicted_probability, 6),
                "model": kept.model,
                "model_version": kept.model_version,
            }
            for kept in opened
        ]
    if json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(
            f"{row['id']}  {row['created_at']}  {row['predicted_label']} -> {row['label']}  {row['model_version']}"
        )
    typer.echo(f"{len(rows)} corrections")


@corrections.command()
def export(
    out: Annotated[Path, typer.Argument(help="A folder, or a file whose name ends in .parquet.", metavar="OUT")],
    store: StoreOption = None,
) -> None:
    """Write the corrections where `train --data` and `adapt --samples` can read them.

    A folder gets OUT/LABEL/ID.png; a .parquet file one row a correction.

    Example: handwriting corrections export my-hand
    """
    from handwriting.serving import export_folder, export_parquet

    with _open(store) as opened:
        count = export_parquet(opened, out) if out.suffix == ".parquet" else export_folder(opened, out)
    typer.echo(f"{count} corrections in {out}")


@corrections.command()
def delete(
    ident: Annotated[str | None, typer.Argument(help="The id of one correction, from `list`.", metavar="ID")] = None,
    session: Annotated[str | None, typer.Option(help="Delete all of this session.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete every correction.")] = False,
    store: StoreOption = None,
) -> None:
    """Delete one correction, those of a session, or all.

    Example: handwriting corrections delete --all
    """
    if sum((ident is not None, session is not None, everything)) != 1:
        raise typer.BadParameter("give one of ID, --session or --all")
    with _open(store) as opened:
        count = opened.delete(id=ident, session=session)
    if ident is not None and not count:
        raise DataError(f"no correction has the id {ident}: `handwriting corrections list` shows them")
    typer.echo(f"{count} deleted")
