"""What the operations work with, as small Protocols: tests put fakes behind them.

The rows and the real read model and positions are those of `projections.queries`; the real command log is
`api.command_log`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from msgspec import Struct

from projections.queries.bulks import BulkRow
from projections.queries.changes import Changes
from projections.queries.instance_filters import InstanceFilters
from projections.queries.leases import LEASE_SECONDS
from projections.queries.positions import Starting
from projections.queries.stats import Happened, OldestRow, StatsRow, Window, WorkflowStatsRow
from projections.read_rows import (
    BEFORE_ALL,
    LIVE,
    ActivityRow,
    DeletedInstance,
    HistoryPlace,
    InstanceRow,
    KnownRequests,
    OccurrenceRow,
    Rejection,
    RetryableRow,
    RowPosition,
    Slice,
    StageHistoryRow,
    StartedRow,
    TriggerRow,
    UnreadableWaiting,
    WaitingRow,
    WorkflowRow,
)
from schemas.commands import Command
from schemas.expressions import Allowance, Expression, LinkAnswer
from schemas.log_entries import Entry

__all__ = [
    "BEFORE_ALL",
    "LEASE_SECONDS",
    "LIVE",
    "ActivityRow",
    "BulkRow",
    "CommandLog",
    "CommandPosition",
    "DeletedInstance",
    "Happened",
    "HistoryPlace",
    "InstanceFilters",
    "InstanceRow",
    "KnownRequests",
    "Links",
    "LogPlace",
    "LogReader",
    "LogSlice",
    "OccurrenceRow",
    "OldestRow",
    "ReadModel",
    "ReadPositions",
    "Rejection",
    "RetryableRow",
    "RowPosition",
    "Slice",
    "StageHistoryRow",
    "StartedRow",
    "Starting",
    "StatsRow",
    "TriggerRow",
    "UnreadableWaiting",
    "WaitingRow",
    "Window",
    "WorkflowRow",
    "WorkflowStatsRow",
]


class CommandPosition(NamedTuple):
    """Where a command stands in the log."""

    partition: int
    offset: int


class Place(NamedTuple):
    """The id of something new, and where its commands go."""

    id: UUID
    partition: int


class Connection(Protocol):
    """Something that is opened once and closed at the end."""

    async def open(self) -> None:
        """Connect; may raise, and may then be called again."""

    async def close(self) -> None:
        """Disconnect; also after an `open` that raised."""


class CommandLog(Connection, Protocol):
    """Appends commands."""

    async def append(
        self, key: UUID, command: Command, deadline: float, partition: int | None = None
    ) -> CommandPosition:
        """Append a command.

        Args:
            key: id of the aggregate.
            command: what to append.
            deadline: when to give up, as time of the event loop.
            partition: that of the key, if the caller knows it already.

        Raises:
            CommandLogUnavailable: it was not acknowledged in time, or will not be carried out since the log was cut.
            TooLarge: the record is over the limit.
        """

    async def place(self, id: UUID, deadline: float) -> Place:
        """An id for a new instance, and its partition, which others of the same moment share.

        Args:
            id: that nobody has, and that only chance has made; the result is like it.
            deadline: when to give up, as time of the event loop.

        Raises:
            CommandLogUnavailable: Kafka is away, so nobody can tell.
        """

    async def partition(self, key: UUID, deadline: float) -> int:
        """The partition of an aggregate.

        Raises:
            CommandLogUnavailable: Kafka is away, so nobody can tell.
        """

    async def reachable(self) -> bool:
        """Whether Kafka answers now."""


class ReadModel(Connection, Protocol):
    """Rows as of the last event that projections have seen. Every method raises `ReadModelUnavailable`."""

    @property
    def ready(self) -> bool:
        """Whether it can be read now."""

    async def workflow(self, workflow_id: UUID, /) -> WorkflowRow | None:
        """A workflow, also a deleted one."""

    async def leased_workflow(self, workflow_id: UUID, /) -> WorkflowRow | None:
        """A workflow as it was at most `LEASE_SECONDS` ago. Whoever deletes one answers only after that."""

    async def instance(self, instance_id: UUID, /) -> InstanceRow | None:
        """An instance."""

    async def keyed_instance(self, instance_id: UUID, /) -> InstanceRow | DeletedInstance | None:
        """The instance that a request with a key has started; None if it was not sent before."""

    async def trigger(self, trigger_id: UUID, /) -> TriggerRow | None:
        """A trigger, also a deleted one."""

    async def event_request(self, instance_id: UUID, key: UUID, /) -> KnownRequests:
        """What is known of a request with this key to an instance, and how many with any key there were."""

    async def bulk(self, bulk_id: UUID, /) -> BulkRow | None:
        """A bulk operation."""

    async def history(self, instance_id: UUID, /, after: HistoryPlace = BEFORE_ALL) -> Slice[StageHistoryRow] | None:
        """Started stages of an instance behind a place; None for an unknown one. All of them unless they are large."""

    async def activities(
        self, instance_id: UUID, stage: int, /, after: HistoryPlace = BEFORE_ALL
    ) -> Slice[ActivityRow] | None:
        """Activities of a stage behind a place; None for an unknown instance or a stage that did not start.

        All of them unless they are large.
        """

    async def retryable(self, instance_id: UUID, partition: int, /) -> RetryableRow | None:
        """What a retry of an instance goes on with, all of one moment.

        Args:
            instance_id: the instance.
            partition: that of its events.
        """

    def workflows(self) -> AsyncIterator[Slice[WorkflowRow]]:
        """Pages of all workflows that are not deleted, newest first."""

    def instances(self, filters: InstanceFilters, /) -> AsyncIterator[Slice[InstanceRow]]:
        """Pages of the instances that pass the filters, newest first."""

    def triggers(self, name: str, max_rows: int | None, /) -> AsyncIterator[Slice[TriggerRow]]:
        """Pages of the triggers that are not deleted, newest first.

        Args:
            name: only those whose name contains it, ignoring case.
            max_rows: only the first ones; None for all.
        """

    def occurrences(self, trigger_id: UUID, /) -> AsyncIterator[Slice[OccurrenceRow]]:
        """Pages of a trigger's occurrences, newest first; also of a deleted one's."""

    async def workflows_page(
        self, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[WorkflowRow]:
        """The first `limit` rows of `workflows` behind a position, or the last in front of one; newest first.

        They are fewer when they are large; `more` tells whether there are others.
        """

    async def instances_page(
        self,
        filters: InstanceFilters,
        /,
        *,
        after: RowPosition | None = None,
        before: RowPosition | None = None,
        limit: int,
    ) -> Slice[InstanceRow]:
        """Likewise of `instances`."""

    async def bulks_page(
        self, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[BulkRow]:
        """Likewise of bulk operations."""

    async def triggers_page(
        self, name: str, /, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[TriggerRow]:
        """Likewise of `triggers`."""

    async def occurrences_page(
        self, trigger_id: UUID, /, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[OccurrenceRow]:
        """Likewise of `occurrences`."""

    async def stats(self, window: Window, workflow_id: UUID | None, /) -> StatsRow:
        """What statistics are made of.

        Args:
            window: the hours in which something happened.
            workflow_id: only this workflow.
        """


class LogPlace(NamedTuple):
    """How far a partition of the log was read."""

    start: int
    """Offset of the first record that was read."""
    offset: int
    """Of the next one."""
    epoch: int
    """The newest claim that was seen, see `schemas.log_entries.Judge`."""


class LogSlice(Struct, frozen=True):
    """Some records of an instance in the log."""

    entries: Sequence[Entry]
    partition: int
    place: LogPlace
    """How far it was read."""
    end: int
    """The offset up to which there may be something of the instance."""


class LogReader(Connection, Protocol):
    """Reads the log of events, to show it."""

    async def records(
        self, instance_id: UUID, /, *, since: datetime, until: datetime, after: LogPlace | None
    ) -> LogSlice:
        """The next records of an instance.

        Args:
            instance_id: the instance.
            since: nothing of it happened before.
            until: nor, as far as anybody knows, afterwards.
            after: where to go on; at the start, if not given.

        Raises:
            Unavailable: Kafka is away, or others read the log.
        """


class Links(Connection, Protocol):
    """Evaluates expressions, fetching the links that they need from the stack."""

    async def evaluate(
        self, expression: Expression, payload: Any, links: dict[str, LinkAnswer], allowance: Allowance, /
    ) -> Any:
        """The value of an expression.

        Args:
            expression: what to evaluate.
            payload: what `event` is.
            links: answers so far, by uri; new ones are added.
            allowance: what the trigger's expressions may use together.

        Raises:
            EvaluationError: it does not compile, or fails, also because a link can't be fetched.
        """


class ReadPositions(Connection, Protocol):
    """How far projections have come. Deadlines are times of the event loop."""

    @property
    def ready(self) -> bool:
        """Whether news of projections arrive."""

    @property
    def changes(self) -> Changes:
        """Which instances have changed."""

    def polling(self) -> AbstractContextManager[None]:
        """Meanwhile what was not announced is noticed, too."""

    def starting(self, instance_id: UUID, /) -> AbstractContextManager[Starting]:
        """Keep what is announced of an instance's start meanwhile; nobody else may start it."""

    async def wait_cause(self, partition: int, cause: int, deadline: float, /) -> None:
        """Wait until the command at an offset has had its effect; raises TimeoutError."""

    async def wait_ended(self, instance_id: UUID, deadline: float, /) -> bool:
        """Wait until an instance has ended; False when the deadline came first, or `stop_waiting`."""

    def stop_waiting(self) -> None:
        """Let `wait_ended` return at once, now and from now on."""

    async def rejection(self, partition: int, cause: int, /) -> Rejection | None:
        """Why a command was rejected, if it was; raises `ReadModelUnavailable`."""

    def seen_offset(self, partition: int, /) -> int:
        """The events of a partition below this offset are in the read model."""
