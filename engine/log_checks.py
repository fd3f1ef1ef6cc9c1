"""Whether a partition is the one that its owners knew (see `schemas.log_integrity`).

Before an engine claims a partition it looks whether that is so (`inspect`): a claim makes a log longer, so that after a
few of them a log that was cut would be as long as it was. The newest snapshot says how long that is, and of which
topics. The claims behind the snapshot say more; they are read by the restore (`ClaimTrail`).

Fillers in the events behind the snapshot say that somebody has looked, and knows what is lost (`schemas.fillers`). The
partition goes on then, with what there is. A log that is too short stays a fault: fillers make it long enough.
"""

from typing import Final, NamedTuple

from engine.core.errors import SnapshotUnreadable
from engine.pauses import Breather
from engine.ports import EventLog, LogState, Snapshots
from engine.snapshot_records import MARKER_KEY, Marker, read_marker
from schemas.epochs import header, is_claim
from schemas.events import PartitionClaimed
from schemas.fillers import is_filler
from schemas.log_integrity import (
    MARK_OFFSETS,
    LogFault,
    check_begin,
    check_commands,
    check_end,
    check_identity,
    check_partitions,
)
from schemas.records import Record, RecordCodec, UndecodableRecord
from schemas.topics import COMMANDS, EVENTS

NOT_REPAIRED: Final = -1
"""No filler says that what does not fit is known."""

READER: Final = "engine"
"""Who meets faults, as the gauge knows it."""


class Known(NamedTuple):
    """What a snapshot says of the topics that it follows from."""

    next_offset: int = 0
    """All events before it are in the snapshot."""
    next_command: int = 0
    """All commands before it were decided."""
    events_id: str = ""
    """Kafka's id of topic `events`; empty where it is not known."""
    commands_id: str = ""
    partitions: int = 0
    """How many of them the installation used; 0 where it is not known."""


class Inspected(NamedTuple):
    """A partition that may be claimed."""

    state: LogState
    known: Known
    """What its newest snapshot says."""
    repaired: int = NOT_REPAIRED
    """The last filler, where one was needed."""
    has_snapshot: bool = True
    """Whether there is one, if maybe not for this build."""
    lacks_events: bool = False
    """Whether events are lost that only a snapshot could make up for, there is none, and somebody knows it."""


def known_by(record: Record | None) -> Known | None:
    """What a snapshot says that ends with a record; None without one, nothing if this build can't read it."""
    if record is None:
        return None
    try:
        return known_by_marker(read_marker(record.value) if record.key == MARKER_KEY else None)
    except SnapshotUnreadable:
        return Known()


def known_by_marker(marker: Marker | None) -> Known:
    """What a marker says; nothing without one."""
    if marker is None:
        return Known()
    return Known(marker.next_offset, marker.next_command, marker.events_id, marker.commands_id, marker.partitions)


async def inspect(
    number: int, log: EventLog, known: Known | None, breather: Breather, partitions: int = 0
) -> Inspected:
    """Look whether a partition is the one that its newest snapshot knows.

    Args:
        number: which partition.
        log: asked what the topics hold.
        known: what the snapshot says; None without one.
        breather: lets others run.
        partitions: how many the installation used before; 0 if it is not known.

    Raises:
        LogFault: it is not.
        ReadFailed: Kafka is away.
    """
    state, repaired = await log.look(number), NOT_REPAIRED
    check_partitions(number, partitions, state.partitions)
    if known is None:
        return Inspected(state, Known(), has_snapshot=False)
    try:
        check_identity(known.events_id, state.events_id, EVENTS, number)
        check_identity(known.commands_id, state.commands_id, COMMANDS, number)
        if known.next_offset > 0:  # else the restore tells
            check_begin(number, known.next_offset, state.events.oldest)
    except LogFault:
        repaired = await last_filler(number, log, max(known.next_offset - 1, 0), state.events.end, breather)
        if repaired == NOT_REPAIRED:
            raise
    check_end(number, known.next_offset, state.events.end)
    check_commands(number, known.next_command, state.commands.end)
    return Inspected(state, known, repaired)


async def check_number(log: EventLog, snapshots: Snapshots) -> None:
    """Check how many partitions are used before commands are sent that no owned partition has led to.

    Whoever owns a partition has checked it (`inspect`). In an installation without a snapshot, nobody knows it yet.

    Args:
        log: asked what the topics hold.
        snapshots: know how many the installation used before.

    Raises:
        LogFault: `partitions`; or a snapshot needs a key that this engine does not have.
        ReadFailed: Kafka is away.
    """
    known = known_by(await snapshots.last(0)) or Known()
    check_partitions(0, known.partitions, (await log.look(0)).partitions)


async def last_filler(
    number: int, log: EventLog, start: int, stop: int, breather: Breather, *, behind_events: bool = False
) -> int:
    """The last filler among events, or `NOT_REPAIRED`.

    Args:
        number: of the partition.
        log: is read.
        start: the first offset.
        stop: the offset behind the last one.
        breather: lets others run.
        behind_events: only one behind all events. An older one was about something else.

    Raises:
        ReadFailed: the log can't be reached.
    """
    found = NOT_REPAIRED
    async for records in log.read(number, start, stop):
        for record in records:
            if is_filler(record):
                found = record.offset
            elif behind_events and header(record.headers, "epoch") is not None:
                found = NOT_REPAIRED
            await breather.step()
    return found


class ClaimTrail:
    """What the claims say that a restore reads, in order.

    Args:
        number: of the partition.
        codec: reads claims.
        known: what the snapshot says that is restored from; nothing without one.
        repaired: a filler before all of them, or `NOT_REPAIRED`.
    """

    def __init__(self, number: int, codec: RecordCodec, known: Known, repaired: int = NOT_REPAIRED):
        self._number, self._codec, self._repaired = number, codec, repaired
        is_known = repaired == NOT_REPAIRED
        self._ids = {EVENTS: known.events_id, COMMANDS: known.commands_id} if is_known else {EVENTS: "", COMMANDS: ""}
        self._changed: LogFault | None = None
        self._commands_end = self._events_end = 0

    def note(self, record: Record) -> None:
        """Take a record that is not an event."""
        if is_filler(record):
            self._repaired, self._changed, self._events_end = record.offset, None, 0
            self._ids = dict.fromkeys(self._ids, "")
        elif is_claim(record):
            try:
                claim = self._codec.decode_event(record).event
            except UndecodableRecord:
                return  # whoever wrote it, it counts as a claim, but says nothing
            if isinstance(claim, PartitionClaimed):
                self._note(claim)

    def _note(self, claim: PartitionClaimed) -> None:
        self._commands_end = max(self._commands_end, claim.commands_end)
        self._events_end = max(self._events_end, claim.events_end)
        for topic, id in ((EVENTS, claim.events_id), (COMMANDS, claim.commands_id)):
            try:
                check_identity(self._ids[topic], id, topic, self._number)
            except LogFault as fault:
                # The claims of engines that have found it out. They have decided nothing.
                self._changed = self._changed or fault
            self._ids[topic] = self._ids[topic] or id

    def commands_end(self, next_command: int) -> int:
        """Behind the last command that is known, decided or not."""
        return max(next_command, self._commands_end)

    def check(self, next_command: int, state: LogState) -> int:
        """Check that the topics are those that the claims are about, and have all that they know of.

        Args:
            next_command: behind the last command that was decided.
            state: as it was before the last claim, or later.

        Returns:
            The offset of the next command. Those before it may have been deleted, which somebody knows.

        Raises:
            LogFault: they are not.
        """
        if self._changed is not None:
            raise self._changed
        check_identity(self._ids[EVENTS], state.events_id, EVENTS, self._number)
        check_identity(self._ids[COMMANDS], state.commands_id, COMMANDS, self._number)
        if self._events_end:
            text = f"it was cut, as a claim says: before, it ended at offset {self._events_end}"
            raise LogFault("cut", EVENTS, self._number, text)
        check_commands(self._number, self.commands_end(next_command), state.commands.end)
        oldest = state.commands.oldest
        if self._repaired == NOT_REPAIRED and oldest - next_command > MARK_OFFSETS:
            check_begin(self._number, next_command, oldest, COMMANDS)
        return max(next_command, oldest)
