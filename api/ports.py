"""What the operations work with, as small Protocols: tests put fakes behind them.

The rows and the real read model and positions are those of `projections.queries`; the real command log is
`api.command_log`.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol
from uuid import UUID

from projections.queries.rows import ActivityRow, InstanceRow, Rejection, StageHistoryRow, WorkflowRow
from schemas.commands import Command

__all__ = [
    "ActivityRow",
    "CommandLog",
    "InstanceRow",
    "Position",
    "Positions",
    "ReadModel",
    "Rejection",
    "StageHistoryRow",
    "WorkflowRow",
]


class Position(NamedTuple):
    """Where a command stands in the log."""

    partition: int
    offset: int


class Connection(Protocol):
    """Something that is opened once and closed at the end."""

    async def open(self) -> None:
        """Connect; may raise, and may then be called again."""

    async def close(self) -> None:
        """Disconnect; also after an `open` that raised."""


class CommandLog(Connection, Protocol):
    """Appends commands."""

    async def append(self, key: UUID, command: Command, deadline: float, partition: int | None = None) -> Position:
        """Append a command.

        Args:
            key: id of the aggregate.
            command: what to append.
            deadline: when to give up, as time of the event loop.
            partition: that of the key, if the caller knows it already.

        Raises:
            CommandLogUnavailable: it was not acknowledged in time.
            TooLarge: the record is over the limit.
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

    async def instance(self, instance_id: UUID, /) -> InstanceRow | None:
        """An instance."""

    async def history(self, instance_id: UUID, /) -> list[StageHistoryRow] | None:
        """Started stages of an instance; None for an unknown one."""

    async def activities(self, instance_id: UUID, stage: int, /) -> list[ActivityRow] | None:
        """Activities of a stage; None for an unknown instance or a stage that did not start."""

    def workflows(self) -> AsyncIterator[list[WorkflowRow]]:
        """Pages of all workflows that are not deleted, newest first."""

    def instances(self, workflow_id: UUID | None, running: bool, /) -> AsyncIterator[list[InstanceRow]]:
        """Pages of instances, newest first.

        Args:
            workflow_id: only those of this workflow.
            running: only those that have not ended.
        """


class Positions(Connection, Protocol):
    """How far projections have come. Deadlines are times of the event loop."""

    @property
    def ready(self) -> bool:
        """Whether news of projections arrive."""

    async def wait_cause(self, partition: int, cause: int, deadline: float, /) -> None:
        """Wait until the command at an offset has had its effect; raises TimeoutError."""

    async def wait_ended(self, instance_id: UUID, deadline: float, /) -> bool:
        """Wait until an instance has ended; False when the deadline came first."""

    async def rejection(self, partition: int, cause: int, /) -> Rejection | None:
        """Why a command was rejected, if it was; raises `ReadModelUnavailable`."""

    def seen_offset(self, partition: int, /) -> int:
        """The events of a partition below this offset are in the read model."""
