"""A log, an engine and a read model in memory: every command has its effect at once, unless a test says otherwise."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw

from api.ports import (
    ActivityRow,
    BulkRow,
    InstanceRow,
    OccurrenceRow,
    Rejection,
    RetryableRow,
    StageHistoryRow,
    Starting,
    StatsRow,
    TriggerRow,
    Window,
    WorkflowRow,
)
from projections.queries.changes import Changes
from projections.queries.errors import ReadModelUnavailable
from projections.read_rows import StageRow
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
from schemas.expressions import LinkAnswer
from schemas.log_entries import Entry

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
