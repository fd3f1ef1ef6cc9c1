"""The event log, the commands and their feed in memory, behind the engine's ports."""

import asyncio
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

LATENCY_SECONDS = 0.002
READ_RECORDS = 10
"""How many records are handed over at once."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class StoredRecord:
    """A record with its place in a partition."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass
class Log:
    """The partitions of `events`, `commands` and `commands.dead`; appends are observed by checkers."""

    partitions: int
    observe: Callable[[int, Sequence[StoredRecord]], None] = lambda partition, records: None
    events: list[list[StoredRecord]] = field(init=False)
    commands: list[list[StoredRecord]] = field(init=False)
    dead: list[tuple[int, int, str]] = field(default_factory=list)
    buried: list[StoredRecord] = field(default_factory=list)
    marks: list[set[int]] = field(init=False)
    """Offsets of events at which others' transactions have ended."""
    starts: list[int] = field(init=False)
    command_starts: list[int] = field(init=False)
    events_id: str = "events-1"
    commands_id: str = "commands-1"
    definitions: list[StoredRecord] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.events = [[] for _ in range(self.partitions)]
        self.commands = [[] for _ in range(self.partitions)]
        self.marks = [set() for _ in range(self.partitions)]
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
    """

    def __init__(self, log: Log):
        self._log = log
        self.is_away = False
        """Whether nothing is appended, and nothing can be read."""
        self._codec = RecordCodec()

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        """See `EventLog.append`."""
        await self._reach()
        return self._log.append_events(partition, records)

    async def define(self, definitions: Sequence[Current], timestamp_ms: int) -> None:
        """See `EventLog.define`."""
        await self._reach()
        self._log.define([record for current in definitions for record in records_of(current, timestamp_ms)])

    async def send(self, commands: Sequence[tuple[str, Command]], timestamp_ms: int) -> None:
        """See `EventLog.send`."""
        await self._reach()
        for key, command in commands:
            record = self._codec.encode(key, command, timestamp_ms=timestamp_ms)
            self._log.append_command(partition_of(record.key, self._log.partitions), record)

    async def bury(self, partition: int, commands: Sequence[tuple[Record, str]]) -> None:
        """See `EventLog.bury`."""
        await self._reach()
        for command, reason in commands:
            self._log.bury(partition, command, reason)

    async def read(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[Record]]:
        """See `EventLog.read`."""
        start = max(start, self._log.starts[partition])
        while start < stop:
            await self._look()
            end = min(stop, start + READ_RECORDS)
            marks = self._log.marks[partition]
            if records := [record for record in self._log.events[partition][start:end] if record.offset not in marks]:
                yield records
            start = end

    async def marks(self, partition: int, start: int, stop: int) -> frozenset[int]:
        """See `EventLog.marks`."""
        await self._look()
        return frozenset(self._log.marks[partition] & set(range(start, stop)))

    async def look(self, partition: int) -> LogState:
        """See `EventLog.look`."""
        await self._look()
        log = self._log
        return LogState(
            Limits(log.starts[partition], len(log.events[partition])),
            Limits(log.command_starts[partition], len(log.commands[partition])),
            log.events_id,
            log.commands_id,
            log.partitions,
        )

    async def _latency(self) -> None:
        await asyncio.sleep(LATENCY_SECONDS)

    async def _reach(self) -> None:
        await self._latency()
        if self.is_away:
            raise AppendFailed("away")

    async def _look(self) -> None:
        await self._latency()
        if self.is_away:
            raise ReadFailed("away")


SESSION_SECONDS = 10.0
HEARTBEAT_SECONDS = 2.5


class MemoryFeed:
    """`engine.supervisor.GroupFeed` of one engine: its view of the assignment, and the commands.

    Args:
        log: the shared partitions.
        receive: gets the commands of a partition.
    """

    def __init__(self, log: Log, receive: Callable[[int, Sequence[Record]], None]):
        self._log, self._receive = log, receive
        self.assigned: set[int] = set()
        self.silent_since: float | None = None
        """Since when the group's coordinator does not answer; None while it does."""
        self._positions: dict[int, int] = {}
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
        await asyncio.sleep(LATENCY_SECONDS)
        if partition in self.assigned:
            self._positions[partition] = next_offset
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

    async def run(self) -> None:
        """Hand over what is there, over and over, until cancelled."""
        while True:
            for partition in sorted(self._positions.keys() - self._paused):
                position = self._positions[partition]
                records = self._log.commands[partition][position : position + READ_RECORDS]
                if records:
                    self._positions[partition] = records[-1].offset + 1
                    self._receive(partition, records)
            await asyncio.sleep(POLL_SECONDS)
