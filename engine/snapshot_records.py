"""Record layout of topic `snapshots`.

| key | value |
|---|---|
| `<section>/<id>` | an entry of the state (see `engine.core.snapshots`); null when it is gone |
| `marker` | what the entries before it stand for, a `Marker` as JSON |

A snapshot is all records of a partition up to its last marker, of which the last one of each key counts. Its records
come in transactions, each of which ends with a marker: so the last committed record of a partition is one.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from engine.core.errors import SnapshotUnreadable
from engine.core.sections import Entry
from engine.core.snapshots import READABLE, SCHEMA, Summary
from engine.errors import SnapshotFailed
from schemas.records import MAX_NUMBER, NewRecord
from schemas.topics import MAX_RECORD_BATCH_BYTES

MARKER_KEY: Final = b"marker"

SLICE_ENTRIES: Final = 500
"""Most entries that are encoded in one go, a few milliseconds: the event loop waits for it."""

MAX_RECORD_BYTES: Final = MAX_RECORD_BATCH_BYTES - 1024
"""Largest entry. Kafka would refuse its batch without saying which entry it is."""

SLICE_BYTES: Final = 256 * 1024
"""Most bytes of them, beside one entry that is larger."""

Offset = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]


class Marker(Struct, frozen=True, kw_only=True):
    """What a snapshot stands for."""

    schema: int = SCHEMA
    """Version of all that the snapshot holds."""
    next_offset: Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
    """All events before this offset are in it, and none behind."""
    epoch: Offset
    """The claim of its writer: the newest one before `next_offset`."""
    next_command: Offset
    """Behind the last command that was decided."""
    events_id: str = ""
    """Kafka's id of topic `events`; empty where the broker does not tell it."""
    commands_id: str = ""
    """Likewise of topic `commands`."""
    partitions: int = 0
    """How many partitions of them the installation uses; 0 in old snapshots."""
    at: datetime
    summary: Summary


class _Versioned(Struct):
    schema: int


_encoder = msgspec.json.Encoder()
_versioned = msgspec.json.Decoder(_Versioned)
_marker = msgspec.json.Decoder(Marker)


def marker_record(marker: Marker) -> NewRecord:
    """The record that ends a snapshot."""
    return NewRecord(MARKER_KEY, _encoder.encode(marker), [], _ms(marker.at))


def read_marker(value: bytes | None) -> Marker:
    """The marker that a record holds.

    Raises:
        SnapshotUnreadable: it is of another version, or damaged.
    """
    try:
        schema = _versioned.decode(value or b"").schema
        if schema not in READABLE:
            why = ": a newer build has written it" if schema > SCHEMA else ""
            raise SnapshotUnreadable(f"it is of schema {schema}, and this build reads schemas 1 to {SCHEMA}{why}")
        return _marker.decode(value or b"")
    except (ValueError, RecursionError) as error:  # msgspec's errors are among them
        raise SnapshotUnreadable(f"its marker can't be read: {error}") from error


def entry_records(entries: Iterable[Entry], at: datetime) -> Iterator[NewRecord]:
    """The records of entries."""
    timestamp_ms = _ms(at)
    return (NewRecord(key.encode(), value, [], timestamp_ms) for key, value in entries)


def tombstones(keys: Iterable[bytes], at: datetime) -> Iterator[NewRecord]:
    """The records that say of keys of the topic that they are gone."""
    timestamp_ms = _ms(at)
    return (NewRecord(key, None, [], timestamp_ms) for key in keys)


def slices(records: Iterable[NewRecord]) -> Iterator[list[NewRecord]]:
    """Records in portions that are quickly made.

    Raises:
        SnapshotFailed: one is larger than the topic takes.
    """
    portion, size = list[NewRecord](), 0
    for record in records:
        portion.append(record)
        own = size_of(record)
        if own > MAX_RECORD_BYTES:
            raise SnapshotFailed(f"entry {record.key.decode()} has {own} bytes; at most {MAX_RECORD_BYTES} fit")
        size += own
        if len(portion) >= SLICE_ENTRIES or size >= SLICE_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def size_of(record: NewRecord) -> int:
    """About how many bytes a record takes."""
    return len(record.key) + len(record.value or b"")


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
