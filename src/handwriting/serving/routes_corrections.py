"""The routes under /v1/corrections and /v1/adapt: put right, look at, take back, learn from."""

from __future__ import annotations

import asyncio
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Query

from handwriting.errors import HandwritingError
from handwriting.serving import schemas
from handwriting.serving.adapting import Adapter
from handwriting.serving.metrics import Metrics
from handwriting.serving.models import Models
from handwriting.serving.pictures import Ask
from handwriting.serving.problems import Problem, invalid
from handwriting.serving.routes_v1 import owner
from handwriting.serving.settings import Settings
from handwriting.serving.store import Correction, Store

_NEWEST = 50  # of a session's corrections, given to the page with their pictures

SessionQuery = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{16,64}$", description="The session that stored them.")]
ModelQuery = Annotated[str | None, Query(max_length=128, description="A name from /v1/models; else the default.")]
Identity = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", description="A correction's id.")]


def router(models: Models, settings: Settings, metrics: Metrics, store: Store | None, adapter: Adapter) -> APIRouter:
    """The routes that write to the store or learn from it."""
    routes = APIRouter(prefix="/v1", tags=["Corrections"])

    def opened() -> Store:
        if store is None:
            raise Problem(404, "this service stores nothing (--no-store)")
        return store

    @routes.post(
        "/corrections",
        status_code=201,
        summary="That is wrong: it is ...",
        description="Stored only with consent. The prediction beside it is the service's own, made again on arrival.",
        responses=schemas.problem_responses(404, 422, 503, 507),
    )
    async def correct(new: schemas.NewCorrection) -> schemas.StoredCorrection:
        kept = opened()
        if not new.consent:
            raise invalid("consent", "nothing is stored without consent")
        served = models.get(new.model)
        classes = served.active.classifier.classes
        if new.label not in classes:
            raise invalid("label", f"not a class of {served.name}; its classes are {', '.join(classes)}"[:500])
        image = np.array(new.image, np.uint8)
        if not image.any():
            raise invalid("image", "is blank")
        [given] = await served.answer([Ask("image", image, top=1)])
        if isinstance(given, HandwritingError):
            raise given
        correction = Correction(
            image=image,
            label=new.label,
            predicted_label=given.prediction.label or "",
            predicted_probability=given.prediction.probability,
            model=served.name,
            model_version=given.version.ident,
            session=new.session,
        )
        stored = await asyncio.to_thread(_add, kept, correction, settings.max_stored)
        metrics.corrections.inc()
        return _told(stored)

    @routes.get(
        "/corrections",
        summary="What one session stored",
        responses=schemas.problem_responses(404, 422),
    )
    async def look(session: SessionQuery) -> schemas.Corrections:
        kept = opened()
        count, newest = await asyncio.to_thread(_look, kept, session)
        return schemas.Corrections(count=count, corrections=[_told(correction) for correction in newest])

    @routes.delete(
        "/corrections",
        summary="Delete all that one session stored",
        responses=schemas.problem_responses(404, 422),
    )
    async def forget_all(session: SessionQuery) -> schemas.Deleted:
        kept = opened()
        deleted = await asyncio.to_thread(kept.delete, session=session)
        return schemas.Deleted(deleted=deleted)

    @routes.delete(
        "/corrections/{ident}",
        summary="Delete one correction",
        responses=schemas.problem_responses(404, 422),
    )
    async def forget(ident: Identity, session: SessionQuery) -> schemas.Deleted:
        kept = opened()
        deleted = await asyncio.to_thread(kept.delete, id=ident, session=session)
        if not deleted:
            raise Problem(404, "this session has no such correction")
        return schemas.Deleted(deleted=deleted)

    @routes.post(
        "/adapt",
        status_code=202,
        summary="Learn from the stored corrections",
        description="Runs in a process of its own; the result is swapped in only if it is better. Ask GET /v1/adapt "
        "how it stands, and POST /v1/models/{name}/rollback to go back.",
        responses=schemas.problem_responses(404, 409, 422),
    )
    async def adapt(model: ModelQuery = None) -> schemas.Adapting:
        owner(settings)
        return schemas.Adapting.model_validate(await adapter.start(models.get(model), opened()))

    @routes.get("/adapt", summary="How the learning stands", responses=schemas.problem_responses())
    async def adapting() -> schemas.Adapting:
        return schemas.Adapting.model_validate(adapter.status)

    return routes


def _add(store: Store, correction: Correction, most: int) -> Correction:
    if store.count() >= most:
        raise Problem(507, f"the store is full: it takes {most} corrections; export and delete some")
    return store.add(correction)


def _look(store: Store, session: str) -> tuple[int, list[Correction]]:
    return store.count(session=session), store.newest(session, _NEWEST)


def _told(correction: Correction) -> schemas.StoredCorrection:
    return schemas.StoredCorrection(
        id=correction.id,
        created_at=correction.created_at.isoformat() if correction.created_at else "",
        label=correction.label,
        predicted_label=correction.predicted_label,
        predicted_probability=correction.predicted_probability,
        model=correction.model,
        model_version=correction.model_version,
        image=correction.image.tolist(),
    )
