"""A connection to Postgres that keeps watching its socket.

psycopg's own begins to watch for each answer, and ends it then, with a timer beside it for the user's Ctrl-C. That is a
third of what a short statement costs us. asyncio tells Ctrl-C by itself, and a socket that nobody expects anything from
is silent: if it is not, it is not watched any more.
"""

import asyncio
import contextlib
import select
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection, pq, waiting
from psycopg.abc import PQGen

from projections.ports import Row
from projections.prepared import PreparedStatements

T = TypeVar("T")

CANCEL_SECONDS: Final = 5.0
"""How long Postgres may take to be told that nobody waits for a statement any more."""


class PostgresConnection(AsyncConnection[Row]):
    """psycopg's connection. A statement whose caller is cancelled ends the connection."""

    _watched: asyncio.AbstractEventLoop | None = None
    """The event loop that watches the socket."""
    _socket = -1
    _broken: "select.poll | None" = None
    """Tells whether the socket is broken."""
    _readable: asyncio.Future[None] | None = None
    """Whoever waits for an answer."""
    _statements: PreparedStatements | None = None

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Run what psycopg does on the connection up to its end. See `AsyncConnection.wait`."""
        if timeout is not None:
            self._stop_watching()
            return await super().wait(gen, interval, timeout)
        try:
            state = next(gen)
            while True:
                if state & waiting.WAIT_W:
                    self._stop_watching()
                    return await super().wait(_resumed(gen, state), interval)
                await self._until_readable()
                state = gen.send(waiting.READY_R)
        except StopIteration as end:
            value: T = end.value
            return value
        except BaseException as error:
            self._stop_watching()
            if not isinstance(error, Exception):  # the caller is cancelled
                await self._give_up()
            raise

    async def fetch(self, query: bytes, parameters: Sequence[Any]) -> list[Row]:
        """See `ports.Connection.fetch`. One at a time."""
        if self._statements is None:
            self._statements = PreparedStatements(self)
        return await self.wait(self._statements.fetch(query, parameters))

    async def close(self) -> None:
        """Close it."""
        self._stop_watching()
        await super().close()

    async def _until_readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._readable = loop.create_future()
        if self._watched is None:
            self._watched, self._socket = loop, self.pgconn.socket
            self._broken = select.poll()
            self._broken.register(self._socket, 0)
            loop.add_reader(self._socket, self._come)
        try:
            await self._readable
        finally:
            self._readable = None

    def _come(self) -> None:
        """There is something to read, or the socket is broken."""
        # If nobody waits, the server has ended the connection, or tells something; the next statement sees it. A broken
        # socket may have more to read, but uvloop tells of it once, and watches it no more.
        if self._readable is None or (self._broken is not None and self._broken.poll(0)):
            self._stop_watching()
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def _stop_watching(self) -> None:
        loop, self._watched = self._watched, None
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._socket)

    async def _give_up(self) -> None:
        """End a statement whose caller has gone, and the connection: what comes next would be its answer."""
        if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            with contextlib.suppress(psycopg.Error, OSError):
                await self.cancel_safe(timeout=CANCEL_SECONDS)
            self.pgconn.finish()


def _resumed(gen: PQGen[T], state: waiting.Wait) -> PQGen[T]:
    """What goes on behind a state that it has told already."""
    try:
        while True:
            state = gen.send((yield state))
    except StopIteration as end:
        value: T = end.value
        return value
