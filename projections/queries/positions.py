"""How far the read model is, and waiting until it is far enough.

Projections announce with NOTIFY what each of their transactions added; a connection of its own listens. A notification
can be lost with its connection, so the tables are polled as well, as long as somebody waits.
"""

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from projections.announcements import Announcement, Passed, Start
from projections.database import FAULTS, Postgres, Session
from projections.ports import Database
from projections.queries.caught_up import wait_caught_up
from projections.queries.changes import Changes
from projections.queries.errors import ReadModelUnavailable
from projections.queries.loader import DEADLINE_SECONDS, Loader
from projections.read_rows import Rejection
from projections.sql import statement
from schemas.settings import PostgresSettings

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5
"""Pause between polls: how long a lost notification can delay a request. Without polls, until its deadline."""
RECONNECT_SECONDS: Final = 0.5
"""Pause before listening again; without it an absent Postgres would keep the process busy."""


class Starting:
    """What has been announced of an instance that is being started, if anything was."""

    __slots__ = ("start",)

    def __init__(self) -> None:
        self.start: Start | None = None


class ReadPositions:
    """The API's view of how far the read model is. `ReadModelUnavailable` comes only from `rejection`.

    Args:
        settings: where the read model is.
        database: where it is, instead of on Postgres.
    """

    def __init__(self, settings: PostgresSettings, database: Database | None = None):
        self._database = database or Postgres(settings)
        self._session = Session(
            self._database, "api positions", statement_timeout_seconds=DEADLINE_SECONDS, admit=wait_caught_up
        )
        self._queries = asyncio.Lock()
        self._rejections: Loader[tuple[int, int], Rejection] = Loader(self._fetch_rejections)
        self._ended: Loader[UUID, bool] = Loader(self._fetch_ended)
        self._decoder = msgspec.json.Decoder(Announcement)
        self._partitions: dict[int, _PartitionState] = {}
        self._starting: dict[UUID, Starting] = {}
        self._ends: dict[UUID, set[asyncio.Future[None]]] = {}
        self.changes = Changes()
        """Which instances have changed, as it is announced."""
        self._stopping = False
        self._waiting = 0
        self._somebody_waits = asyncio.Event()
        self._listening = False
        self._loaded = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Start listening. Return once the positions are known, or it is known that Postgres is away."""
        first = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen(first)), asyncio.create_task(self._poll())]
        await first.wait()

    async def close(self) -> None:
        """Stop listening. Waiters run into their deadlines."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._rejections.close()
        await self._ended.close()
        await self._session.close()

    @property
    def ready(self) -> bool:
        """Whether notifications arrive."""
        return self._listening

    def seen_offset(self, partition: int) -> int:
        """Every event of the partition below this offset is in the read model, as seen by any query from now on."""
        state = self._partitions.get(partition)
        return 0 if state is None else state.next_offset

    @property
    def loaded(self) -> bool:
        """Whether the positions were read since the start, so that `seen_cause` knows of what was decided before it."""
        return self._loaded.is_set()

    async def load(self, deadline: float) -> None:
        """Wait until `loaded`.

        Args:
            deadline: loop time to give up at.

        Raises:
            TimeoutError: the deadline has passed.
        """
        async with asyncio.timeout_at(deadline):
            await self._loaded.wait()

    def seen_cause(self, partition: int) -> int:
        """Highest offset of a command whose outcome is in the read model; -1 if none is known."""
        state = self._partitions.get(partition)
        return -1 if state is None else state.cause

    @contextlib.contextmanager
    def starting(self, instance_id: UUID) -> Iterator[Starting]:
        """Keep what is announced of an instance's start meanwhile: enter before its command is appended.

        Args:
            instance_id: the instance, which nobody else starts.
        """
        starting = self._starting[instance_id] = Starting()
        try:
            yield starting
        finally:
            del self._starting[instance_id]

    async def wait_cause(self, partition: int, cause: int, deadline: float) -> None:
        """Wait until the outcome of a command is in the read model.

        Args:
            partition: partition of the command and of its events.
            cause: offset of the command.
            deadline: loop time to give up at.

        Raises:
            TimeoutError: the deadline has passed.
        """
        state = self._partitions.setdefault(partition, _PartitionState())
        if state.cause >= cause:
            return
        future = state.wait(cause)
        try:
            await self._wait(future, deadline)
        finally:
            if not future.done() or future.cancelled():
                state.abandon()

    async def wait_ended(self, instance_id: UUID, deadline: float) -> bool:
        """Wait until an instance has ended in the read model. It need not be running: an end in the past counts.

        Args:
            instance_id: the instance.
            deadline: loop time to give up at.

        Returns:
            False when the deadline has passed, or the process is stopping.
        """
        if self._stopping:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.setdefault(instance_id, set()).add(future)
        try:
            async with asyncio.timeout_at(deadline):
                # Asked after registering, so that an end in between is not missed.
                with contextlib.suppress(ReadModelUnavailable):
                    if await self._ended.load(instance_id):
                        return True
                await self._wait(future, deadline)
        except TimeoutError:
            return False
        finally:
            waiters = self._ends.get(instance_id)
            if waiters is not None:
                waiters.discard(future)
                if not waiters:
                    del self._ends[instance_id]
        return not self._stopping

    def stop_waiting(self) -> None:
        """Let all who wait for an end go on at once, now and from now on: the process is stopping."""
        self._stopping = True
        for futures in self._ends.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)

    async def rejection(self, partition: int, cause: int) -> Rejection | None:
        """Why the command was rejected, or None if it was not. Ask after `wait_cause`.

        Raises:
            ReadModelUnavailable: Postgres is away.
        """
        return await self._rejections.load((partition, cause))

    @contextlib.contextmanager
    def polling(self) -> Iterator[None]:
        """Meanwhile the tables are polled, so that somebody who waits learns of what was not announced."""
        self._waiting += 1
        self._somebody_waits.set()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._somebody_waits.clear()

    async def _wait(self, future: asyncio.Future[None], deadline: float) -> None:
        with self.polling():
            async with asyncio.timeout_at(deadline):
                await future

    def _announced(self, announcement: Announcement) -> None:
        for start in announcement.starts:
            if starting := self._starting.get(start.id):
                starting.start = start
        for partition, passed in announcement.positions.items():
            self._partitions.setdefault(partition, _PartitionState()).advance(passed)
        for instance_id in announcement.ended:
            for future in self._ends.get(instance_id, ()):
                if not future.done():
                    future.set_result(None)

    async def _listen(self, first: asyncio.Event) -> None:
        told = ""
        while True:
            try:
                listener = await self._database.listen("api listen")
                try:
                    # Behind the listening, so that what happens in between is announced.
                    await self._reload(fresh=True)
                    self._listening, told = True, ""
                    first.set()
                    async for notification in listener.notifies():
                        announcement = self._decoder.decode(notification.payload)
                        self._announced(announcement)
                        self.changes.announced(announcement)
                finally:
                    await listener.close()
            except FAULTS as fault:
                # An outage is told once, however often it is tried again.
                logger.log(logging.DEBUG if str(fault) == told else logging.WARNING, "not listening: %s", fault)
                told = str(fault)
            except (psycopg.Error, msgspec.MsgspecError):
                logger.exception("not listening for positions")
            finally:
                self._listening = False
                first.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _poll(self) -> None:
        while True:
            await self._somebody_waits.wait()
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._reload()
                if self._ends:
                    ended = await self._fetch_ended(list(self._ends))
                    self._announced(Announcement(ended=list(ended)))
            except FAULTS as fault:
                logger.debug("positions could not be polled: %s", fault)
            except psycopg.Error:
                logger.exception("positions could not be polled")

    async def _reload(self, fresh: bool = False) -> None:
        rows = await self._query("positions")
        if fresh:
            # Behind a new connection may be another database: what an old one had passed says nothing about it.
            for state in self._partitions.values():
                state.cause, state.next_offset = -1, 0
        positions = {partition: Passed(cause, next_offset) for partition, next_offset, _, cause in rows}
        self._announced(Announcement(positions=positions))
        offsets = {partition: passed.next_offset for partition, passed in positions.items()}
        if fresh:
            self.changes.connected(offsets)
        else:
            self.changes.polled(offsets)
        self._loaded.set()

    async def _fetch_rejections(self, keys: list[tuple[int, int]]) -> dict[tuple[int, int], Rejection]:
        partitions, causes = zip(*keys, strict=True)
        rows = await self._query("rejections", (list(partitions), list(causes)))
        return {(partition, cause): Rejection(code, message) for partition, cause, code, message in rows}

    async def _fetch_ended(self, ids: list[UUID]) -> dict[UUID, bool]:
        return {id: True for (id,) in await self._query("ended", (ids,))}

    async def _query(self, name: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        async with self._queries:
            return await self._session.execute(statement(name), parameters)


class _Waiter(NamedTuple):
    """Sorted by cause; the ticket decides between equal ones, since futures can't be compared."""

    cause: int
    ticket: int
    future: asyncio.Future[None]


class _PartitionState:
    """How far one partition is, and who waits for it: a heap by cause, so that to wake some visits no others."""

    def __init__(self) -> None:
        self.cause = -1
        self.next_offset = 0
        self._heap: list[_Waiter] = []
        self._abandoned = 0
        self._ticket = itertools.count()

    def wait(self, cause: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, _Waiter(cause, next(self._ticket), future))
        return future

    def advance(self, passed: Passed) -> None:
        self.cause = max(self.cause, passed.cause)
        self.next_offset = max(self.next_offset, passed.next_offset)
        while self._heap and self._heap[0].cause <= self.cause:
            future = heapq.heappop(self._heap).future
            if future.done():
                self._abandoned -= 1
            else:
                future.set_result(None)

    def abandon(self) -> None:
        """Note that a waiter gave up. Once most have, they are cleared away, which bounds the heap."""
        self._abandoned += 1
        if self._abandoned * 2 > len(self._heap):
            self._heap = [waiter for waiter in self._heap if not waiter.future.done()]
            heapq.heapify(self._heap)
            self._abandoned = 0
