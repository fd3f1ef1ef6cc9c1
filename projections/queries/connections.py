"""A few connections for lists and histories, each with its statements prepared: planned once, not for each call.

A pool of psycopg would ask the server at each checkout whether the connection is still there, or find out by a system
call. Here a statement that meets a connection that was cut is run once more, over a new one: all of them only read.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from projections.database import FAULTS, Session
from projections.ports import Database, Row
from projections.queries.caught_up import wait_caught_up
from projections.queries.errors import ReadModelUnavailable
from projections.queries.timed_futures import TimedFutures

MAX_CONNECTIONS: Final = 4
"""More would let lists take Postgres away from single rows and from the projections."""
TIMEOUT_SECONDS: Final = 5.0
"""Deadline of one statement, and of waiting for a connection; without it slow lists would pile up."""
TOO_SLOW: Final = (TimeoutError, psycopg.errors.QueryCanceled)
"""The statement reached its deadline. To run it again would double the load that made it slow."""
IN_ORDER: Final = {"enable_sort": "off", "enable_incremental_sort": "off"}
"""Session parameters, beside those of every `Session`: lists are read in the order of an index. Without them a plan
that was made for small tables goes on to read all rows and to sort them when the tables have grown."""


class Connections:
    """Connections that are made when they are needed, the one that was used last first.

    Args:
        database: where to connect to.
        name: what the connections are for; shown in `pg_stat_activity`.
    """

    def __init__(self, database: Database, name: str):
        self._sessions = [
            Session(
                database,
                name,
                statement_timeout_seconds=TIMEOUT_SECONDS,
                parameters=IN_ORDER,
                admit=wait_caught_up,
            )
            for _ in range(MAX_CONNECTIONS)
        ]
        self._free = [*self._sessions]
        self._waiting: deque[asyncio.Future[Session]] = deque()
        self._futures: TimedFutures[Session] = TimedFutures(TIMEOUT_SECONDS)

    async def execute(self, query: bytes, parameters: Sequence[Any]) -> list[Row]:
        """Run a statement that only reads, with parameters `$1`, … and fetch its rows, in binary format.

        Raises:
            ReadModelUnavailable: Postgres is away, or no connection was free within the deadline.
        """
        session = self._free.pop() if self._free else await self._next_free()
        try:
            return await _execute(session, query, parameters)
        except FAULTS as fault:
            raise ReadModelUnavailable(f"the read model can't be read: {fault}") from fault
        finally:
            self._hand_on(session)

    async def _next_free(self) -> Session:
        future = self._futures.new()
        self._waiting.append(future)
        try:
            return await future
        except TimeoutError:
            raise ReadModelUnavailable(
                f"the read model can't be read: all {MAX_CONNECTIONS} connections for lists are busy"
            ) from None
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:
                self._hand_on(future.result())  # it came in the same moment
            raise

    def _hand_on(self, session: Session) -> None:
        """Give a connection to whoever has waited longest, if anybody does."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(session)
                return
        self._free.append(session)

    async def close(self) -> None:
        """Close all connections for good."""
        await asyncio.gather(*(session.close() for session in self._sessions))


async def _execute(session: Session, query: bytes, parameters: Sequence[Any]) -> list[Row]:
    was_connected = session.connected
    try:
        return await session.execute(query, parameters)
    except TOO_SLOW:
        raise
    except FAULTS:
        # A connection that broke while idle is only noticed by using it.
        if not was_connected:
            raise
        return await session.execute(query, parameters)
