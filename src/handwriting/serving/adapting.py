"""Learning from the corrections while the service goes on: in a process of its own, swapped in only if better."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.errors import HandwritingError
from handwriting.serving.logs import logger
from handwriting.serving.models import Served
from handwriting.serving.problems import Problem
from handwriting.serving.settings import Settings
from handwriting.serving.store import Store
from handwriting.serving.versions import open_version

_NICE = 10  # so that whoever asks meanwhile is answered first
_SECONDS = 600.0  # far above the 20 seconds that it should take; a process that hangs is ended


class Adapter:
    """At most one adaptation at a time.

    Attributes:
        status: `state` (idle, running, accepted, refused, failed), `message`, and `report`, what `handwriting adapt
            --json` printed: accuracy on the writer's own samples and on MNIST valid, before and after.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._command = settings.adapt_command or (sys.executable, "-m", "handwriting", "adapt")
        self._task: asyncio.Task[None] | None = None
        self.status: dict[str, Any] = {"state": "idle", "message": "nothing has been learned yet", "report": None}

    async def start(self, served: Served, store: Store) -> dict[str, Any]:
        """Begin to adapt ``served`` to the corrections in ``store``; the status. Raises Problem 409."""
        if await asyncio.to_thread(store.count) == 0:
            raise Problem(409, "there are no corrections to learn from")
        if self._task is not None and not self._task.done():  # nothing is awaited between this and the new task
            raise Problem(409, "it is learning already: ask again when it is done")
        self.status = {"state": "running", "message": f"{served.name} is learning from the corrections", "report": None}
        self._task = asyncio.create_task(self._adapt(served, store))
        return self.status

    async def close(self) -> None:
        """End what is running; the model in service stays as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _adapt(self, served: Served, store: Store) -> None:
        try:
            self.status = await self._outcome(served, store)
        except (HandwritingError, OSError, ValueError) as error:
            self.status = _status("failed", " ".join(str(error).split()))
        except asyncio.TimeoutError:
            self.status = _status("failed", f"it was ended after {_SECONDS:.0f} seconds")
        fields = {"model": served.name, "state": self.status["state"], "why": self.status["message"]}
        logger.info("adapted", extra={"fields": fields})

    async def _outcome(self, served: Served, store: Store) -> dict[str, Any]:
        samples = Path(tempfile.mkdtemp(prefix="handwriting-samples-"))
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")
        run = self._settings.state / served.name / f"adapted-{stamp}"
        run.parent.mkdir(parents=True, exist_ok=True)
        base = served.active
        try:
            await asyncio.to_thread(_export, store, served, samples / "corrections.npz")
            code, printed, said = await self._call(
                "--model", str(base.path), "--samples", str(samples / "corrections.npz"), "--out", str(run), "--json"
            )
        finally:
            shutil.rmtree(samples, ignore_errors=True)
        report = _report(printed)
        if code == 0 and (run / "model.onnx").is_file():
            version = await asyncio.to_thread(open_version, run / "model.onnx", "adapted")
            if served.active is not base:
                return _status("refused", "another version came in meanwhile: start it again", report)
            served.swap(version)
            return _status("accepted", f"version {version.ident} is better and answers from now on", report)
        shutil.rmtree(run, ignore_errors=True)
        line = said.strip().splitlines()[-1] if said.strip() else f"ended with status {code}"
        state = "refused" if code == 1 and report is not None else "failed"
        return _status(
            state,
            line.removeprefix("handwriting: ").replace(str(samples / "corrections.npz"), "the corrections"),
            report,
        )

    async def _call(self, *arguments: str) -> tuple[int, bytes, str]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        try:
            printed, said = await asyncio.wait_for(process.communicate(), _SECONDS)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode or 0, printed, said.decode("utf-8", "replace")


def _status(state: str, message: str, report: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"state": state, "message": message, "report": report}


def _export(store: Store, served: Served, file: Path) -> None:
    """The corrections that the model has a class for, as arrays: the very pixels that the model saw."""
    classes = set(served.active.classifier.classes)
    usable = [kept for kept in store if kept.label in classes]
    if len({kept.label for kept in usable}) < 2:
        counts = Counter(kept.label for kept in usable)
        raise HandwritingError(f"corrections of at least two classes are needed; there are {dict(counts)}")
    images = np.stack([kept.image for kept in usable])
    np.savez(file, images=images, labels=np.array([kept.label for kept in usable]))


def _report(printed: bytes) -> dict[str, Any] | None:
    try:
        report = json.loads(printed)
    except ValueError:
        return None
    return report if isinstance(report, dict) else None
