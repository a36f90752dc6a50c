"""What the tests of the service and of its page share: a service in its own process, and ways to ask it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from handwriting.classifier import shipped
from handwriting.data import Dataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette asks for a successor of httpx that is not yet common
    from starlette.testclient import TestClient

__all__ = ["Running", "TestClient", "digit_pictures", "files", "free_port", "needs_the_shipped_model"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def files(*pictures: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("files", (f"{index}.png", picture, "image/png")) for index, picture in enumerate(pictures)]


def digit_pictures(sample: Dataset) -> dict[str, bytes]:
    """Real MNIST training digits as people have them, 140 pixels, dark on light: label -> PNG."""
    found: dict[str, bytes] = {}
    for label in range(10):
        image = sample.images[np.flatnonzero(sample.labels == label)[3]]
        buffer = io.BytesIO()
        Image.fromarray(255 - image).resize((140, 140), Image.Resampling.BICUBIC).save(buffer, "PNG")
        found[str(label)] = buffer.getvalue()
    return found


def needs_the_shipped_model() -> None:
    """Skip when this checkout has no model yet; a built package always has."""
    if "digits" not in shipped():
        pytest.skip("THE SHIPPED MODEL `digits` IS NOT HERE: the service was not tested (train it as docs say)")


class Running:
    """A service in a process of its own."""

    def __init__(self, *options: str, store: str | None = None, environment: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = ["--no-store"] if store is None else ["--store", store]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "handwriting", "serve", "--port", str(self.port), *kept, *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.log: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "serving on" in line:
                break
        else:
            raise AssertionError("".join(self.log))
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr or ()), daemon=True)
        self._reader.start()
        for _ in range(200):
            try:
                httpx.get(f"{self.url}/v2/health/ready").raise_for_status()
                break
            except httpx.ConnectError:
                time.sleep(0.05)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log if line.startswith("{")]

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code
