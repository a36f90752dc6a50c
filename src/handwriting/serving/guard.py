"""The gate in front of every request: who may pass, how much, for how long; and what every response carries."""

from __future__ import annotations

import hmac
import re
import time
import uuid
from urllib.parse import urlsplit

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handwriting.serving import problems
from handwriting.serving.logs import logger, request_id
from handwriting.serving.metrics import Metrics
from handwriting.serving.problems import Problem
from handwriting.serving.settings import Settings

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOCAL = {"localhost", "127.0.0.1", "::1"}
# What anybody may have: the page and its files hold no data, and orchestrators ask for health without a key.
_OPEN = {"/", "/docs", "/openapi.json", "/favicon.ico", "/v1/service", "/v2/health/live", "/v2/health/ready"}
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]


class _Left(Exception):
    """The client went away before its request was whole."""


class Guard:
    """ASGI middleware around the whole application; a body reaches it whole and within limits, or not at all."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._key = settings.api_key.encode() if settings.api_key else None
        self._held = 0  # bytes of bodies in memory now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every other kind of connection is the application's business."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        ident = given if _ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(ident)
        status, whole = 0, False

        async def answer(message: Message) -> None:
            nonlocal status, whole
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [*_HEADERS, (b"x-request-id", ident.encode())]
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    extra.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)

        self._metrics.in_flight.inc()
        try:
            await self._answer(scope, headers, receive, answer)
        except Problem as problem:
            await problems.response(problem, path=scope["path"], request_id=ident)(scope, receive, answer)
        except _Left:
            status = status or 499
        except Exception:
            logger.exception("the service failed")
            self._metrics.errors.inc()
            if not whole:
                raise  # half an answer is out already: let the server cut the connection
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status, time.perf_counter() - started)
            request_id.reset(token)

    async def _answer(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        self._admit(scope, headers)
        seconds = self._settings.time_limit
        body = b""
        held = 0
        try:
            with anyio.move_on_after(seconds) as limit:
                if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                    held = self._reserve(headers)
                    body = await self._body(receive)
            if limit.cancelled_caught:
                raise Problem(408, f"the request did not arrive within {seconds:g} seconds", headers=_CLOSE)
            with anyio.move_on_after(seconds) as limit:
                await self._app(scope, _replay(body, receive), send)
            if limit.cancelled_caught:
                raise Problem(504, f"no answer within {seconds:g} seconds: send fewer or smaller pictures")
        finally:
            self._held -= held

    def _admit(self, scope: Scope, headers: dict[str, str]) -> None:
        """Raise the Problem of a request that may not pass."""
        path: str = scope["path"]
        host = headers.get("host", "").lower()
        if self._key is None and not self._settings.no_auth and _hostname(host) not in _LOCAL:
            # A foreign name for this address is how a web site reaches a service on its visitor's machine (rebinding).
            raise Problem(421, "this service answers under localhost only: give it an API key to use another name")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            origin = headers.get("origin")
            foreign = origin is not None and origin.lower().partition("://")[2] != host
            if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                raise Problem(403, "requests from other web sites are refused")
        if self._key is not None and path not in _OPEN and not path.startswith("/page/"):
            scheme, _, bearer = headers.get("authorization", "").partition(" ")
            shown = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
            if not hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), self._key):
                raise Problem(
                    401,
                    "an API key is needed: send it as `Authorization: Bearer KEY`",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        if "content-encoding" in headers:
            raise Problem(415, "compressed bodies are not taken: send it without Content-Encoding", headers=_CLOSE)

    def _reserve(self, headers: dict[str, str]) -> int:
        """Room in memory for a body, in bytes."""
        limit = self._settings.max_body
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise _too_large(limit)
        size = int(length) if length.isdecimal() else limit  # chunked: it may grow as far as the limit
        if self._held and self._held + size > self._settings.max_in_flight:
            raise problems.busy("too many large requests at once: try again in a second")
        self._held += size
        return size

    async def _body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Left
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._settings.max_body:
                raise _too_large(self._settings.max_body)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(
            scope.get("route"), "path", "other"
        )  # the template: a path of the client's choosing is no label
        self._metrics.seconds.labels(route, str(status)).observe(seconds)
        if status >= 400:
            self._metrics.refused.labels(str(status)).inc()
        if logger.isEnabledFor(20):
            client = scope.get("client") or ("", 0)
            fields = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1000, 2),
                "client": client[0],
            }
            logger.info("request", extra={"fields": fields})


_CLOSE = {"Connection": "close"}


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the request is larger than {limit // 1024} KiB", headers=_CLOSE)


def _hostname(netloc: str) -> str:
    """'[::1]:8000' -> '::1', 'LOCALHOST:1' -> 'localhost'; '' for what is no host."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
