"""One file a command; the only place that prints or draws progress."""

from __future__ import annotations

import sys

from handwriting.cli import (  # noqa: F401 - each registers its command
    adapt,
    data,
    evaluate,
    explain,
    models,
    predict,
    read,
    serve,
    train,
)
from handwriting.cli.app import app, warn
from handwriting.errors import HandwritingError, missing_extra


def main() -> None:
    """The `handwriting` command: exit status 0, 1 (a problem with the work, in one line on stderr) or 2 (usage)."""
    try:
        app()
    except HandwritingError as error:
        warn(" ".join(str(error).split()))
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = missing_extra(error)
        if extra is None:
            raise
        warn(str(extra))
        sys.exit(1)
