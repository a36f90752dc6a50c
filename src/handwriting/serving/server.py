"""Settings -> a running service: uvicorn in this process, until SIGTERM or SIGINT; what is under way is finished."""

from __future__ import annotations

import gc
import signal
import socket
import sys

import uvicorn

from handwriting.serving import logs
from handwriting.serving.app import create_app
from handwriting.serving.settings import ServiceError, Settings

_GRACE = 60  # seconds for requests under way; longer than the default time limit of one


def serve(settings: Settings, *, log_level: str = "info") -> None:
    """Serve until told to stop. On stderr: one line that says where, then the log, one JSON object a line.

    Raises:
        ServiceError: the address cannot be used.
        HandwritingError: a model or store that cannot be opened.
    """
    logs.configure(log_level)
    app = create_app(settings)
    listening = _listen(settings)
    port = listening.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    sys.stderr.write(f"handwriting: serving on http://{host}:{port}  (Ctrl-C stops)\n")
    sys.stderr.flush()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=30,
        ws="none",
        proxy_headers=False,
        backlog=2048,
    )
    # uvicorn raises the signal again once all is finished; being asked to stop is no failure, so the status is 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # What was made until now lives as long as the process: looking through it again and again for garbage would hold
    # up every request: the p99 of 32 clients was 80 ms with that, and is 35 ms without.
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run(sockets=[listening])


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.set_inheritable(True)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServiceError(f"cannot listen on {settings.host}:{settings.port}: {why}; try another --port") from error
    return listening
