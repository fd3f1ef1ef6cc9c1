"""What an engine needs from the outside, as small protocols.

Tests of single parts have twins of them in memory (`tests/ports`). Those of the log and of the snapshots pass the same
tests as what speaks to Kafka.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.evaluation import Evaluated, Waiting
from engine.core.trigger import Trigger
from schemas.commands import Command
from schemas.current import Current, CurrentWorkflow
from schemas.kafka import Limits
from schemas.records import NewRecord, Record

MayStart = Callable[[], Awaitable[bool]]
"""Whether an attempt may start now; it waits until that is known."""


class LogState(Struct, frozen=True):
    """What a partition holds, and which topics it is of."""

    events: Limits
    commands: Limits
    events_id: str
    """Kafka's id of the topic; empty where the broker does not tell it."""
    commands_id: str
    partitions: int
    """How many of them the installation uses."""


class EventLog(Protocol):
    """The partitions of topic `events`, and the other topics that an engine writes."""

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        """Append records as one batch, whole or not at all; the offset of the first one, negative when it is unknown.

        Raises:
            AppendFailed: nobody knows whether it was or will be appended.
        """

    def read(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[Record]]:
        """The records from `start` (or the oldest that is kept) to before `stop`, all of which are acknowledged.

        Raises:
            ReadFailed: the log can't be reached.
        """

    async def marks(self, partition: int, start: int, stop: int) -> frozenset[int]:
        """The offsets of events from `start` to before `stop` at which others' transactions have ended.

        Raises:
            ReadFailed: the log can't be reached.
        """

    async def look(self, partition: int) -> LogState:
        """What the partition of `events` and that of `commands` hold now.

        Raises:
            LogFault: `partitions`: it is not one that the installation uses.
            ReadFailed: Kafka is away, or a topic does not exist.
        """

    async def define(self, definitions: Sequence[Current], timestamp_ms: int) -> None:
        """Append current definitions to topic `definitions`.

        Raises:
            AppendFailed: nobody knows whether they were or will be appended.
        """

    async def send(self, commands: Sequence[tuple[str, Command]], timestamp_ms: int) -> None:
        """Append commands to other aggregates, in order.

        Raises:
            AppendFailed: nobody knows which of them were or will be appended.
        """

    async def bury(self, partition: int, commands: Sequence[tuple[Record, str]]) -> None:
        """Append commands that can't be decoded to `commands.dead`, each with the reason and its original headers.

        Raises:
            AppendFailed: nobody knows which of them were or will be appended.
        """


class SnapshotWriter(Protocol):
    """Writes to one partition of topic `snapshots`, in transactions. After an error it is closed."""

    async def append(self, records: Sequence[NewRecord]) -> int:
        """Append records to the open transaction, which begins with the first of them.

        Returns:
            The offset of the first; negative when it is unknown.

        Raises:
            SnapshotFenced: a later writer of the partition was opened.
            SnapshotFailed: nothing of the transaction counts.
        """

    async def commit(self) -> None:
        """Commit what was appended: a reader sees all of it or nothing.

        Raises:
            SnapshotFenced: a later writer of the partition was opened; nothing was committed.
            SnapshotFailed: whether it was committed is unknown until the next writer is open.
        """

    async def close(self) -> None:
        """Close the connections. An open transaction stays so until the next writer is opened, or Kafka aborts it."""


class Snapshots(Protocol):
    """Topic `snapshots`: partition p holds the state of partition p of `events`, see `engine.snapshot_records`."""

    async def open(self, partition: int) -> SnapshotWriter:
        """Open a writer, and shut out all that were opened before. What they left open is committed or aborted by then.

        Raises:
            SnapshotFailed: it could not be done in time.
        """

    def read(self, partition: int) -> AsyncIterator[Sequence[Record]]:
        """The committed records, from the start to the end as it is now; none where the topic does not exist yet.

        Raises:
            ReadFailed: the topic can't be reached.
            LogFault: a record needs a key that this engine does not have.
        """

    async def last(self, partition: int) -> Record | None:
        """The last committed record; None without one.

        Raises:
            ReadFailed: the topic can't be reached.
            LogFault: it needs a key that this engine does not have.
        """


class CommandFeed(Protocol):
    """Topic `commands`, as handed to the owners of its partitions."""

    async def open(self, partition: int, next_offset: int) -> None:
        """Begin to feed the partition's owner with the commands from `next_offset` on.

        Raises:
            ReadFailed: Kafka is away.
        """

    def pause(self, partition: int) -> None:
        """Stop feeding for now: the owner has enough."""

    def resume(self, partition: int) -> None:
        """Go on feeding."""

    def done(self, partition: int, next_offset: int) -> None:
        """All commands before `next_offset` have been decided and their events are in the log."""


class ActivityCaller(Protocol):
    """Calls the stack."""

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        """One attempt of an activity. Whatever goes wrong is a failure in the result, never an exception.

        Args:
            activity: what to call.
            may_start: asked right before the attempt starts, and again where it then had to wait for what it needs.

        Returns:
            Its result; None when it was not started.
        """


class MessageEvaluator(Protocol):
    """Evaluates messages whose trigger needs links."""

    async def evaluate(self, trigger: Trigger, waiting: Waiting, may_start: MayStart) -> Evaluated | None:
        """One attempt. Whatever goes wrong is told in the result, never an exception.

        Args:
            trigger: whose filter and variables are evaluated.
            waiting: the message.
            may_start: asked right before the attempt starts, which may have had to wait for others.

        Returns:
            Its result; None when it was not started.
        """


class Workflows(Protocol):
    """The current workflows, as topic `definitions` tells them."""

    async def catch_up(self) -> None:
        """Wait until everything that the topic holds now is known.

        Raises:
            KafkaFault: Kafka is away.
        """

    def workflow(self, workflow_id: str) -> CurrentWorkflow | None:
        """What a run of a workflow starts with; None when it is unknown or was deleted."""


class Clock(Protocol):
    """The time, injected so that tests and simulations own it. Waiting goes by the event loop's own clock."""

    def now(self) -> datetime:
        """Now, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, and go on while the process is suspended."""
