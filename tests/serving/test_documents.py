"""The OpenAPI document is kept to, whatever is sent: no 5xx, no hang, every refusal a problem document."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import io
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import ASGIApp

from handwriting.data import Dataset
from handwriting.serving import Settings, create_app
from tests.serving.parts import Running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("described")
    service = Running("--state", str(folder / "state"), store=f"sqlite:///{folder}/c.sqlite3")
    yield schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    assert service.stop() == 0


def test_every_operation_keeps_to_its_description(document: Any) -> None:
    called = []
    for found in document.get_all_operations():
        operation = found.ok()

        @hypothesis_settings(
            max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        @given(case=operation.as_strategy())
        def keep(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        keep()
        called.append(operation.label)
    assert {"POST /v1/predict", "POST /v1/corrections", "POST /v2/models/{name}/infer"} <= set(called)


def bodies(sample: Dataset) -> list[tuple[str, str, bytes]]:
    """Good requests, to be spoiled: (path, content type, body)."""
    image = sample.images[0]
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    png = buffer.getvalue()
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + png + b"\r\n"
    texts = json.dumps({"images": [base64.b64encode(png).decode(), image.tolist()]}).encode()
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 28, 28], "data": image.ravel().tolist()}
    infer = json.dumps({"id": "1", "inputs": [tensor], "outputs": [{"name": "logits"}]}).encode()
    new = {"image": image.tolist(), "label": "1", "session": "s" * 20, "consent": True}
    return [
        ("/v1/predict", "multipart/form-data; boundary=b", part + b"--b--\r\n"),
        ("/v1/predict", "application/json", texts),
        ("/v2/models/digits/infer", "application/json", infer),
        ("/v1/corrections", "application/json", json.dumps(new).encode()),
    ]


TOKENS = [b"null", b"-1", b"1e999", b"NaN", b'""', b"[]", b"{}", b"true", b"\\ud800", b"\x00", b"\xff", b"9" * 400]


def spoil(body: bytes, rng: random.Random) -> bytes:
    """A body with a few bytes changed, cut, doubled, or replaced by what parsers trip over."""
    spoiled = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(spoiled) + 1), rng.choice((1, 1, 2, 8, 64, 1000))
        how = rng.randrange(5)
        if how == 0:
            spoiled[at : at + length] = rng.randbytes(length)
        elif how == 1:
            del spoiled[at : at + length]
        elif how == 2:
            spoiled[at:at] = spoiled[at : at + length]
        elif how == 3:
            spoiled[at : at + rng.choice((0, 1, 3))] = rng.choice(TOKENS)
        else:
            spoiled = spoiled[:at]
    return bytes(spoiled)


@contextlib.asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """What a server tells an application at its start and its end."""
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put))
    for event in ("startup", "shutdown"):
        await to_app.put({"type": f"lifespan.{event}"})
        assert (await from_app.get())["type"] == f"lifespan.{event}.complete"
        if event == "startup":
            yield
    await running


def test_5000_mutated_bodies_get_an_answer_and_never_a_5xx(settings: Settings, sample: Dataset) -> None:
    app = create_app(settings)
    rng = random.Random(17)
    good = bodies(sample)
    statuses: Counter[int] = Counter()
    slowest = 0.0

    def work() -> Iterator[tuple[str, str, bytes]]:
        for turn in range(5_000):
            path, kind, body = good[turn % len(good)]
            yield path, kind, spoil(body, rng)

    async def ask(client: httpx.AsyncClient, queue: Iterator[tuple[str, str, bytes]]) -> None:
        nonlocal slowest
        for path, kind, body in queue:
            began = time.perf_counter()
            response = await client.post(path, content=body, headers={"Content-Type": kind})
            slowest = max(slowest, time.perf_counter() - began)
            statuses[response.status_code] += 1
            assert response.status_code < 500, (path, kind, body[:2000], response.text)
            if response.status_code >= 400:
                assert response.headers["content-type"] == "application/problem+json"

    async def scene() -> None:
        transport = httpx.ASGITransport(app=app)
        client_of = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        async with lifespan(app), client_of as client:
            for path, kind, body in good:
                response = await client.post(path, content=body, headers={"Content-Type": kind})
                assert response.status_code in (200, 201), response.text
            queue = work()
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(ask, client, queue)

    anyio.run(scene)
    gc.collect()  # starlette's unclosed parts of broken forms are reported here (see conftest), not in another test
    assert sum(statuses.values()) == 5_000
    assert len(statuses) >= 4, statuses  # some still good, some broken in one way or another
    assert slowest < settings.time_limit  # nothing hung, however busy the machine
