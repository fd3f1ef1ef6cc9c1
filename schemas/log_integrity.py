"""A log that was cut or created again: what gives it away, as small checks without IO.

Offsets of `events` have no holes, and Kafka keeps what it has acknowledged. So when what a reader knows and what it
finds do not fit together, records are lost: somebody deleted them or the topic, a broker without the newest ones became
leader, or an older copy of a disk was put back. To go on would be to decide, or to answer, from another history. Each
check raises `LogFault` then, whose message says what happened and what to do.

| reason | what does not fit | found by |
|---|---|---|
| `cut` | the partition ends before a record that is known to have been in it | `check_end`, `check_records` |
| `gap` | records are missing between a reader's position and what it finds | `check_begin`, `check_records` |
| `claim` | a record belongs to a claim that is not in the log, or a known claim is not there | `schemas.epochs` |
| `remade` | the topic is not the one that positions and claims are about | `check_identity` |
| `commands` | `commands` ends before a command that was decided | `check_commands` |

`orchestration topics repair` makes it whole: it appends *fillers* (`schemas.fillers`) until the offsets go on where
they were.

A reader that can't understand a record stands still in the same way. Nothing is lost then: it is the reader that lacks
something, and to pass over the record would be to forget it.

| reason | what is missing | found by |
|---|---|---|
| `newer` | the record is of a type or schema that only a newer build knows | who decodes it (`newer_build`) |
| `key` | the record is encrypted with a key that the process does not have | who decodes it (`key_missing`) |

Nor is anything lost if a topic has more partitions than the installation was made with, or this process is told of
another number (`partitions`, `check_partitions`). Keys stay where they are: the first ones go on, and the others are
not used.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from schemas.encryption_marks import KeyMissing
from schemas.error_texts import BoundedError
from schemas.records import Record, UnknownMessage
from schemas.topics import COMMANDS, EVENTS

Reason = Literal["cut", "gap", "claim", "remade", "commands", "newer", "key", "partitions"]

MARK_OFFSETS: Final = 1
"""What the end of a transaction takes in a partition, without a record that anybody is handed. We write none to these
topics. Somebody else who does must not stop us. Of more, side by side, Kafka is asked whether they are such marks."""
NO_MARKS: Final = frozenset[int]()

REPAIR: Final = "This partition stands still until it is repaired: run `orchestration topics repair`."
REMEDIES: Final[dict[Reason, str]] = {
    "newer": "This partition stands still here until this process is upgraded to the build that wrote the record.",
    "key": "This partition stands still here until this process is started again with the key.",
    "partitions": "This partition stands still here: see *Partitions that were added* in docs/operations.md.",
}
"""What to do where a repair would not help. In these cases the log is whole."""


class LogFault(BoundedError):
    """A partition is not what it is known to be, or can't be read. Whoever reads it must not go on, but may look again.

    Args:
        reason: see the module.
        topic: without the prefix of the installation.
        partition: which one; -1 when the topic as a whole is meant.
        text: what does not fit, as a sentence without its full stop.
    """

    def __init__(self, reason: Reason, topic: str, partition: int, text: str):
        where = f"topic {topic}" if partition < 0 else f"topic {topic}, partition {partition}"
        self.problem = f"{where}: {text}."
        """Without what follows for the partition, for readers that others don't wait for."""
        super().__init__(f"{self.problem} {REMEDIES.get(reason, REPAIR)}")
        self.reason: Reason = reason
        self.topic, self.partition = topic, partition


def newer_build(partition: int, record: Record, error: UnknownMessage) -> LogFault:
    """The fault of a record of `events` that this build does not know."""
    return LogFault("newer", EVENTS, partition, f"the record at offset {record.offset} can't be read: {error}")


def key_missing(topic: str, partition: int, error: KeyMissing) -> LogFault:
    """The fault of a record that can't be read without a key.

    Args:
        topic: without the prefix.
        partition: of the topic.
        error: says which record, and which key.
    """
    return LogFault("key", topic, partition, str(error))


def unreadable_here(partition: int, record: Record, error: UnknownMessage | KeyMissing) -> LogFault:
    """The fault of a record of `events` that this process can't read though it is not damaged.

    Args:
        partition: of `events`.
        record: what can't be read.
        error: why.
    """
    if isinstance(error, KeyMissing):
        return key_missing(EVENTS, partition, error)
    return newer_build(partition, record, error)


def check_begin(partition: int, position: int, oldest: int, topic: str = EVENTS) -> None:
    """Check that nothing was deleted that has not been read yet.

    Args:
        partition: which one.
        position: the offset of the record that comes next.
        oldest: the oldest offset that is kept.
        topic: of the partition, without the prefix.

    Raises:
        LogFault: `gap`.
    """
    if oldest > position:
        text = f"the {oldest - position} records from offset {position} on were deleted before they were read here"
        raise LogFault("gap", topic, partition, f"{text}; it begins at {oldest}")


def check_end(partition: int, known: int, end: int) -> None:
    """Check that a partition of `events` has all that is known to have been in it.

    Args:
        partition: which one.
        known: the offset behind the last record that is known.
        end: the offset that comes next now.

    Raises:
        LogFault: `cut`.
    """
    if end < known:
        text = f"it ends at offset {end}, but had records up to {known}: Kafka has lost what it had acknowledged"
        raise LogFault("cut", EVENTS, partition, text)


def check_partitions(partition: int, known: int, used: int) -> None:
    """Check that the installation uses as many partitions as before.

    Args:
        partition: which one.
        known: how many it used; 0 if that is not known.
        used: how many it uses now.

    Raises:
        LogFault: `partitions`.
    """
    if known and known != used:
        text = f"the installation has used {known} partitions, and now it is {used}"
        raise LogFault("partitions", EVENTS, partition, text)


def follows(records: Sequence[Record], position: int) -> bool:
    """Whether records begin at a position and have no holes. If not, ask for the oldest offset, and `check_records`.

    Args:
        records: at least one, in order.
        position: the offset of the record that comes next.
    """
    return records[0].offset == position and records[-1].offset == position + len(records) - 1


def check_records(
    partition: int,
    position: int,
    records: Sequence[Record],
    oldest: int,
    topic: str = EVENTS,
    marks: frozenset[int] = NO_MARKS,
) -> None:
    """Check that records follow on a position, where `follows` says that they don't.

    Args:
        partition: which one.
        position: the offset of the record that comes next.
        records: what was read from there on, in order.
        oldest: the oldest offset that is kept, asked for after the records were read.
        topic: of the partition, without the prefix.
        marks: offsets at which transactions are known to have ended.

    Raises:
        LogFault: `gap` or `cut`.
    """
    check_begin(partition, position, oldest, topic)
    if records and records[0].offset < position:
        # A consumer whose offset Kafka does not have goes on at the oldest.
        text = f"it ended before offset {position}, which comes next here: Kafka has lost what it had acknowledged"
        raise LogFault("cut", topic, partition, text)
    for record in records:
        if is_gap(position, record.offset, marks):
            text = f"the records from offset {position} to {record.offset - 1} are missing"
            raise LogFault("gap", topic, partition, text)
        position = record.offset + 1


async def check_holes(
    partition: int,
    position: int,
    records: Sequence[Record],
    oldest: int,
    find_marks: Callable[[int, int], Awaitable[frozenset[int]]],
) -> tuple[Sequence[Record], LogFault | None]:
    """Look what is wrong with records of `events`, where `follows` says that they don't follow on a position.

    Args:
        partition: which partition.
        position: the offset of the record that comes next.
        records: what was read from there on, in order.
        oldest: as in `check_records`.
        find_marks: the offsets from one to before another at which others' transactions have ended. It is only asked
            where records may be missing.

    Returns:
        Those that follow, and why the others don't: None if all do.
    """
    try:
        check_records(partition, position, records, oldest)
    except LogFault as fault:
        if fault.reason != "gap" or oldest > position:
            return (), fault
    else:
        return records, None
    marks = await find_marks(position, records[-1].offset)
    try:
        check_records(partition, position, records, oldest, marks=marks)
    except LogFault as fault:
        return _before_gap(records, position, marks), fault
    return records, None


def _before_gap(records: Sequence[Record], position: int, marks: frozenset[int]) -> Sequence[Record]:
    """The records up to where others are missing.

    Args:
        records: what was read from a position on, in order.
        position: the offset of the record that comes next.
        marks: as in `check_records`.
    """
    for number, record in enumerate(records):
        if is_gap(position, record.offset, marks):
            return records[:number]
        position = record.offset + 1
    return records


def is_gap(start: int, stop: int, marks: frozenset[int] = NO_MARKS) -> bool:
    """Whether records are missing from an offset to before another, where none was read.

    Args:
        start: the first offset.
        stop: behind the last one.
        marks: offsets at which transactions are known to have ended.
    """
    return stop - start > MARK_OFFSETS and not marks.issuperset(range(start, stop))


def check_identity(known: str, found: str, topic: str = EVENTS, partition: int = -1) -> None:
    """Check that a topic is still the same.

    Args:
        known: Kafka's id of the topic that positions and claims are about; empty if it is not known.
        found: its id now; empty if the broker does not tell it.
        topic: without the prefix.
        partition: of the reader.

    Raises:
        LogFault: `remade`.
    """
    if known and found and known != found:
        text = f"the topic was deleted and created again (its id was {known} and is {found})"
        raise LogFault("remade", topic, partition, text)


def check_commands(partition: int, known: int, end: int) -> None:
    """Check that `commands` has all commands that are known.

    A new command would get the offset of one that was decided, and so be taken for it.

    Args:
        partition: which one.
        known: the offset behind the last command that is known.
        end: the offset that comes next now; or the offset of a command that was just appended.

    Raises:
        LogFault: `commands`.
    """
    if end < known:
        text = f"it ends at offset {end}, but had commands up to {known}: new ones would be taken for those"
        raise LogFault("commands", COMMANDS, partition, text)
