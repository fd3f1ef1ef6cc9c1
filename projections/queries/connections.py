"""A few connections for lists and histories, each with its statements prepared: planned once, not for each call.

A pool of psycopg would ask the server at each checkout whether the connection is still there, or find out by a system
call. Here a statement that meets a connection that was cut is run once more, over a new one: all of them only read.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from projections.database import FAULTS, Session
from projections.ports import Database, Row
from projections.queries.caught_up import wait_caught_up
from projections.queries.errors import ReadModelUnavailable

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
        self._free: asyncio.LifoQueue[Session] = asyncio.LifoQueue()
        for session in self._sessions:
            self._free.put_nowait(session)

    async def execute(self, query: bytes, parameters: Sequence[Any]) -> list[Row]:
        """Run a statement that only reads, with parameters `$1`, … and fetch its rows, in binary format.

        Raises:
            ReadModelUnavailable: Postgres is away, or no connection was free within the deadline.
        """
        session = await self._free_session()
        try:
            return await _execute(session, query, parameters)
        except FAULTS as fault:
            raise ReadModelUnavailable(f"the read model can't be read: {fault}") from fault
        finally:
            self._free.put_nowait(session)

    async def _free_session(self) -> Session:
        with contextlib.suppress(asyncio.QueueEmpty):
            return self._free.get_nowait()  # starts no timer
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._free.get()
        except TimeoutError:
            raise ReadModelUnavailable("the read model can't be read: no connection is free") from None

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
