"""The page at / and its files, read once at the start: no path of a request ever reaches the file system."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from handwriting.serving.problems import Problem

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


def router() -> APIRouter:
    """/, /docs, /favicon.ico and /page/NAME."""
    routes = APIRouter(include_in_schema=False)
    files = _files()

    @routes.get("/")
    async def page(request: Request) -> Response:
        return _sent(files["index.html"], request)

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        return _sent(files["docs.html"], request)

    @routes.get("/favicon.ico")
    async def icon(request: Request) -> Response:
        return _sent(files["icon.svg"], request)

    @routes.get("/page/{name}")
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise Problem(404, "there is no such file")
        return _sent(files[name], request)

    return routes


def _files() -> dict[str, tuple[bytes, str, str]]:
    """Name -> (content, media type, ETag) of every file of the page."""
    found: dict[str, tuple[bytes, str, str]] = {}
    folder: Any = resources.files("handwriting.serving") / "page"
    for entry in folder.iterdir():
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix in _TYPES:
            content = entry.read_bytes()
            found[entry.name] = (content, _TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:24]}"')
    return found


def _sent(file: tuple[bytes, str, str], request: Request) -> Response:
    content, kind, etag = file
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)
