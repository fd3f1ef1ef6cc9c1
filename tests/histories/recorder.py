"""An owner of one partition, without Kafka, stack and clock, that writes down what it is given and what it writes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from engine.core.decisions import ActivityDone, Due
from engine.core.effects import CallActivity, EvaluateMessage, FindWorkflow, GoOn, StartInstance, Wake
from engine.core.evaluation import Evaluated
from engine.core.retries import Failure
from engine.core.shard import Input, Shard
from engine.core.submissions import Resolved, subject_of
from engine.core.trigger import Requested
from engine.snapshot_records import Marker, entry_records, marker_record, tombstones
from engine.turn import Turn
from schemas.commands import Command, RetryInstance
from schemas.current import CurrentWorkflow, records_of
from schemas.epochs import EpochFilter
from schemas.events import PartitionClaimed
from schemas.fillers import is_filler
from schemas.records import NewRecord, RecordCodec, UndecodableRecord
from schemas.topics import COMMANDS, DEFINITIONS, EVENTS, SNAPSHOTS
from tests.histories.folding import Stored, fold
from tests.histories.lines import GivenLine, Line, TurnLine, record_line
from tests.retryable import retry_of

START: Final = datetime(2026, 3, 1, 10, tzinfo=UTC)
PARTITION: Final = 0

Given = tuple[str, Command | Input] | NewRecord
"""A command or an input for an aggregate, or a record of `commands` as somebody else may write it."""
Answer = Callable[[CallActivity], Any]
"""What the stack answers: the output, or a `Failure`."""


class Ends(NamedTuple):
    """What comes next of each topic."""

    offsets: dict[str, int]

    def take(self, topic: str) -> int:
        """The next offset."""
        offset = self.offsets.get(topic, 0)
        self.offsets[topic] = offset + 1
        return offset


class Recorder:
    """Owns a partition from its first record on.

    Attributes:
        now: the time, which tests move.
        lines: the history so far.
    """

    def __init__(self) -> None:
        self.now = START
        self.lines: list[Line] = []
        self._codec, self._ends = RecordCodec(), Ends({})
        self._events: list[Stored] = []
        self._next_command = 0
        self._kept: set[str] = set()
        """Keys of the topic of snapshots."""
        self.claim()

    # What happens

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def claim(self) -> None:
        """A new owner takes over: it has the state that the log says."""
        now = self.now
        claim = PartitionClaimed(
            at=now,
            owner=f"engine-{len(self._events)}",
            events_id="topic-1",
            commands_id="topic-2",
            commands_end=self._ends.offsets.get(COMMANDS, 0),
        )
        self.epoch = self._put_event(self._codec.encode("", claim, timestamp_ms=int(now.timestamp() * 1000)))
        self.shard = Shard()
        epochs = EpochFilter(partition=PARTITION)
        for stored in self._events:
            fold(self.shard, self._codec, epochs, stored)
        self.shard.settle()

    def give(self, *given: Given, confirms: bool = False) -> None:
        """Decide all of it in one turn, a second after the last."""
        self.wait(1.25)
        turn = Turn(self.shard, self._codec, self.epoch, self._end, self.now)
        for one in given:
            if isinstance(one, NewRecord):
                self._command(turn, one)
            elif isinstance(one[1], Command):
                record = self._codec.encode(one[0], one[1], timestamp_ms=turn.timestamp_ms)
                self._command(turn, record)
            else:
                self.lines.append(
                    GivenLine(None, one[0], type(one[1]).__name__, msgspec.Raw(msgspec.json.encode(one[1])))
                )
                turn.input(one[0], one[1])
        if confirms:
            turn.confirm()
        self.lines.append(TurnLine(self.now, confirms))
        for current in turn.definitions:
            for record in records_of(current, turn.timestamp_ms):
                self._put(DEFINITIONS, record)
        for record in turn.records:
            self._put_event(record)
        self.shard.settle()

    def _command(self, turn: Turn, record: NewRecord) -> None:
        offset = self._put(COMMANDS, record)
        self.lines.append(GivenLine(offset))
        decide_command(turn, self._codec, Stored(offset, record.key, record.value, record.headers))
        self._next_command = offset + 1

    def write(self, record: NewRecord) -> int:
        """Somebody else appends to `events`."""
        return self._put_event(record)

    def snapshot(self) -> None:
        """Write what changed since the last one."""
        cut = self.shard.cut()
        entries = list(cut.entries())
        for record in entry_records(entries, self.now):
            self._put(SNAPSHOTS, record)
        self._kept |= {key for key, _ in entries}
        if cut.is_full:
            gone = sorted(key.encode() for key in self._kept if not cut.has(key))
            for record in tombstones(gone, self.now):
                self._put(SNAPSHOTS, record)
        marker = Marker(
            next_offset=self._end,
            epoch=self.epoch,
            next_command=self._next_command,
            events_id="topic-1",
            commands_id="topic-2",
            partitions=1,
            at=self.now,
            summary=cut.summary,
        )
        self._put(SNAPSHOTS, marker_record(marker))
        cut.close(written=True)

    def retry(self, instance_id: str, **more: Any) -> RetryInstance:
        """The command that retries an instance that has ended, as it is by now."""
        log = [(one.aggregate_id, one.event) for one in map(self._codec.decode_event, self._events)]
        return replace(retry_of(log, instance_id, **more), seen_offset=self._end)

    # What effects end with

    def go_on(self, subject: str, answer: Answer | None = None, *, most: int = 200) -> None:
        """Let an instance do what it wants done, until it waits for an event, a delay or an answer."""
        for _ in range(most):
            effect = self.shard.effect(subject)
            match effect:
                case GoOn():
                    self.give((subject, Due(effect.token)))
                case CallActivity() if answer is not None:
                    self.give((subject, called(effect, answer(effect))))
                case _:
                    return

    def wake(self, subject: str) -> None:
        """Let its delay end."""
        effect = self.shard.effect(subject)
        assert isinstance(effect, Wake)
        self.now = max(self.now, effect.at)
        self.give((subject, Due(effect.token)))

    def call(self, subject: str) -> CallActivity:
        """The call that an instance waits for."""
        effect = self.shard.effect(subject)
        assert isinstance(effect, CallActivity), effect
        return effect

    def evaluated(self, subject: str, **outcome: Any) -> None:
        """Let a message be evaluated."""
        effect = self.shard.effect(subject)
        assert isinstance(effect, EvaluateMessage), effect
        trigger, _, occurrence = subject.partition("/")
        self.give((trigger, Evaluated(occurrence, effect.waiting.attempt, **outcome)))

    def request(self, subject: str) -> tuple[str, Command]:
        """Note that the run command of an occurrence was sent; the command."""
        effect = self.shard.effect(subject)
        assert isinstance(effect, StartInstance), effect
        self.give((effect.trigger_id, Requested(effect.pending.occurrence_id)))
        return effect.pending.instance_id, effect.pending.command(f"events/{PARTITION}", effect.trigger_id)

    def resolve(self, instance_id: str, workflow: CurrentWorkflow | None = None) -> None:
        """Let the definition be found that the first held submission to an instance needs."""
        effect = self.shard.effect(subject_of(instance_id))
        assert isinstance(effect, FindWorkflow), effect
        self.give((instance_id, Resolved(effect.offset, workflow)))

    # The log

    @property
    def _end(self) -> int:
        return self._ends.offsets[EVENTS]

    def _put(self, topic: str, record: NewRecord) -> int:
        offset = self._ends.take(topic)
        self.lines.append(record_line(topic, offset, record))
        return offset

    def _put_event(self, record: NewRecord) -> int:
        offset = self._put(EVENTS, record)
        self._events.append(Stored(offset, record.key, record.value, record.headers))
        return offset


def called(effect: CallActivity, answer: Any) -> ActivityDone:
    """The end of a call."""
    if isinstance(answer, Failure):
        return ActivityDone(effect.token, failure=answer)
    return ActivityDone(effect.token, output=answer)


def decide_command(turn: Turn, codec: RecordCodec, record: Stored) -> None:
    """Decide the command of a record, as the owner of a partition does."""
    if is_filler(record):
        turn.skip(record.offset)
        return
    try:
        key, command = codec.decode_command(record)
        turn.command(record.offset, key, command)
    except UndecodableRecord as error:
        turn.refuse(record, (record.key or b"").decode(errors="replace"), str(error))
