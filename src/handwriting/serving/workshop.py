"""The threads in which pictures are decoded and brought to the normal form; opencv lets them work side by side."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from handwriting.serving.pictures import Ask, is_large
from handwriting.serving.problems import busy

More = ParamSpec("More")
Result = TypeVar("Result")


class Workshop:
    """A bounded pool of threads, one a core and at least two, and one more for large pictures.

    So one large photo does not hold up everybody, and memory holds one of them, however many cores there are.
    """

    def __init__(self, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="workshop")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")
        self._max_waiting = max_waiting
        self.waiting = 0

    async def each(
        self,
        work: Callable[Concatenate[Ask, More], Result],
        asks: Sequence[Ask],
        *more: More.args,
        **named: More.kwargs,
    ) -> list[Result]:
        """What ``work`` returns for each picture of a request. Raises Problem 429, for all, when too many wait."""
        if self.waiting and self.waiting + len(asks) > self._max_waiting:
            raise busy("too many pictures are waiting: try again in a second")

        async def one(ask: Ask) -> Result:
            large = await asyncio.wrap_future(self._threads.submit(is_large, ask))
            return await asyncio.wrap_future(
                (self._large if large else self._threads).submit(work, ask, *more, **named)
            )

        self.waiting += len(asks)
        try:
            return list(await asyncio.gather(*(one(ask) for ask in asks)))
        finally:
            self.waiting -= len(asks)

    def close(self) -> None:
        """Finish what was begun, then end the threads."""
        self._threads.shutdown()
        self._large.shutdown()
