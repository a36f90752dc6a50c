"""What a refused request gets: a JSON problem document (RFC 9457) with one sentence and nothing of the inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # RFC 9110; Python before 3.13 has older names


class Problem(Exception):
    """A request that cannot be answered, and why.

    Args:
        status: the HTTP status code.
        detail: one sentence for the client: what was wrong and what to do.
        errors: (field, detail) of each part that was wrong.
        headers: further response headers, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def busy(detail: str) -> Problem:
    """429: too much is under way already; the client is asked to come back in a second."""
    return Problem(429, detail, headers={"Retry-After": "1"})


def invalid(field: str, detail: str) -> Problem:
    """422: the part ``field`` of the request cannot be used."""
    return Problem(422, f"{field}: {detail}", errors=[(field, detail)])


def response(problem: Problem, *, path: str = "", request_id: str = "") -> Response:
    """A Problem -> its HTTP response. Under /v2 it also has the member `error` that inference clients look for."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(problem.status, HTTPStatus(problem.status).phrase),
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        document["errors"] = [{"field": field, "detail": detail} for field, detail in problem.errors]
    if request_id:
        document["request_id"] = request_id
    if path.startswith("/v2"):
        document["error"] = problem.detail
    return Response(json.dumps(document), problem.status, problem.headers, MEDIA_TYPE)
