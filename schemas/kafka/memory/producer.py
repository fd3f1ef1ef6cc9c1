"""The producer in memory. See `schemas.kafka.producer` for what it is the twin of.

A *session* is what an idempotent producer is between two failures: of one partition it sends one batch at a time, in
order, and the cluster recognises what it is sent twice. An append that fails retires its session. New appends get a new
one; with the last append in progress the old one ends, and sends nothing more. What is on its way arrives all the same.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from schemas.kafka.errors import BatchTooLarge, KafkaAway, KafkaFault, NotAcknowledged, Refused
from schemas.kafka.memory.cluster import batch_bytes
from schemas.kafka.memory.log import Sent
from schemas.kafka.memory.network import RequestLost
from schemas.kafka.memory.process import RETRY_SECONDS, Process
from schemas.kafka.ports import Outgoing, Place

R = TypeVar("R")


class MemoryProducer:
    """`ports.Producer` in memory.

    Args:
        process: whose it is.
        topic: see `ports.Kafka.producer`, as all that follows.
        max_batch_bytes: most that is collected in a batch.
        waits: whether appends wait while the cluster is away.
    """

    def __init__(self, process: Process, topic: str, max_batch_bytes: int, *, waits: bool):
        self._process, self._topic = process, topic
        self._max_batch_bytes, self._waits = max_batch_bytes, waits
        self._session: _Session | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    def open(self) -> None:
        """See `ports.Producer.open`."""

    async def close(self) -> None:
        """See `ports.Producer.close`."""
        self._closed = True
        if self._session is not None:
            self._session.end()
            self._session = None

    async def append(self, topic: str, partition: int, record: Outgoing, deadline: float) -> int:
        """See `ports.Producer.append`."""
        return await self._use(deadline, lambda session: session.send(Place(topic, partition), [record]))

    async def append_batch(self, topic: str, partition: int, records: Sequence[Outgoing], deadline: float) -> int:
        """See `ports.Producer.append_batch`."""
        if len(records) > 1 and batch_bytes(records) > self._max_batch_bytes:
            raise BatchTooLarge("the batch is larger than the topic takes")
        return await self._use(deadline, lambda session: session.send(Place(topic, partition), list(records)))

    async def append_all(self, topic: str, records: Mapping[int, Sequence[Outgoing]], deadline: float) -> None:
        """See `ports.Producer.append_all`."""
        await self._use(deadline, lambda session: self._send_all(session, topic, records))

    async def _send_all(self, session: "_Session", topic: str, records: Mapping[int, Sequence[Outgoing]]) -> None:
        left = [(Place(topic, partition), self._batches(some)) for partition, some in records.items()]
        while left:
            ready = [(place, batch, more) for place, more in left if (batch := next(more, None)) is not None]
            try:
                await asyncio.gather(*(session.send(place, batch) for place, batch, _ in ready))
            except Refused as error:
                raise NotAcknowledged(str(error)) from error  # others were not
            left = [(place, more) for place, _, more in ready]

    def _batches(self, records: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
        batch: list[Outgoing] = []
        size = 0
        for record in records:
            size += batch_bytes([record])
            if batch and size > self._max_batch_bytes:
                yield batch
                batch, size = [], batch_bytes([record])
            batch.append(record)
        if batch:
            yield batch

    async def partitions(self, topic: str, deadline: float) -> int:
        """See `ports.Producer.partitions`."""
        await self._connected(deadline)
        return sum(1 for _ in self._process.cluster.places(topic))

    async def reachable(self, timeout_seconds: float) -> bool:
        """See `ports.Producer.reachable`."""
        if self._session is None:
            return False
        try:
            await self._process.ask("topics", lambda: None, timeout_seconds)
        except KafkaFault:
            return False
        return True

    async def _use(self, deadline: float, send: "Callable[[_Session], Coroutine[Any, Any, R]]") -> R:
        session = await self._connected(deadline)
        session.uses += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await send(session)
        except (TimeoutError, KafkaFault) as error:
            session.retired = True
            if session is self._session:
                self._session = None
            if isinstance(error, Refused):
                raise
            raise NotAcknowledged(f"the cluster did not acknowledge in time: {error!r}") from error
        finally:
            session.uses -= 1
            if session.retired and not session.uses:
                session.end()

    async def _connected(self, deadline: float) -> "_Session":
        home = Place(self._topic, 0)
        try:
            async with asyncio.timeout_at(deadline), self._connecting:
                while self._session is None and not self._closed:
                    try:
                        await self._process.ask_once("connect", lambda: self._process.cluster.log(home))
                    except KafkaFault:
                        if not self._waits:
                            break
                        await asyncio.sleep(RETRY_SECONDS)
                    else:
                        self._session = _Session(self._process)
        except TimeoutError:
            pass
        if self._session is None:
            raise KafkaAway("the cluster is away")
        return self._session


class _Session:
    """See the module."""

    def __init__(self, process: Process):
        self.uses = 0
        self.retired = False
        self._process = process
        self._number = process.cluster.number()
        self._sequences: dict[Place, int] = {}
        self._ended = asyncio.Event()
        self._last: dict[Place, asyncio.Task[int]] = {}

    def end(self) -> None:
        """Send nothing more."""
        self._ended.set()
        self.retired = True

    async def send(self, place: Place, records: Sequence[Outgoing]) -> int:
        """The base offset of a batch, once it is acknowledged; it is sent behind those before it."""
        sequence = self._sequences[place] = self._sequences.get(place, -1) + 1
        sent = Sent(self._number, sequence)
        sending = self._process.spawn(self._send(self._last.get(place), place, records, sent))
        self._last[place] = sending
        return await asyncio.shield(sending)

    async def _send(
        self, before: "asyncio.Task[int] | None", place: Place, records: Sequence[Outgoing], sent: Sent
    ) -> int:
        if before is not None and not before.done():
            await asyncio.wait({before})
        process = self._process
        is_first = True
        while not self._ended.is_set():
            try:
                received = await process.ask_once("append", lambda: process.cluster.receive(place, records, sent))
            except RequestLost:
                is_first = False
                await asyncio.sleep(RETRY_SECONDS)
            except Refused as error:
                if is_first:
                    raise
                raise NotAcknowledged(str(error)) from error
            else:
                forgotten = received.is_repeated and process.network.forgets_offset(process.name)
                return -1 if forgotten else received.base
        raise NotAcknowledged("the producer has ended")
