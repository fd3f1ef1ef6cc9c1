"""Coalesced look-ups: many callers, few queries, and no added latency for a single caller.

A key that arrives while no query is in flight is queried at once. Keys that arrive while one is in flight are gathered
and share the next. They never join the one in flight: its answer may be older than what their caller has been promised.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Final, Generic, TypeVar

from projections.database import FAULTS
from projections.queries.errors import ReadModelUnavailable
from projections.queries.timed_futures import TimedFutures

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

DEADLINE_SECONDS: Final = 2.0
"""How long a caller waits. Without it callers would pile up while Postgres is away."""
MAX_KEYS: Final = 500
"""Keys in one query; more would make the first caller wait for the rows of the last."""


class Loader(Generic[K, V]):
    """Looks values up by key.

    Args:
        fetch: the values of some keys; what does not exist is left out. An exception in place of a value is raised for
            the callers of its key alone. Its `FAULTS` are worth one retry.
        deadline_seconds: how long a caller waits at most.
    """

    def __init__(
        self,
        fetch: Callable[[list[K]], Awaitable[Mapping[K, V | Exception]]],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ):
        self._fetch = fetch
        self._futures: TimedFutures[V | None] = TimedFutures(deadline_seconds)
        self._gathered: dict[K, list[asyncio.Future[V | None]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def load(self, key: K) -> V | None:
        """The value as it is now or later, or None if it does not exist.

        Raises:
            ReadModelUnavailable: there was no answer within the deadline.
        """
        future = self._futures.new()
        waiters = self._gathered.setdefault(key, [])
        waiters.append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            return await future
        except TimeoutError:
            self._forget(key, future)
            raise ReadModelUnavailable from None
        except asyncio.CancelledError:
            self._forget(key, future)
            raise

    async def close(self) -> None:
        """Cancel the query in flight; callers get `ReadModelUnavailable`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _forget(self, key: K, future: asyncio.Future[V | None]) -> None:
        waiters = self._gathered.get(key)
        if waiters and future in waiters:
            waiters.remove(future)
            if not waiters:
                del self._gathered[key]

    async def _run(self) -> None:
        taken: dict[K, list[asyncio.Future[V | None]]] = {}
        try:
            while self._gathered:
                if len(self._gathered) <= MAX_KEYS:
                    taken, self._gathered = self._gathered, {}
                else:
                    taken = {key: self._gathered.pop(key) for key in list(self._gathered)[:MAX_KEYS]}
                await self._query(taken)
        except asyncio.CancelledError:
            _fail({**self._gathered, **taken}, ReadModelUnavailable())
            self._gathered.clear()
            raise
        finally:
            self._task = None

    async def _query(self, taken: dict[K, list[asyncio.Future[V | None]]]) -> None:
        try:
            try:
                values = await self._fetch(list(taken))
            except FAULTS:
                # A connection that broke while idle is only noticed by using it.
                values = await self._fetch(list(taken))
        except FAULTS as fault:
            _fail(taken, ReadModelUnavailable(f"the read model can't be read: {fault}"))
        except Exception as error:  # a defect, which is the callers' to report
            _fail(taken, error)
        else:
            for key, waiters in taken.items():
                value = values.get(key)
                if isinstance(value, Exception):
                    _fail({key: waiters}, value)
                    continue
                for future in waiters:
                    if not future.done():
                        future.set_result(value)


def _fail(taken: Mapping[K, list[asyncio.Future[V | None]]], error: Exception) -> None:
    for waiters in taken.values():
        for future in waiters:
            if not future.done():
                future.set_exception(error)
