"""The threads in which pictures are decoded and brought to the normal form; opencv lets them work side by side."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from handwriting.serving.problems import busy

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Workshop:
    """A bounded pool of threads, one a core and at least two: one large photo must not hold up everybody."""

    def __init__(self, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="workshop")
        self._max_waiting = max_waiting
        self.waiting = 0

    async def run(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """What ``work`` returns, from one of the threads. Raises Problem 429 when too much waits already."""
        if self.waiting >= self._max_waiting:
            raise busy("too many pictures are waiting: try again in a second")
        self.waiting += 1
        try:
            return await asyncio.wrap_future(self._threads.submit(work, *arguments, **named))
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Finish what was begun, then end the threads."""
        self._threads.shutdown()
