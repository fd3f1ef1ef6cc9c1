"""What a batch of the projections tells whoever waits for it, as notifications on the channel named like the schema.

Postgres delivers them when the batch is committed, so a request that waits for its command needs no query to be woken,
and one that started an instance none to see it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from projections.fold import Batch
from projections.queries.rows import StageRow

MAX_BYTES: Final = 7_900
"""Of a notification; Postgres refuses 8,000."""
MAX_START_BYTES: Final = 1_000
"""A larger start is left out and read instead: every API process gets every notification."""

_FRAME: Final = len('{"s":[],"e":[],"p":{}}')


class Start(Struct, frozen=True, array_like=True):
    """An instance as the batch left it that started it."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    terminated_at: datetime | None
    error: str | None
    stages: list[StageRow]


class Announcement(Struct, frozen=True, rename={"starts": "s", "ended": "e", "positions": "p"}):
    """A notification, or a part of one that would be too large.

    `positions` maps partition → [highest cause, next offset]. `ended` are instances that ended by another cause than
    the one that started them: who waits for their end can't know that cause. What a position makes visible is
    announced with it or before it.
    """

    starts: list[Start] = []
    ended: list[UUID] = []
    positions: dict[int, tuple[int, int]] = {}


_encode = msgspec.json.Encoder().encode


def announcements(batch: Batch) -> Iterator[str]:
    """The notifications of a batch, usually one."""
    starts: list[bytes] = []
    ended: list[bytes] = []
    positions: list[bytes] = []
    room = MAX_BYTES - _FRAME
    for items, texts in ((starts, _starts(batch)), (ended, _ended(batch)), (positions, _positions(batch))):
        for text in texts:
            if len(text) >= room:
                yield _notification(starts, ended, positions)
                for sent in (starts, ended, positions):
                    sent.clear()
                room = MAX_BYTES - _FRAME
            items.append(text)
            room -= len(text) + 1
    if starts or ended or positions:
        yield _notification(starts, ended, positions)


def _starts(batch: Batch) -> Iterator[bytes]:
    stages: dict[str, list[tuple[object, ...]]] = {}
    for stage in batch.stages.values():
        shown = (stage.number, stage.started_at, stage.terminated_at, stage.error)
        stages.setdefault(stage.instance_id, []).append(shown)
    for one in batch.instances.values():
        if one.created_at is not None:
            start = (one.id, one.created_at, one.updated_at, one.terminated_at, one.error, stages.get(one.id, []))
            text = _encode(start)
            if len(text) <= MAX_START_BYTES:
                yield text


def _ended(batch: Batch) -> Iterator[bytes]:
    return map(_encode, batch.ended)


def _positions(batch: Batch) -> Iterator[bytes]:
    return (b'"%d":[%d,%d]' % (one.partition, one.cause, one.next_offset) for one in batch.advances)


def _notification(starts: list[bytes], ended: list[bytes], positions: list[bytes]) -> str:
    text = b'{"s":[%s],"e":[%s],"p":{%s}}' % (b",".join(starts), b",".join(ended), b",".join(positions))
    return text.decode()
