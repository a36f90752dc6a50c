"""Settings -> a running service: uvicorn in this process, until SIGTERM or SIGINT; what is under way is finished."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from handwriting.serving import logs
from handwriting.serving.app import create_app
from handwriting.serving.settings import ServiceError, Settings

_MOST_HEAD = 1024 * 1024  # bytes of a request's line and headers, or of what arrives with their end
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
        http=_bounded(settings.time_limit),
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


def _bounded(seconds: float) -> type[HttpToolsProtocol]:
    """uvicorn's HTTP protocol, on which a request's head must arrive within ``seconds`` and `_MOST_HEAD` bytes.

    uvicorn itself waits without end and takes what comes: a client that never ends its head would hold a connection,
    or fill the memory.
    """

    class Bounded(HttpToolsProtocol):
        _in_head: bool
        _head_bytes: int
        _late: asyncio.TimerHandle

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._begin_head()

        def data_received(self, data: bytes) -> None:
            self._head_bytes += len(data)
            if self._in_head and self._head_bytes > _MOST_HEAD:
                self.transport.abort()
            else:
                super().data_received(data)

        def on_message_begin(self) -> None:
            self._late.cancel()
            self._begin_head()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._late.cancel()
            self._in_head = False
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._late.cancel()
            super().connection_lost(exc)

        def _begin_head(self) -> None:
            self._in_head, self._head_bytes = True, 0
            self._late = self.loop.call_later(seconds, self.transport.close)

    return Bounded


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
