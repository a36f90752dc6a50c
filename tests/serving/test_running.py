"""A running service: batches, new models without a failed request, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from handwriting.classifier import load, read, with_metadata
from handwriting.serving import Correction, Store
from handwriting.serving.batching import Batcher
from handwriting.serving.problems import Problem
from tests.serving.parts import Running, files


def test_what_arrives_while_the_model_works_goes_through_together() -> None:
    turns: list[list[int]] = []

    def run(items: list[int]) -> list[int]:
        time.sleep(0.05)
        turns.append(items)
        return [item * 10 for item in items]

    async def scene() -> list[list[int]]:
        batcher = Batcher(run, max_batch=8, max_queue=100)
        answers = await asyncio.gather(*(batcher.submit([number, -number]) for number in range(1, 9)))
        await batcher.close()
        return [list(answer) for answer in answers]

    assert asyncio.run(scene()) == [[number * 10, -number * 10] for number in range(1, 9)]
    assert [len(turn) for turn in turns] == [8, 8]


def test_a_failing_batch_fails_for_its_own_requests_only() -> None:
    def run(items: list[int]) -> list[int]:
        if 13 in items:
            raise ValueError("thirteen")
        return items

    async def scene() -> list[object]:
        batcher = Batcher(run, max_batch=1, max_queue=100)
        answers = await asyncio.gather(*(batcher.submit([item]) for item in (1, 13, 2)), return_exceptions=True)
        await batcher.close()
        return list(answers)

    first, second, third = asyncio.run(scene())
    assert (first, third) == ([1], [2])
    assert isinstance(second, ValueError)


def test_the_queue_is_bounded_and_a_client_that_left_costs_no_turn() -> None:
    done: list[int] = []

    def run(items: list[int]) -> list[int]:
        time.sleep(0.05)
        done.extend(items)
        return items

    async def scene() -> None:
        batcher = Batcher(run, max_batch=1, max_queue=2)
        working = asyncio.create_task(batcher.submit([0]))
        await asyncio.sleep(0.02)
        leaving, staying = asyncio.create_task(batcher.submit([1])), asyncio.create_task(batcher.submit([2]))
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await batcher.submit([3])
        assert caught.value.status == 429
        leaving.cancel()
        assert await working == [0]
        assert await staying == [2]
        await batcher.close()

    asyncio.run(scene())
    assert done == [0, 2]


class Load:
    """Clients that ask without a pause, each over a connection of its own, and remember every outcome."""

    def __init__(self, service: Running, picture: bytes, clients: int = 6) -> None:
        self.service, self.picture = service, picture
        self.outcomes: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.answered: set[str] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self.service.url, timeout=20) as client:
            turn = 0
            while not self._stop.is_set():
                turn += 1
                ident = f"{number}-{turn}"
                try:
                    response = client.post("/v1/predict", files=files(self.picture), headers={"X-Request-ID": ident})
                except httpx.TransportError as error:
                    self.outcomes[type(error).__name__] += 1
                    if self.service.process.poll() is not None or isinstance(error, httpx.ConnectError):
                        return
                    continue
                self.answered.add(ident)
                self.outcomes[str(response.status_code)] += 1
                self.versions[response.headers.get("x-model-version", "")] += 1


def test_a_new_model_comes_in_without_a_failed_request(tmp_path: Path, digits: dict[str, bytes]) -> None:
    digits_model = load("digits")
    content = read("digits")
    file = tmp_path / "mine.onnx"
    file.write_bytes(content)
    service = Running("--model", str(file), "--state", str(tmp_path / "state"), "--log-level", "warning")
    load_on = Load(service, digits["7"])
    try:
        for version in ("v2", "broken", "v3"):
            time.sleep(1.2)
            if version == "broken":
                file.write_bytes(content[: len(content) // 2])
            else:
                fresh = tmp_path / "fresh"
                fresh.write_bytes(with_metadata(content, {**digits_model.metadata, "version": version}))
                fresh.replace(file)
        deadline = time.time() + 15
        while not any(version.startswith("v3-") for version in load_on.versions) and time.time() < deadline:
            time.sleep(0.1)
    finally:
        load_on.stop()
        assert service.stop() == 0
    assert set(load_on.outcomes) == {"200"}, load_on.outcomes
    assert [version.split("-")[0] for version in load_on.versions][1:] == ["v2", "v3"]
    assert any(event["event"] == "new model refused" for event in service.events())


def test_being_asked_to_stop_under_load_loses_no_accepted_request(digits: dict[str, bytes]) -> None:
    service = Running()
    load_on = Load(service, digits["7"])
    deadline = time.time() + 30
    while load_on.outcomes["200"] < 60 and time.time() < deadline:
        time.sleep(0.05)
    assert service.stop(signal.SIGTERM) == 0
    load_on.stop()
    requests = [event for event in service.events() if event.get("event") == "request"]
    handled = {event["request_id"] for event in requests if event["path"] == "/v1/predict"}  # not the probe that waited
    assert len(handled) > 10
    assert handled <= load_on.answered  # whatever the service took in, its client has the answer of
    assert all(outcome == "200" or outcome.endswith("Error") for outcome in load_on.outcomes)


WRITER = """
import sys, numpy as np
from handwriting.serving import Correction, Store
store = Store(sys.argv[1])
image = np.full((28, 28), 7, np.uint8)
while True:
    kept = store.add(Correction(image=image, label="1", predicted_label="7", predicted_probability=0.5,
                                model="digits", model_version="1", session="s" * 20))
    sys.stdout.write(kept.id + "\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_kill_9_while_writing_leaves_every_acknowledged_correction(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'c.sqlite3'}" if kind == "sqlite" else str(request.getfixturevalue("postgres"))
    with Store(url) as store:
        store.delete()
    acknowledged: set[str] = set()
    rng = np.random.default_rng(5)
    for _ in range(3):  # benchmarks/serve.py does twenty, through the whole service
        writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged.add(writer.stdout.readline().strip())
        time.sleep(float(rng.uniform(0.01, 0.2)))
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=20)
        acknowledged |= {line for line in rest.splitlines() if len(line) == 36}
    with Store(url) as store:
        kept = list(store)
    assert acknowledged <= {correction.id for correction in kept}
    assert len(kept) <= len(acknowledged) + 3  # at most one a kill was written and not yet told
    assert all(isinstance(correction, Correction) and (correction.image == 7).all() for correction in kept)
