"""The service's own routes under /v1: predict, read, explain, models."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

import handwriting
from handwriting.errors import HandwritingError
from handwriting.serving import intake, schemas
from handwriting.serving.metrics import Metrics
from handwriting.serving.models import Models
from handwriting.serving.pictures import Given, read_page, strip_of
from handwriting.serving.problems import Problem, invalid
from handwriting.serving.settings import Settings

_MODEL = {
    "name": "model",
    "in": "query",
    "schema": {"type": "string"},
    "description": "A name from /v1/models; without it the default.",
}
_TOP = {
    "name": "top",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 3},
    "description": "How many of the most probable classes to name.",
}
_SEEN = {
    "name": "seen",
    "in": "query",
    "schema": {"type": "boolean", "default": False},
    "description": "Add to each answer the 28x28 that the model saw.",
}
_PAGES = 16  # of one request: each takes as long as dozens of lone characters
_VERSION = {"X-Model-Version": {"schema": {"type": "string"}, "description": "The version that answered."}}


def router(models: Models, settings: Settings, metrics: Metrics) -> APIRouter:
    """The routes under /v1 that answer about pictures."""
    routes = APIRouter(prefix="/v1", tags=["Handwriting"])

    # Its parameters are read by hand: this is the busy route, and FastAPI's own reading costs as much as the model.
    @routes.post(
        "/predict",
        summary="One character a picture",
        description="The answer is the list that `handwriting predict --json` prints, in the order sent. "
        "A picture that cannot be read has `error` in its place; when none can, the answer is 422.",
        response_model=None,
        responses={
            200: {"model": list[schemas.Answer], "headers": _VERSION},
            **schemas.problem_responses(400, 404, 422),
        },
        openapi_extra={**schemas.picture_body(arrays=True), "parameters": [_MODEL, _TOP, _SEEN]},
    )
    async def predict(request: Request) -> Response:
        query = request.query_params
        served = models.get(query.get("model"))
        asks = await intake.pictures(request, settings, top=_top(query.get("top")))
        answers = await served.answer(asks)
        if problem := intake.all_broken(answers, asks, _field(request)):
            metrics.answers.labels("unreadable").inc(len(asks))
            raise problem
        seen = _flag("seen", query.get("seen"))
        rows: list[dict[str, Any]] = []
        version = served.active.ident
        for ask, answer in zip(asks, answers, strict=True):
            if isinstance(answer, Given):
                row = answer.prediction.as_json(ask.name)
                if seen:
                    row["seen"] = answer.image.tolist()
                version = answer.version.ident
                metrics.answers.labels("rejected" if answer.prediction.rejected else "accepted").inc()
            else:
                row = {"image": ask.name, "error": str(answer)}
                metrics.answers.labels("unreadable").inc()
            rows.append(row)
        return _json(rows, version)

    @routes.post(
        "/read",
        summary="Lines of characters on a page",
        description="The answer is the list that `handwriting read --json` prints, in the order sent. "
        "A picture that cannot be read has `error` in its place; when none can, the answer is 422.",
        response_model=None,
        responses={200: {"model": list[schemas.ReadPage]}, **schemas.problem_responses(400, 404, 422)},
        openapi_extra={**schemas.picture_body(arrays=False), "parameters": [_MODEL]},
    )
    async def read(request: Request) -> Response:
        served = models.get(request.query_params.get("model"))
        asks = await intake.pictures(request, settings, most=_PAGES)
        workshop, classifier, limit = models.workshop, served.active.classifier, settings.max_pixels
        pages = await workshop.each(read_page, asks, classifier, limit)
        if problem := intake.all_broken(pages, asks, _field(request)):
            raise problem
        rows = [
            {"image": ask.name, "error": str(page)} if isinstance(page, HandwritingError) else page.as_json(ask.name)
            for ask, page in zip(asks, pages, strict=True)
        ]
        return _json(rows, served.active.ident)

    @routes.post(
        "/explain",
        summary="How one picture was seen",
        description="The strip that `handwriting explain` draws: each step from the picture to the 28x28.",
        response_model=None,
        response_class=Response,
        responses={
            200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
            **schemas.problem_responses(400, 404, 422),
        },
        openapi_extra={**schemas.picture_body(arrays=False), "parameters": [_MODEL]},
    )
    async def explain(request: Request) -> Response:
        served = models.get(request.query_params.get("model"))
        asks = await intake.pictures(request, settings, most=1)
        [strip] = await models.workshop.each(strip_of, asks, served.active.classifier, settings.max_pixels)
        return Response(strip, media_type="image/png", headers={"X-Model-Version": served.active.ident})

    @routes.get("/service", summary="What this service offers", responses=schemas.problem_responses())
    async def service() -> schemas.Service:
        return schemas.Service(
            version=handwriting.__version__,
            key_needed=settings.api_key is not None,
            store=settings.store is not None,
            owner=settings.owner_only,
        )

    @routes.get("/models", summary="The models in service", responses=schemas.problem_responses())
    async def table() -> list[dict[str, Any]]:
        return [{"default": served is models.default, **served.as_json()} for served in models.table.values()]

    @routes.post(
        "/models/{name}/rollback",
        summary="Go back to the version before",
        responses=schemas.problem_responses(404, 409),
    )
    async def rollback(name: str) -> dict[str, Any]:
        owner(settings)
        served = models.get(name)
        if not served.back():
            raise Problem(409, f"{served.name} has no version to go back to")
        return served.as_json()

    return routes


def _field(request: Request) -> str:
    return "images" if request.headers.get("content-type", "").lower().startswith("application/json") else "files"


def _json(rows: list[dict[str, Any]], version: str) -> Response:
    body = json.dumps(rows, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(body, media_type="application/json", headers={"X-Model-Version": version})


def owner(settings: Settings) -> None:
    """Raise Problem 403 where anybody may come: there the models are nobody's to change."""
    if not settings.owner_only:
        raise Problem(403, "changing models needs a service with an API key, or on a loopback address")


def _top(text: str | None) -> int:
    if text is None:
        return 3
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= 1000):
        raise invalid("top", "must be a whole number from 1 to 1000")
    return int(text)


def _flag(name: str, text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise invalid(name, "must be true or false")
    return text == "true"
