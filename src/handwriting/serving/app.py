"""Settings -> the whole application, ready for an ASGI server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

import handwriting
from handwriting.errors import DataError, HandwritingError, UnknownName
from handwriting.serving import inference_v2, problems, routes_corrections, routes_page, routes_v1, schemas
from handwriting.serving.adapting import Adapter
from handwriting.serving.guard import Guard
from handwriting.serving.logs import logger, request_id
from handwriting.serving.metrics import Metrics
from handwriting.serving.models import Models
from handwriting.serving.problems import Problem
from handwriting.serving.settings import Settings
from handwriting.serving.store import Store

_ABOUT = """One model file behind every door: characters (`/v1/predict`), pages (`/v1/read`), how a picture was seen
(`/v1/explain`), the Open Inference Protocol (`/v2`), and corrections that the model can learn from.
Every refusal is a problem document (RFC 9457)."""


def create_app(settings: Settings) -> Guard:
    """Load the models, open the store and put the application together.

    Returns:
        An ASGI application. Its lifespan watches the model files and closes the store.

    Raises:
        HandwritingError: a model that cannot be loaded, a store that cannot be opened.
    """
    metrics = Metrics()
    models = Models(settings, metrics)
    store = Store(settings.store) if settings.store is not None else None
    adapter = Adapter(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        models.start()
        try:
            yield
        finally:
            await adapter.close()
            await models.close()
            if store is not None:
                store.close()

    app = FastAPI(
        title="handwriting",
        version=handwriting.__version__,
        description=_ABOUT,
        docs_url=None,  # FastAPI's own pages load their scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers={
            Problem: _problem,
            RequestValidationError: _validation,
            HTTPException: _http,
            HandwritingError: _refusal,
            Exception: _failure,
        },
    )
    v1 = routes_v1.router(models, settings, metrics)
    busiest = next(route.endpoint for route in v1.routes if isinstance(route, APIRoute) and route.path == "/v1/predict")
    # Reads its request by hand, so it needs none of FastAPI's solving of parameters: 0.06 of 0.42 ms a request. The
    # same route below is what the OpenAPI document describes.
    app.router.routes.append(_Direct("/v1/predict", busiest, methods=["POST"]))
    app.include_router(v1)
    app.include_router(routes_corrections.router(models, settings, metrics, store, adapter))
    app.include_router(inference_v2.router(models, settings))
    app.include_router(routes_page.router())

    @app.get("/metrics", summary="Prometheus", tags=["Operation"], response_class=PlainTextResponse)
    async def measures() -> Response:
        return Response(metrics.render(), headers={"Content-Type": Metrics.content_type})

    _describe(app, settings)
    return Guard(app, settings, metrics)


class _Direct(Route):
    """A plain route that tells the metrics its name, as FastAPI's do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def _answer(problem: Problem, request: Request) -> Response:
    return problems.response(problem, path=request.url.path, request_id=request_id.get())


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - the table above
    return _answer(error, request)


async def _validation(request: Request, error: Exception) -> Response:
    """What pydantic found wrong, by field, without what was sent."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = []
    for found in error.errors()[:20]:
        place = [str(part) for part in found["loc"] if part not in ("body", "query", "path")]
        errors.append((".".join(place)[:80] or "body", str(found["msg"])[:200]))
    return _answer(Problem(422, f"{errors[0][0]}: {errors[0][1]}", errors=errors), request)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    said = {404: "there is nothing at this address", 405: "this address does not take this method"}
    detail = said.get(error.status_code, str(error.detail)[:200])
    return _answer(Problem(error.status_code, detail, headers=error.headers), request)


async def _refusal(request: Request, error: Exception) -> Response:
    """The package's own errors: those of the client's making are told; a store that fails is our trouble."""
    if isinstance(error, DataError):
        logger.error("the store failed", extra={"fields": {"why": str(error)}})
        return _answer(Problem(503, "the store cannot be reached", headers={"Retry-After": "5"}), request)
    return _answer(Problem(404 if isinstance(error, UnknownName) else 422, str(error)), request)


async def _failure(request: Request, _: Exception) -> Response:
    """Our fault: the log has the details, the client only the id to find them by."""
    return _answer(Problem(500, "the service failed; its log has the details under this request_id"), request)


def _describe(app: FastAPI, settings: Settings) -> None:
    """Complete the OpenAPI document: the schema of problems, and the key where there is one."""
    plain = app.openapi

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            document = plain()
            components = document.setdefault("components", {})
            found = components.setdefault("schemas", {})
            found["FieldError"] = schemas.FieldError.model_json_schema()
            problem = schemas.ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            problem.pop("$defs", None)
            found["ProblemDocument"] = problem
            for unused in ("HTTPValidationError", "ValidationError"):
                found.pop(unused, None)
            if settings.api_key is not None:
                components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"key": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
