"""An API with everything behind it, at once and in one process.

Commands are decided by the engine's own code, events become rows by the projections' own, and the API's own queries
read them. Nothing is called outside: the test says what an activity comes to.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from api.app import create_app
from api.ports import CommandPosition, Place, Rejection, Starting
from engine.core.effects import CallActivity
from engine.core.shard import Input, Shard
from engine.turn import Turn
from projections.fold import Batch
from projections.memory import MemoryDatabase, MemoryStore
from projections.memory_queries import MemoryQueries
from projections.queries.read_model import ReadModel
from projections.rows import Advance
from schemas.commands import Command
from schemas.records import NewRecord, RecordCodec, Recorded
from schemas.settings import ApiSettings
from tests.unit.api.fakes import Backend, Client, FakePositions, fake_services

BEGIN: Final = datetime(2026, 3, 1, 10, tzinfo=UTC)
PARTITION: Final = 0


class Whole:
    """The log of events, and what is made of it.

    Args:
        max_attempts: how often an activity is tried before it is paused.
    """

    def __init__(self, max_attempts: int | None = None):
        self.shard = Shard(max_attempts=max_attempts)
        self.log: list[Recorded] = []
        self.commands: list[Command] = []
        self.database = MemoryDatabase()
        self.database.caught_up, self.database.partitions = {PARTITION}, 1
        self._store = MemoryStore(self.database)
        self._codec = RecordCodec()
        self._turns = asyncio.Lock()
        settings = ApiSettings()
        services = fake_services(
            Backend(),
            settings,
            read_model=ReadModel(settings, MemoryQueries(self.database)),
            positions=Positions(self),
            command_log=CommandLog(self),
        )
        self.client = Client(create_app(settings, services), settings.base_path)

    def call_of(self, instance_id: str) -> CallActivity:
        """The call that an instance waits for."""
        effect = self.shard.effect(instance_id)
        assert isinstance(effect, CallActivity), effect
        return effect

    async def command(self, key: UUID, command: Command) -> int:
        """Have a command decided; its offset."""
        async with self._turns:
            offset = len(self.commands)
            self.commands.append(command)
            turn = self._turn()
            turn.command(offset, str(key), command)
            await self._project(turn.records, offset)
            return offset

    async def input(self, key: str, given: Input) -> None:
        """Have an input decided."""
        async with self._turns:
            turn = self._turn()
            turn.input(key, given)
            await self._project(turn.records, None)

    def _turn(self) -> Turn:
        now = BEGIN + timedelta(seconds=len(self.log) + 1)
        return Turn(self.shard, self._codec, 0, len(self.log), now)

    async def _project(self, records: list[NewRecord], cause: int | None) -> None:
        batch, first = Batch(), len(self.log)
        for offset, record in enumerate(records, first):
            recorded = self._codec.decode_event(_At(record, offset))
            self.log.append(recorded)
            batch.add(PARTITION, recorded)
        before = (await self._store.positions([PARTITION]))[PARTITION]
        batch.advances = [Advance(PARTITION, first, len(self.log), 0, before.cause if cause is None else cause)]
        await self._store.write(batch)

    def events(self, since: int = 0) -> list[Any]:
        """What has happened from an offset on, without the outcomes of commands that changed nothing."""
        outcomes = ("CommandSkipped", "CommandRejected")
        return [one.event for one in self.log[since:] if type(one.event).__name__ not in outcomes]


class _At:
    """A record in the log."""

    def __init__(self, record: NewRecord, offset: int):
        self.key, self.value, self.headers, self.offset = record.key, record.value, record.headers, offset


class CommandLog:
    """`api.ports.CommandLog`."""

    def __init__(self, whole: Whole):
        self._whole = whole

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def append(
        self, key: UUID, command: Command, deadline: float, partition: int | None = None
    ) -> CommandPosition:
        return CommandPosition(PARTITION, await self._whole.command(key, command))

    async def place(self, id: UUID, deadline: float) -> Place:
        return Place(id, PARTITION)

    async def partition(self, key: UUID, deadline: float) -> int:
        return PARTITION

    async def reachable(self) -> bool:
        return True


class Positions(FakePositions):
    """`api.ports.ReadPositions`: a command has had its effect when it is appended."""

    def __init__(self, whole: Whole):
        super().__init__(Backend())
        self._whole = whole

    @contextlib.contextmanager
    def starting(self, instance_id: UUID, /) -> Iterator[Starting]:
        yield Starting()

    async def wait_cause(self, partition: int, cause: int, deadline: float, /) -> None: ...

    async def wait_ended(self, instance_id: UUID, deadline: float, /) -> bool:
        return True

    async def rejection(self, partition: int, cause: int, /) -> Rejection | None:
        row = self._whole.database.tables.rejections.get((partition, cause))
        return None if row is None else Rejection(row.code, row.message)

    def seen_offset(self, partition: int, /) -> int:
        return len(self._whole.log)
