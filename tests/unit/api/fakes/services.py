"""What the API reaches, and is a `Backend` in its tests."""

import asyncio
import contextlib
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry

from api.errors import CommandLogUnavailable, CommandsCut, Unavailable
from api.metrics import StreamMetrics
from api.ports import (
    CommandLog,
    CommandPosition,
    LogPlace,
    LogSlice,
    Place,
    ReadModel,
    ReadPositions,
    Rejection,
    Starting,
)
from api.services import Services
from api.streams.hub import Hub
from api.v2 import render_instance
from projections.announcements import Start
from projections.queries.followed import FollowedInstance
from schemas.commands import (
    Command,
)
from schemas.expressions import Allowance, Expression, LinkAnswer, LinkNeeded, turns
from schemas.settings import ApiSettings
from tests.unit.api.fakes.backend import PARTITION, Backend, FakeConnection
from tests.unit.api.fakes.read_model import FakeReadModel


class FakeCommandLog(FakeConnection):
    async def append(
        self, key: UUID, command: Command, deadline: float, partition: int | None = None
    ) -> CommandPosition:
        backend = self.backend
        if backend.kafka_away:
            raise CommandLogUnavailable("Kafka is away")
        if backend.commands_cut:
            raise CommandsCut
        backend.calls.append("append")
        backend.commands.append((key, command))
        offset = len(backend.commands) - 1
        if backend.reject is not None:
            backend.rejections[offset] = backend.reject
            if backend.overtaken:
                backend.take(key, command)
        elif not backend.stalled:
            backend.take(key, command)
        return CommandPosition(PARTITION, offset)

    async def place(self, id: UUID, deadline: float) -> Place:
        return Place(id, await self.partition(id, deadline))

    async def partition(self, key: UUID, deadline: float) -> int:
        if self.backend.kafka_away:
            raise CommandLogUnavailable("Kafka is away")
        return PARTITION

    async def reachable(self) -> bool:
        return not self.backend.kafka_away


class FakeLogReader:
    """Shows two records at a time."""

    def __init__(self, backend: Backend):
        self.backend = backend

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def records(
        self, instance_id: UUID, /, *, since: datetime, until: datetime, after: LogPlace | None
    ) -> LogSlice:
        if self.backend.kafka_away:
            raise Unavailable("Kafka is away")
        entries = self.backend.log.get(instance_id, [])
        begin = 0 if after is None else after.offset
        place = LogPlace(0, min(begin + 2, len(entries)), -1)
        return LogSlice(entries[begin : begin + 2], PARTITION, place, len(entries))


class FakeLinks(FakeConnection):
    async def evaluate(
        self, expression: Expression, payload: Any, links: dict[str, LinkAnswer], allowance: Allowance, /
    ) -> Any:
        while True:
            try:
                return await turns.evaluate(expression, payload, links, allowance)
            except LinkNeeded as needed:
                self.backend.calls.append(f"link {needed.uri}")
                if self.backend.stalled:
                    await self.backend.wake.wait()
                links[needed.uri] = self.backend.link_answers[needed.uri]


class FakePositions(FakeConnection):
    def __init__(self, backend: Backend):
        super().__init__(backend)
        self.changes = backend.changes

    @contextlib.contextmanager
    def polling(self) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def starting(self, instance_id: UUID, /) -> Iterator[Starting]:
        starting = Starting()
        self.backend.starting[instance_id] = starting
        yield starting

    def _announce(self) -> None:
        for id, starting in self.backend.starting.items():
            row = self.backend.instance_rows[id]
            starting.start = Start(id, row.created_at, row.updated_at, row.terminated_at, row.error, row.stages)

    async def wait_cause(self, partition: int, cause: int, deadline: float, /) -> None:
        assert partition == PARTITION
        if self.backend.announces:
            self._announce()
        if self.backend.stalled:
            async with asyncio.timeout_at(deadline):
                await self.backend.wake.wait()

    async def wait_ended(self, instance_id: UUID, deadline: float, /) -> bool:
        self.backend.calls.append("wait_ended")
        if self.backend.on_wait_ended is not None:
            self.backend.on_wait_ended(instance_id)
            return True
        if self.backend.waits_for_ends:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self.backend.wake.wait()
        return False

    def stop_waiting(self) -> None:
        self.backend.calls.append("stop_waiting")
        self.backend.waits_for_ends = False
        self.backend.wake.set()

    async def rejection(self, partition: int, cause: int, /) -> Rejection | None:
        self.backend.check()
        return self.backend.rejections.get(cause)

    def seen_offset(self, partition: int, /) -> int:
        self.backend.calls.append("seen_offset")
        return 70 + partition


class FakeReader:
    """`api.streams.hub.Reader` of a backend."""

    def __init__(self, backend: Backend):
        self._backend = backend

    async def read(self, ids: Sequence[UUID], keys: Collection[str] = (), /) -> dict[UUID, FollowedInstance]:
        self._backend.check()
        self._backend.calls.append(f"read {len(ids)}")
        rows, known = self._backend.instance_rows, self._backend.keys
        return {id: FollowedInstance(rows[id], known.get(id, set()) & set(keys)) for id in ids if id in rows}

    async def close(self) -> None:
        pass


def fake_services(
    backend: Backend,
    settings: ApiSettings,
    *,
    read_model: ReadModel | None = None,
    positions: ReadPositions | None = None,
    command_log: CommandLog | None = None,
) -> Services:
    """The outside world of operations: this backend, except for what is given."""
    positions = positions or FakePositions(backend)
    streams = Hub(
        FakeReader(backend), positions, render_instance, StreamMetrics(CollectorRegistry()), settings.max_streams
    )
    return Services(
        settings,
        read_model or FakeReadModel(backend),
        positions,
        command_log or FakeCommandLog(backend),
        FakeLinks(backend),
        streams,
        FakeLogReader(backend),
    )
