"""Topics in memory, behind the engine's ports, with the faults that Kafka and its network have."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from engine.errors import AppendFailed, ReadFailed
from engine.ports import LogState
from schemas.commands import Command
from schemas.current import Current, records_of
from schemas.dead_letters import dead_letter
from schemas.kafka import Limits
from schemas.records import Headers, NewRecord, Record, RecordCodec
from schemas.topics import partition_of


@dataclass(frozen=True)
class StoredRecord:
    """A record with its place in a partition."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass
class Faults:
    """How often what goes wrong; all zero when the network is quiet."""

    lost_ack: float = 0.0
    """The batch is appended, but its acknowledgement never comes."""
    refused: float = 0.0
    """The batch is not appended."""
    late: float = 0.0
    """The append fails, and the batch shows up in the log some seconds later all the same."""
    unplaced: float = 0.0
    """The batch is appended, and acknowledged without its offset."""
    unreadable: float = 0.0
    """A read breaks off."""
    slow: float = 0.0
    """An append takes seconds."""
    slow_ack: float = 0.0
    """The batch is appended, and its acknowledgement takes seconds: others read it before its owner knows."""


@dataclass
class Log:
    """The partitions of `events`, `commands` and `commands.dead`; appends are observed by checkers."""

    partitions: int
    observe: Callable[[int, Sequence[StoredRecord]], None] = lambda partition, records: None
    events: list[list[StoredRecord]] = field(init=False)
    commands: list[list[StoredRecord]] = field(init=False)
    dead: list[tuple[int, int, str]] = field(default_factory=list)
    buried: list[StoredRecord] = field(default_factory=list)
    starts: list[int] = field(init=False)
    command_starts: list[int] = field(init=False)
    events_id: str = "events-1"
    commands_id: str = "commands-1"
    definitions: list[StoredRecord] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.events = [[] for _ in range(self.partitions)]
        self.commands = [[] for _ in range(self.partitions)]
        self.starts = [0] * self.partitions
        self.command_starts = [0] * self.partitions

    def append_events(self, partition: int, records: Sequence[NewRecord]) -> int:
        """Append a batch as Kafka does, whole."""
        base = len(self.events[partition])
        stored = [StoredRecord(base + i, r.key, r.value, tuple(r.headers)) for i, r in enumerate(records)]
        self.events[partition] += stored
        self.observe(partition, stored)
        return base

    def define(self, records: Sequence[NewRecord]) -> None:
        """Append to `definitions`."""
        for r in records:
            self.definitions.append(StoredRecord(len(self.definitions), r.key, r.value, tuple(r.headers)))

    def bury(self, partition: int, command: Record, reason: str) -> None:
        """Append to `commands.dead`."""
        self.dead.append((partition, command.offset, reason))
        letter = dead_letter("commands", partition, command, reason)
        self.buried.append(StoredRecord(len(self.buried), letter.key, letter.value, letter.headers))

    def expire(self, partition: int, before: int) -> None:
        """Keep no event before this offset any more."""
        self.starts[partition] = max(self.starts[partition], before)

    def append_command(self, partition: int, record: NewRecord) -> int:
        """Append a command, as the API does."""
        offset = len(self.commands[partition])
        self.commands[partition].append(StoredRecord(offset, record.key, record.value, tuple(record.headers)))
        self.news.set()
        return offset


class MemoryEventLog:
    """`engine.ports.EventLog` of one engine on the shared log.

    Args:
        log: the shared partitions.
        rng: decides latencies and faults.
        faults: how often what goes wrong; may be changed while running.
    """

    def __init__(self, log: Log, rng: random.Random, faults: Faults):
        self._log, self._rng, self.faults = log, rng, faults
        self._codec = RecordCodec()

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        """See `EventLog.append`."""
        await self._latency()
        chance = self._rng.random()
        if chance < self.faults.refused:
            raise AppendFailed("refused")
        chance -= self.faults.refused
        if 0 <= chance < self.faults.late:
            delay = self._rng.uniform(0.01, 20.0)
            asyncio.get_running_loop().call_later(delay, self._log.append_events, partition, list(records))
            await asyncio.sleep(self._rng.uniform(0.0, 10.0))
            raise AppendFailed("late")
        chance -= self.faults.late
        base = self._log.append_events(partition, records)
        if 0 <= chance < self.faults.lost_ack:
            await asyncio.sleep(self._rng.uniform(0.0, 10.0))
            raise AppendFailed("acknowledgement lost")
        chance -= self.faults.lost_ack
        if self.faults.slow_ack and self._rng.random() < self.faults.slow_ack:
            await asyncio.sleep(self._rng.uniform(0.1, 2.5))
        await self._latency()
        return -1 if 0 <= chance < self.faults.unplaced else base

    async def define(self, definitions: Sequence[Current], timestamp_ms: int) -> None:
        """See `EventLog.define`."""
        await self._latency()
        if self._rng.random() < self.faults.refused:
            raise AppendFailed("refused")
        records = [record for current in definitions for record in records_of(current, timestamp_ms)]
        if self._rng.random() < self.faults.late:
            asyncio.get_running_loop().call_later(self._rng.uniform(0.01, 20.0), self._log.define, records)
            raise AppendFailed("late")
        self._log.define(records)
        if self._rng.random() < self.faults.lost_ack:
            raise AppendFailed("acknowledgement lost")

    async def send(self, commands: Sequence[tuple[str, Command]], timestamp_ms: int) -> None:
        """See `EventLog.send`."""
        await self._latency()
        by_partition: dict[int, list[NewRecord]] = {}
        for key, command in commands:
            record = self._codec.encode(key, command, timestamp_ms=timestamp_ms)
            by_partition.setdefault(partition_of(record.key, self._log.partitions), []).append(record)
        for partition, records in by_partition.items():
            if self._rng.random() < self.faults.refused:
                raise AppendFailed("refused")
            for record in records:
                self._log.append_command(partition, record)
            if self._rng.random() < self.faults.lost_ack:
                raise AppendFailed("acknowledgement lost")

    async def bury(self, partition: int, command: Record, reason: str) -> None:
        """See `EventLog.bury`."""
        await self._latency()
        if self._rng.random() < self.faults.refused:
            raise AppendFailed("refused")
        self._log.bury(partition, command, reason)

    async def read(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[Record]]:
        """See `EventLog.read`."""
        start = max(start, self._log.starts[partition])
        while start < stop:
            await self._latency()
            if self._rng.random() < self.faults.unreadable:
                raise ReadFailed("unreadable")
            end = min(stop, start + self._rng.randint(1, 20))
            yield self._log.events[partition][start:end]
            start = end

    async def look(self, partition: int) -> LogState:
        """See `EventLog.look`."""
        await self._latency()
        if self._rng.random() < self.faults.unreadable:
            raise ReadFailed("unreadable")
        log = self._log
        return LogState(
            Limits(log.starts[partition], len(log.events[partition])),
            Limits(log.command_starts[partition], len(log.commands[partition])),
            log.events_id,
            log.commands_id,
        )

    async def _latency(self) -> None:
        slow = self._rng.random() < self.faults.slow
        await asyncio.sleep(self._rng.uniform(1.0, 8.0) if slow else self._rng.uniform(0.0, 0.005))


SESSION_SECONDS = 10.0
HEARTBEAT_SECONDS = 2.5
MAX_HANDED = 10
"""How many commands a feed hands over at once."""


class MemoryFeed:
    """`engine.supervisor.GroupFeed` of one engine: its view of the assignment, and the commands.

    Args:
        log: the shared partitions.
        rng: decides how much is handed over at once.
        receive: gets the commands of a partition.
        lapse: called when the group has not answered for the session timeout.
        decided: called with what is said to be decided: a partition and the offset behind the last such command.
    """

    def __init__(
        self,
        log: Log,
        rng: random.Random,
        receive: Callable[[int, Sequence[Record]], None],
        lapse: Callable[[], None] = lambda: None,
        decided: Callable[[int, int], None] = lambda partition, next_offset: None,
    ):
        self._log, self._rng, self._receive, self._lapse, self._decided = log, rng, receive, lapse, decided
        self.again = 0.0
        """How often commands that were handed over are handed over again, with those behind them."""
        self.assigned: set[int] = set()
        self.silent_since: float | None = None
        """Since when the group's coordinator does not answer; None while it does."""
        self._positions: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._paused: set[int] = set()

    def owns(self, partition: int) -> bool:
        """See `GroupFeed.owns`."""
        return partition in self.assigned and self.silence_seconds() <= SESSION_SECONDS

    def silence_seconds(self) -> float:
        """See `GroupFeed.silence_seconds`."""
        now = asyncio.get_running_loop().time()
        return now % HEARTBEAT_SECONDS if self.silent_since is None else now - self.silent_since

    async def open(self, partition: int, next_offset: int) -> None:
        """See `CommandFeed.open`."""
        await asyncio.sleep(self._rng.uniform(0.0, 0.05))
        if partition in self.assigned:
            self._positions[partition] = self._done[partition] = next_offset
            self._paused.discard(partition)

    def close(self, partition: int) -> None:
        """See `GroupFeed.close`."""
        self._positions.pop(partition, None)

    def pause(self, partition: int) -> None:
        """See `CommandFeed.pause`."""
        self._paused.add(partition)

    def resume(self, partition: int) -> None:
        """See `CommandFeed.resume`."""
        self._paused.discard(partition)

    def done(self, partition: int, next_offset: int) -> None:
        """See `CommandFeed.done`."""
        self._done[partition] = next_offset
        self._decided(partition, next_offset)

    def ahead(self, partition: int) -> int:
        """How many commands were handed over that are not decided."""
        return self._positions[partition] - self._done[partition]

    async def run(self) -> None:
        """Hand over what is there, over and over, until cancelled."""
        while True:
            if self.assigned and self.silence_seconds() > SESSION_SECONDS:
                self.assigned = set()
                self._lapse()
            for partition in sorted(self._positions.keys() - self._paused):
                position = self._positions[partition]
                if self.again and self._rng.random() < self.again:
                    position = max(position - self._rng.randint(1, 5), 0)
                records = self._log.commands[partition][position : position + self._rng.randint(1, MAX_HANDED)]
                if records:
                    self._positions[partition] = records[-1].offset + 1
                    self._receive(partition, records)
            await asyncio.sleep(self._rng.uniform(0.01, 0.2))
