"""Fillers: records without content, by which `orchestration topics repair` lets offsets go on where they were.

A partition that was cut or created again would give new records the offsets of lost ones. Fillers take these offsets
first. Nobody admits them: in `events` they have no epoch, in `commands` engines pass over them.

A filler in `events` also says that somebody has looked at what lies before it. Records before it that belong to a claim
that is not in the log are passed over, as those of a superseded owner are, instead of stopping everybody. A *notice* is
a filler that says this alone: it takes nobody's place, so the log has still all events.
"""

from typing import Final

from msgspec import Struct

from schemas.records import Headers, NewRecord, Record

FILLER_TYPE: Final = b"Filler"
NOTICE_KEY: Final = b"notice"


class Passed(Struct, frozen=True):
    """Stands for what takes an offset and is not handed out: an engine passes over it as over a filler."""

    offset: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = (("type", FILLER_TYPE),)


def filler(timestamp_ms: int) -> NewRecord:
    """A record that takes an offset."""
    return NewRecord(b"", b"", [("type", FILLER_TYPE)], timestamp_ms)


def notice(timestamp_ms: int) -> NewRecord:
    """A filler that takes nobody's place."""
    return NewRecord(NOTICE_KEY, b"", [("type", FILLER_TYPE)], timestamp_ms)


def is_filler(record: Record) -> bool:
    """Whether the record only takes an offset."""
    return any(name == "type" and value == FILLER_TYPE for name, value in record.headers)


def is_loss(record: Record) -> bool:
    """Whether the record is in the place of one that was lost."""
    return record.key != NOTICE_KEY and is_filler(record)
