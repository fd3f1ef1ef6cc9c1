"""What stands behind the API in its unit tests: a log and a read model in memory, and a client that calls the app.

`Backend` is the engine and the projections in one: every command has its effect at once, unless a test says otherwise.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec
from msgspec import Raw
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.types import Message

from api.app import create_app
from api.errors import CommandLogUnavailable, CommandsCut, Unavailable
from api.metrics import StreamMetrics
from api.ports import (
    BEFORE_ALL,
    ActivityRow,
    BulkRow,
    CommandLog,
    CommandPosition,
    DeletedInstance,
    HistoryPlace,
    InstanceFilters,
    InstanceRow,
    KnownRequests,
    LogPlace,
    LogSlice,
    OccurrenceRow,
    ReadModel,
    ReadPositions,
    Rejection,
    RetryableRow,
    RowPosition,
    Slice,
    StageHistoryRow,
    Starting,
    StatsRow,
    TriggerRow,
    Window,
    WorkflowRow,
)
from api.services import Services
from api.streams.hub import Hub
from api.v2 import render_instance
from projections.announcements import Start
from projections.queries.changes import Changes
from projections.queries.errors import ReadModelUnavailable
from projections.queries.followed import FollowedInstance
from projections.queries.rows import StageRow
from projections.states import state_of
from schemas.commands import (
    AbortInstance,
    Command,
    CreateTrigger,
    CreateWorkflow,
    DeleteTrigger,
    DeleteWorkflow,
    ResumeActivity,
    RetryInstance,
    RunWorkflow,
    SendEvent,
    StartBulk,
    StopBulk,
)
from schemas.expressions import Allowance, Expression, LinkAnswer, LinkNeeded, turns
from schemas.log_entries import Entry
from schemas.settings import ApiSettings

START = datetime(2026, 3, 1, 10, 0, 0, 120931, tzinfo=UTC)
PARTITION = 3


class Backend:
    """A log, an engine and a read model in memory."""

    def __init__(self) -> None:
        self.commands: list[tuple[UUID, Command]] = []
        self.workflow_rows: dict[UUID, WorkflowRow] = {}
        self.instance_rows: dict[UUID, InstanceRow] = {}
        self.histories: dict[UUID, list[StageHistoryRow]] = {}
        self.activity_rows: dict[tuple[UUID, int], list[ActivityRow]] = {}
        self.trigger_rows: dict[UUID, TriggerRow] = {}
        self.occurrence_rows: list[OccurrenceRow] = []
        self.bulk_rows: dict[UUID, BulkRow] = {}
        self.event_requests: dict[tuple[UUID, UUID], str] = {}
        self.deleted_instances: dict[UUID, str] = {}
        self.retryable: dict[UUID, RetryableRow] = {}
        self.link_answers: dict[str, LinkAnswer] = {}
        self.rejections: dict[int, Rejection] = {}
        self.log: dict[UUID, list[Entry]] = {}
        """What the log holds of instances."""
        self.keys: dict[UUID, set[str]] = {}
        self.stats_row = StatsRow({}, {}, {}, [], 0, [])
        self.asked_stats: list[tuple[Window, UUID | None]] = []
        self.page_rows = 2
        self.reject: Rejection | None = None
        """What the next commands are answered with."""
        self.overtaken = False
        """Whether a rejected command finds that another one had its effect before."""
        self.on_retryable: Callable[[], None] = lambda: None
        """What happens right before it is read what a retry goes on with."""
        self.kafka_away = self.postgres_away = self.stalled = self.broken = self.commands_cut = False
        self.ends_at_once = True
        self.waits_for_ends = False
        """Whether `wait=true` lasts until a stop."""
        self.announces = False
        """Whether starts are announced with what they made."""
        self.starting: dict[UUID, Starting] = {}
        self.on_wait_ended: Callable[[UUID], None] | None = None
        self.opened: set[str] = set()
        self.calls: list[str] = []
        self.wake = asyncio.Event()
        self.changes = Changes()
        self._moments = 0

    def at(self) -> datetime:
        """A later time with each command."""
        return START + timedelta(seconds=len(self.commands))

    def later(self) -> datetime:
        """A time after all others."""
        self._moments += 1
        return START + timedelta(days=1, seconds=self._moments)

    def check(self) -> None:
        """Fail as told."""
        if self.broken:
            raise RuntimeError("secret detail")
        if self.postgres_away:
            raise ReadModelUnavailable("Postgres is away: secret detail")

    def take(self, key: UUID, command: Command) -> None:
        """Have the effect of a command."""
        match command:
            case CreateWorkflow():
                row = self.add_workflow(key, command.name, command.stages, request=command.request_digest)
                self.workflow_rows[key] = msgspec.structs.replace(row, max_attempts=command.max_attempts)
            case DeleteWorkflow():
                row = self.workflow_rows[key]
                self.workflow_rows[key] = msgspec.structs.replace(row, deleted_at=self.at(), updated_at=self.at())
            case RunWorkflow():
                self.add_instance(key, UUID(command.workflow_id), self.ends_at_once, request=command.request_digest)
            case AbortInstance():
                self.end(key, "canceled")
            case SendEvent(request_key=str(event_key), request_digest=str(request)):
                self.event_requests[key, UUID(event_key)] = request
            case ResumeActivity(request_key=str(event_key), request_digest=str(request)):
                self.event_requests[key, UUID(event_key)] = request
            case RetryInstance():
                self.run_again(key, command)
            case CreateTrigger():
                self.add_trigger(key, command)
            case StartBulk():
                self.bulk_rows[key] = BulkRow(
                    id=key,
                    partition=PARTITION,
                    action=command.action,
                    filter=command.filter,
                    expected=command.expected,
                    created_at=self.at(),
                    updated_at=self.at(),
                    request=command.request_digest,
                    by=command.by,
                    reason=command.reason,
                )
            case StopBulk():
                self.bulk_rows[key] = msgspec.structs.replace(
                    self.bulk_rows[key], stopped_at=self.at(), stopped_by=command.by, stopped_reason=command.reason
                )
            case DeleteTrigger():
                self.trigger_rows[key] = msgspec.structs.replace(self.trigger_rows[key], deleted_at=self.at())

    def add_workflow(
        self, key: UUID, name: str = "payout", stages: Any = ({"noop": {}},), request: str | None = None
    ) -> WorkflowRow:
        """A workflow in the read model."""
        raw = Raw(msgspec.json.encode(stages))
        row = WorkflowRow(id=key, name=name, stages=raw, created_at=self.at(), updated_at=self.at(), request=request)
        self.workflow_rows[key] = row
        return row

    def add_instance(
        self, key: UUID, workflow_id: UUID, ended: bool = False, request: str | None = None
    ) -> InstanceRow:
        """An instance in the read model, in its first stage or ended."""
        self.instance_rows[key] = InstanceRow(
            id=key,
            workflow_id=workflow_id,
            created_at=self.at(),
            updated_at=self.at(),
            terminated_at=None,
            error=None,
            workflow=self.workflow_rows[workflow_id],
            stages=[StageRow(0, self.at())],
            request=request,
        )
        if ended:
            self.end(key)
        return self.instance_rows[key]

    def add_trigger(self, key: UUID, command: CreateTrigger) -> TriggerRow:
        """A trigger in the read model."""
        row = self.trigger_rows[key] = TriggerRow(
            id=key,
            name=command.name,
            event=command.event,
            version=command.version,
            workflow_id=UUID(command.workflow_id),
            filter=command.filter,
            vars=None if command.vars is None else Raw(msgspec.json.encode(command.vars)),
            created_at=self.at(),
            request=command.request_digest,
        )
        return row

    def run_again(self, key: UUID, command: RetryInstance) -> None:
        """Begin another pass of an instance."""
        if command.request_key is not None and command.request_digest is not None:
            self.event_requests[key, UUID(command.request_key)] = command.request_digest
        row = self.instance_rows[key]
        self.instance_rows[key] = msgspec.structs.replace(
            row,
            terminated_at=None,
            error=None,
            updated_at=self.at(),
            retries=command.retries + 1,
            stages=[StageRow(command.stage, self.at())],
        )

    def end(self, key: UUID, error: str | None = None) -> None:
        """End an instance with its running stage."""
        row = self.instance_rows[key]
        stages = [msgspec.structs.replace(stage, terminated_at=self.at(), error=error) for stage in row.stages]
        self.instance_rows[key] = msgspec.structs.replace(
            row, terminated_at=self.at(), updated_at=self.at(), error=error, stages=stages
        )


class FakeConnection:
    """What opens and closes."""

    def __init__(self, backend: Backend):
        self.backend = backend

    @property
    def ready(self) -> bool:
        return not self.backend.postgres_away

    async def open(self) -> None:
        self.backend.opened.add(type(self).__name__)

    async def close(self) -> None:
        self.backend.opened.discard(type(self).__name__)


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


class FakeReadModel(FakeConnection):
    async def workflow(self, workflow_id: UUID, /) -> WorkflowRow | None:
        self.backend.check()
        return self.backend.workflow_rows.get(workflow_id)

    async def leased_workflow(self, workflow_id: UUID, /) -> WorkflowRow | None:
        return await self.workflow(workflow_id)

    async def instance(self, instance_id: UUID, /) -> InstanceRow | None:
        self.backend.check()
        self.backend.calls.append("instance")
        return self.backend.instance_rows.get(instance_id)

    async def keyed_instance(self, instance_id: UUID, /) -> InstanceRow | DeletedInstance | None:
        request = self.backend.deleted_instances.get(instance_id)
        return await self.instance(instance_id) or (request and DeletedInstance(instance_id, request)) or None

    async def event_request(self, instance_id: UUID, key: UUID, /) -> KnownRequests:
        self.backend.check()
        requests = self.backend.event_requests
        return KnownRequests(requests.get((instance_id, key)), sum(id == instance_id for id, _ in requests))

    async def retryable(self, instance_id: UUID, partition: int, /) -> RetryableRow | None:
        self.backend.check()
        assert partition == PARTITION
        self.backend.on_retryable()
        return self.backend.retryable.get(instance_id)

    async def history(self, instance_id: UUID, /, after: HistoryPlace = BEFORE_ALL) -> Slice[StageHistoryRow] | None:
        self.backend.check()
        rows = self.backend.histories.get(instance_id)
        return None if rows is None else self._part([row for row in rows if row.place > after])

    async def activities(
        self, instance_id: UUID, stage: int, /, after: HistoryPlace = BEFORE_ALL
    ) -> Slice[ActivityRow] | None:
        self.backend.check()
        rows = self.backend.activity_rows.get((instance_id, stage))
        return None if rows is None else self._part([row for row in rows if row.place > after])

    def _part(self, rows: list[Any]) -> Slice[Any]:
        self.backend.calls.append("page")
        return Slice(rows[: self.backend.page_rows], len(rows) > self.backend.page_rows)

    async def workflows(self) -> AsyncIterator[Slice[WorkflowRow]]:
        rows = [row for row in self.backend.workflow_rows.values() if row.deleted_at is None]
        async for page in self._pages(rows):
            yield page

    async def instances(self, filters: InstanceFilters, /) -> AsyncIterator[Slice[InstanceRow]]:
        wanted, running = filters.workflow_ids, filters.running
        rows = [
            row
            for row in self.backend.instance_rows.values()
            if (not wanted or row.workflow_id in wanted)
            and not (running and row.terminated_at is not None)
            and (not filters.states or state_of(row) in filters.states)
        ]
        async for page in self._pages(rows):
            yield page

    async def trigger(self, trigger_id: UUID, /) -> TriggerRow | None:
        self.backend.check()
        return self.backend.trigger_rows.get(trigger_id)

    async def triggers(self, name: str, max_rows: int | None, /) -> AsyncIterator[Slice[TriggerRow]]:
        rows = [
            row
            for row in self.backend.trigger_rows.values()
            if row.deleted_at is None and name.casefold() in row.name.casefold()
        ][:max_rows]
        async for page in self._pages(rows):
            yield page

    async def occurrences(self, trigger_id: UUID, /) -> AsyncIterator[Slice[OccurrenceRow]]:
        async for page in self._pages([row for row in self.backend.occurrence_rows if row.trigger_id == trigger_id]):
            yield page

    async def bulk(self, bulk_id: UUID, /) -> BulkRow | None:
        self.backend.check()
        return self.backend.bulk_rows.get(bulk_id)

    async def bulks_page(self, **place: Any) -> Slice[BulkRow]:
        return await _page(self._pages(list(self.backend.bulk_rows.values())), **place)

    async def workflows_page(self, **place: Any) -> Slice[WorkflowRow]:
        return await _page(self.workflows(), **place)

    async def instances_page(self, filters: InstanceFilters, /, **place: Any) -> Slice[InstanceRow]:
        return await _page(self.instances(filters), **place)

    async def triggers_page(self, name: str, /, **place: Any) -> Slice[TriggerRow]:
        return await _page(self.triggers(name, None), **place)

    async def occurrences_page(self, trigger_id: UUID, /, **place: Any) -> Slice[OccurrenceRow]:
        return await _page(self.occurrences(trigger_id), **place)

    async def stats(self, window: Window, workflow_id: UUID | None, /) -> StatsRow:
        self.backend.check()
        self.backend.asked_stats.append((window, workflow_id))
        return self.backend.stats_row

    async def _pages(self, rows: list[Any]) -> AsyncIterator[Slice[Any]]:
        self.backend.check()
        if not rows:
            yield Slice([])
        for start in range(0, len(rows), self.backend.page_rows):
            self.backend.check()
            self.backend.calls.append("page")
            await asyncio.sleep(0)  # a query lets other tasks run
            end = start + self.backend.page_rows
            yield Slice(rows[start:end], end < len(rows))


async def _page(
    chunks: AsyncIterator[Slice[Any]],
    *,
    after: RowPosition | None = None,
    before: RowPosition | None = None,
    limit: int,
) -> Slice[Any]:
    rows = sorted([row async for part in chunks for row in part.rows], key=lambda row: row.position, reverse=True)
    if before is not None:
        rows = [row for row in rows if row.position > before]
        return Slice(rows[-limit:], len(rows) > limit)
    rows = [row for row in rows if after is None or row.position < after]
    return Slice(rows[:limit], len(rows) > limit)


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: int = 0
    complete: bool = False

    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)

    @property
    def data(self) -> Any:
        """What the envelope holds."""
        return self.json()["data"]

    @property
    def error(self) -> tuple[int, str]:
        """Status and errorCode of an error answer; its body has nothing else."""
        body = self.json()
        assert set(body) == {"errorCode", "errorMessage"}
        assert body["errorMessage"]
        assert self.headers["content-type"] == "application/json"
        return self.status, body["errorCode"]


Chunks = Iterable[bytes]


@dataclass
class Client:
    """Calls an app, without a server between."""

    app: Starlette
    base: str = "/api/orchestration"
    on_send: Callable[[Message], None] | None = None
    disconnected: bool = False

    async def call(
        self,
        method: str,
        target: str,
        body: Any = b"",
        headers: dict[str, str] | Sequence[tuple[str, str]] = (),
        chunks: Chunks | None = None,
        base: str | None = None,
    ) -> Answer:
        """One request.

        Args:
            method: the verb.
            target: path and query, below the base path.
            body: bytes, or a value that is sent as JSON.
            headers: of the request; as pairs where one comes twice.
            chunks: a body without a declared length.
            base: another base path.
        """
        url = urlsplit((self.base if base is None else base) + target)
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = headers.items() if isinstance(headers, dict) else headers
        sent = [(name.lower().encode(), value.encode()) for name, value in named]
        if chunks is None:
            sent.append((b"content-length", b"%d" % len(content)))
        elif b"content-length" not in dict(sent):
            sent.append((b"transfer-encoding", b"chunked"))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(url.path),
            "raw_path": url.path.encode(),
            "query_string": url.query.encode(),
            "root_path": "",
            "headers": sent,
            "server": ("test", 80),
            "client": ("test", 1),
        }
        pieces = [content] if chunks is None else list(chunks)
        answer = Answer()

        async def receive() -> Message:
            if self.disconnected:
                return {"type": "http.disconnect"}
            if pieces:
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            if self.on_send is not None:
                self.on_send(message)
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")
                answer.pieces += 1
                answer.complete = not message.get("more_body", False)

        await self.app(scope, receive, send)
        return answer


def make_client(backend: Backend, **settings: Any) -> Client:
    """A client of an app with this backend."""
    return client_of(backend, ApiSettings(**settings))


def client_of(backend: Backend, configured: ApiSettings, stop: asyncio.Event | None = None) -> Client:
    """A client of an app that is told to stop by an event."""
    return Client(create_app(configured, fake_services(backend, configured), stop), configured.base_path)


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
