"""Records of the log with what is known about them, for `orchestration log` and the API. No IO.

Unlike other readers of the log, these stop at nothing: they show.
"""

import base64
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from schemas.encryption_marks import KeyMissing
from schemas.epochs import CLAIM_TYPE, header, is_claim
from schemas.events import PartitionClaimed
from schemas.fillers import is_filler, is_loss
from schemas.records import Record, RecordCodec, UndecodableRecord, read_number

Verdict = Literal["superseded", "claim missing", "unclaimed", "filler", "notice"]
"""Why a record does not count.

- `superseded`: its owner's claim is older than another one that lies before the record
- `claim missing`: its claim is not in the log, which was cut and has grown again
- `unclaimed`: no claim before it could be its own, so it was not written by an engine, or before the log was cut
- `filler`: takes an offset that was lost
- `notice`: a filler that only says that somebody knows of a repair
"""

UNREAD: Final = -1


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record as it is shown. As JSON, fields without a value are left out."""

    partition: int
    offset: int
    at: datetime | None = None
    """When it happened, as the event says; None if it can't be decoded."""
    type: str | None = None
    id: str | None = None
    """Of the aggregate; None for a claim."""
    version: int | None = None
    """Position among the aggregate's events; None for outcomes of commands."""
    cause: int | None = None
    """Offset of the command that caused it, on the partition of the same number of `commands`."""
    epoch: int | None = None
    """Offset of the claim under which it was written; of itself, for a claim."""
    owner: str | None = None
    """Who made that claim; None if the claim is not in the log any more."""
    counts: bool
    reason: Verdict | None = None
    value: Raw | None = None
    """The event as JSON."""
    error: str | None = None
    """Why it can't be decoded."""
    raw_key: str | None = None
    """Key and value in base64, of a record that can't be decoded."""
    raw_value: str | None = None


class Judge:
    """Tells, record by record in the order of one partition, which count, as `schemas.epochs` says.

    Args:
        read_from: the offset of the first record. A claim before it may be there unseen, so the newest epoch that was
            seen counts as claimed.
        epoch: the newest claim that was seen before that, by whoever goes on.
    """

    def __init__(self, read_from: int, epoch: int = UNREAD):
        self._read_from = read_from
        self.epoch = epoch

    def judge(self, record: Record) -> Verdict | None:
        """Why the record does not count; None if it does, or is a claim."""
        text: bytes | None = None
        # Every record of a partition comes by here, so its headers are looked through once.
        for name, value in record.headers:
            if name == "epoch":
                text = value
            elif name == "type" and value == CLAIM_TYPE:
                self.epoch = record.offset
                return None
        if text is None or (epoch := read_number(text)) is None or epoch >= record.offset:
            return _without_epoch(record)
        if epoch > self.epoch:
            if epoch >= self._read_from:
                return "claim missing"
            self.epoch = epoch
        return None if epoch == self.epoch else "superseded"


def epoch_of(record: Record) -> int | None:
    """The epoch of a record; for a claim, of itself."""
    return record.offset if is_claim(record) else read_number(header(record.headers, "epoch"))


def owner_of(record: Record, codec: RecordCodec) -> str | None:
    """Who made a claim; None if the record is not a claim that can be decoded."""
    if not is_claim(record):
        return None
    try:
        claim = codec.decode_event(record).event
    except (UndecodableRecord, KeyMissing):
        return None
    return claim.owner if isinstance(claim, PartitionClaimed) else None


def entry(partition: int, record: Record, verdict: Verdict | None, owner: str | None, codec: RecordCodec) -> Entry:
    """A record as it is shown.

    Args:
        partition: that it is in.
        record: whatever is in it.
        verdict: why it does not count.
        owner: who made its claim.
        codec: reads it.
    """
    shown = Entry(
        partition=partition,
        offset=record.offset,
        epoch=epoch_of(record),
        owner=owner,
        counts=verdict is None,
        reason=verdict,
        cause=read_number(header(record.headers, "cause")),
    )
    try:
        recorded = codec.decode_event(record)
    except (UndecodableRecord, KeyMissing) as error:
        name = header(record.headers, "type")
        return replace(
            shown,
            type=None if name is None else name.decode(errors="replace"),
            id=record.key.decode(errors="replace") if record.key else None,
            error=None if verdict in ("filler", "notice") else str(error),
            raw_key=_base64(record.key),
            raw_value=_base64(record.value),
        )
    return replace(
        shown,
        at=getattr(recorded.event, "at", None),
        type=type(recorded.event).__name__,
        id=recorded.aggregate_id or None,
        version=recorded.version or None,
        # Encoded again, so that it can be read also where it is stored encrypted or in an older schema.
        value=Raw(msgspec.json.encode(recorded.event)),
    )


def _base64(data: bytes | None) -> str | None:
    return base64.b64encode(data).decode() if data else None


def _without_epoch(record: Record) -> Verdict:
    """What a record is that belongs to no claim before it."""
    if not is_filler(record):
        return "unclaimed"
    return "filler" if is_loss(record) else "notice"
