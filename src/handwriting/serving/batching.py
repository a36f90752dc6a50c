"""Dynamic batching: what arrives while the model is busy goes through it together in its next turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from handwriting.serving.problems import busy

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Runs ``run(items) -> results`` in one thread, on the items of as many requests as are waiting.

    Nobody waits for a batch to fill: an idle model starts at once with whatever is there, and while it works the next
    batch gathers. So one client alone gets the least latency, and many get batches as large as their number.

    Args:
        run: one result for each item, in order; called in a thread, never twice at a time.
        max_batch: most items of a turn; a request of more has a turn of its own.
        max_queue: most items waiting.
        on_batch: told the size of each turn.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        *,
        max_batch: int,
        max_queue: int,
        on_batch: Callable[[int], object] = int,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._queue: deque[tuple[list[Item], asyncio.Future[Sequence[Result]]]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.waiting = 0

    async def submit(self, items: list[Item]) -> Sequence[Result]:
        """Items of one request -> their results. Raises Problem 429 when too many wait already."""
        if not items:
            return []
        if self.waiting and self.waiting + len(items) > self._max_queue:
            raise busy("too many pictures are waiting for the model: try again in a second")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[Result]] = loop.create_future()
        self._queue.append((items, future))
        self.waiting += len(items)
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._work(loop))
        return await future

    async def close(self) -> None:
        """Answer what is waiting, then end the thread."""
        if self._pump is not None:
            await self._pump
        self._thread.shutdown()

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._queue:
            turn = self._take()
            items = [item for part, _ in turn for item in part]
            if not items:
                continue
            self._on_batch(len(items))
            try:
                results = await loop.run_in_executor(self._thread, self._run, items)
            except Exception as error:  # noqa: BLE001 - it belongs to those who asked, not to this loop
                for _, future in turn:
                    if not future.done():
                        future.set_exception(error)
                continue
            start = 0
            for part, future in turn:
                if not future.done():  # a client that gave up was cancelled
                    future.set_result(results[start : start + len(part)])
                start += len(part)

    def _take(self) -> list[tuple[list[Item], asyncio.Future[Sequence[Result]]]]:
        turn: list[tuple[list[Item], asyncio.Future[Sequence[Result]]]] = []
        size = 0
        while self._queue and (not turn or size + len(self._queue[0][0]) <= self._max_batch):
            items, future = self._queue.popleft()
            self.waiting -= len(items)
            if not future.done():
                turn.append((items, future))
                size += len(items)
        return turn
