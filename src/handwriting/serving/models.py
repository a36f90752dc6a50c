"""The models in service: batched, watched for new versions, swapped without a failed request, with a way back."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handwriting.classifier import locate
from handwriting.errors import HandwritingError, ModelError, UnknownName
from handwriting.files import write_whole
from handwriting.serving.batching import Batcher
from handwriting.serving.logs import logger
from handwriting.serving.metrics import Metrics
from handwriting.serving.pictures import Ask, Given, answer_all, prepare
from handwriting.serving.settings import Settings
from handwriting.serving.versions import Version, open_version
from handwriting.serving.workshop import Workshop

_KEPT = 10  # versions to go back to; each holds a loaded session of a few megabytes


class Served:
    """One model in service.

    Attributes:
        name: what requests call it.
        path: the file that is watched.
        active: the version that answers now. Batches take it once, so a swap falls between two batches.
    """

    def __init__(self, model: str, settings: Settings, metrics: Metrics, workshop: Workshop) -> None:
        self.path = locate(model)
        self.name = _name(model, self.path)
        self._settings = settings
        self._metrics = metrics
        self._workshop = workshop
        self._kept = settings.state / self.name / "active.json"
        self._stamp = _stamp(self.path)
        self.versions = [open_version(self.path)]
        self._resume()
        self._tell()
        self.batcher: Batcher[Ask, Given | HandwritingError] = Batcher(
            lambda asks: answer_all(self.active, asks),
            max_batch=settings.max_images,
            max_queue=settings.max_queue,
            on_batch=metrics.batch.observe,
        )

    @property
    def active(self) -> Version:
        """The version that answers now."""
        return self.versions[-1]

    def as_json(self) -> dict[str, Any]:
        """The model as `GET /v1/models` tells it."""
        classifier = self.active.classifier
        told: dict[str, Any] = {
            key: classifier.metadata[key] for key in ("recipe", "data", "test") if key in classifier.metadata
        }
        return {
            "name": self.name,
            "classes": list(classifier.classes),
            "reject_below": classifier.reject_below,
            **self.active.as_json(),
            **told,
            "versions": [version.as_json() for version in reversed(self.versions)],
        }

    async def answer(self, asks: Sequence[Ask]) -> list[Given | HandwritingError]:
        """Pictures of one request -> for each its answer, or why it cannot be read."""
        if all(ask.ready for ask in asks):
            return list(await self.batcher.submit(list(asks)))
        return list(await self.batcher.submit(await self._workshop.each(prepare, asks, self._settings.max_pixels)))

    def swap(self, version: Version) -> None:
        """Let ``version`` answer from the next batch on; the ones before it are kept, as many as `_KEPT`."""
        versions = [*self.versions, version]
        # The oldest goes, but not the file that the adapted ones after it grew from.
        dropped = versions.pop(0 if versions[1].origin == "file" else 1) if len(versions) > _KEPT else None
        self.versions = versions
        self._remember()
        _forget(dropped)
        self._metrics.reloads.labels("in").inc()
        self._tell()
        logger.info("model swapped in", extra={"fields": {"model": self.name, "version": version.ident}})

    def back(self) -> bool:
        """Drop the version that answers for the one before it; False when there is none before it."""
        if len(self.versions) < 2:
            return False
        *self.versions, dropped = self.versions
        self._remember()
        _forget(dropped)
        self._metrics.reloads.labels("back").inc()
        self._tell()
        logger.info("model taken back", extra={"fields": {"model": self.name, "version": self.active.ident}})
        return True

    async def watch(self) -> None:
        """For ever: when the file changes, load it aside and swap it in; a broken one is reported and left."""
        while True:
            await asyncio.sleep(self._settings.watch)
            stamp = _stamp(self.path)
            if stamp is None or stamp == self._stamp:
                continue
            self._stamp = stamp
            try:
                version = await asyncio.get_running_loop().run_in_executor(None, open_version, self.path)
            except HandwritingError as error:
                self._metrics.reloads.labels("refused").inc()
                logger.warning("new model refused", extra={"fields": {"model": self.name, "why": str(error)}})
                continue
            if version.ident != self.active.ident:
                self.swap(version)

    def _resume(self) -> None:
        """Go on with the adapted versions of an earlier run, if they grew from this very file."""
        try:
            kept = json.loads(self._kept.read_bytes())
            if kept["base"] != self.active.ident:
                return
            self.versions += [open_version(Path(file), "adapted") for file in kept["files"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, HandwritingError) as error:
            logger.warning("adapted model left out", extra={"fields": {"model": self.name, "why": str(error)}})
            return
        if kept["files"]:
            logger.info("adapted model resumed", extra={"fields": {"model": self.name, "version": self.active.ident}})

    def _remember(self) -> None:
        """Write down the adapted versions since the last one that came as a file."""
        base = max(index for index, version in enumerate(self.versions) if version.origin == "file" or index == 0)
        files = [str(version.path) for version in self.versions[base + 1 :]]
        if files or self._kept.exists():
            write_whole(self._kept, json.dumps({"base": self.versions[base].ident, "files": files}))

    def _tell(self) -> None:
        for version in {kept.ident for kept in self.versions} - {self.active.ident}:
            self._metrics.model.labels(self.name, version).set(0)
        self._metrics.model.labels(self.name, self.active.ident).set(1)


class Models:
    """The table of models in service, by name; the first is the default."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.workshop = Workshop(settings.max_queue)
        self._watchers: list[asyncio.Task[None]] = []
        self.table: dict[str, Served] = {}
        for model in settings.models:
            served = Served(model, settings, metrics, self.workshop)
            if served.name in self.table:
                raise ModelError(f"two models are called {served.name}: rename one of the files")
            self.table[served.name] = served
        self.default = next(iter(self.table.values()))
        metrics.watch_queue(
            lambda: self.workshop.waiting + sum(served.batcher.waiting for served in self.table.values())
        )

    def get(self, name: str | None) -> Served:
        """A name (None: the default) -> its model. Raises UnknownName."""
        if name is None:
            return self.default
        if name not in self.table:
            raise UnknownName("model", name[:80], self.table)
        return self.table[name]

    def start(self) -> None:
        """Begin to watch the files; called inside the event loop."""
        self._watchers = [asyncio.create_task(served.watch()) for served in self.table.values()]

    async def close(self) -> None:
        """Stop watching, answer what waits, end the threads."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for served in self.table.values():
            await served.batcher.close()
        self.workshop.close()


def _forget(version: Version | None) -> None:
    """Remove the run folder of an adapted version that nothing leads back to."""
    if version is not None and version.origin == "adapted":
        shutil.rmtree(version.path.parent, ignore_errors=True)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # between the removal of the old file and the arrival of the new one
    return status.st_mtime_ns, status.st_size, status.st_ino


def _name(model: str, path: Path) -> str:
    stem = path.parent.name if path.stem == "model" and path.parent.name else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model if model == path.stem else stem).strip(".-") or "model"
