"""What a batch of the projections tells the requests that wait for it, as notifications.

The channel is named like the schema. Postgres delivers them when the batch is committed. So a request that waits for
its command is woken without a query, one that started an instance sees it without a query, and streams know which
instances to read again.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from projections.fold import Batch
from projections.read_rows import StageRow

MAX_BYTES: Final = 7_900
"""Longest notification. Postgres refuses 8,000 bytes and more, and with them the whole batch."""
MAX_START_BYTES: Final = 1_000
"""Longest start that is announced; the request reads a longer one by itself. Every API process gets every notification,
so without the limit each would have to take in the large starts of all others."""

_FRAME: Final = len('{"s":[],"e":[],"c":[],"b":{},"p":{}}')
"""Bytes of a notification besides its items. Not counted, a full notification would be over Postgres' limit."""


class Start(Struct, frozen=True, array_like=True):
    """An instance that a batch started, as it is after this batch."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    terminated_at: datetime | None
    error: str | None
    stages: list[StageRow]


class Passed(NamedTuple):
    """How far a partition is in the read model."""

    cause: int
    """Highest offset of a command whose outcome is visible."""
    next_offset: int
    """All events below this offset are visible."""


class Announcement(
    Struct, frozen=True, rename={"starts": "s", "ended": "e", "changed": "c", "begins": "b", "positions": "p"}
):
    """A notification, or a part of one that would be too large.

    `positions` is by partition. `ended` are instances that ended by another cause than the one that started them:
    a request that waits for the end can't know that cause. `changed` are all other instances that the batch has rows
    for, `begins` tells where the batch began in each partition: whoever knows of less has missed a notification.
    What a position makes visible is announced with it or before it.
    """

    starts: list[Start] = []
    ended: list[UUID] = []
    changed: list[UUID] = []
    begins: dict[int, int] = {}
    positions: dict[int, Passed] = {}


_encode = msgspec.json.Encoder().encode


def announcements(batch: Batch) -> Iterator[str]:
    """The notifications of a batch, usually one."""
    starts = dict(_starts(batch))
    told = starts.keys() | set(batch.ended)
    changed = (id for id in batch.instances if id not in told)
    sent: dict[str, list[bytes]] = {"s": [], "e": [], "c": [], "b": [], "p": []}
    room = MAX_BYTES - _FRAME
    for field, texts in (
        ("s", starts.values()),
        ("e", map(_encode, batch.ended)),
        ("c", map(_encode, changed)),
        ("b", (b'"%d":%d' % (one.partition, one.first_offset) for one in batch.advances)),
        ("p", (b'"%d":[%d,%d]' % (one.partition, one.cause, one.next_offset) for one in batch.advances)),
    ):
        for text in texts:
            if len(text) >= room:
                yield _notification(sent)
                for items in sent.values():
                    items.clear()
                room = MAX_BYTES - _FRAME
            sent[field].append(text)
            room -= len(text) + 1
    if any(sent.values()):
        yield _notification(sent)


def _starts(batch: Batch) -> Iterator[tuple[str, bytes]]:
    stages: dict[str, list[tuple[object, ...]]] = {}
    for stage in batch.stages.values():
        shown = (stage.number, stage.started_at, stage.terminated_at, stage.error)
        stages.setdefault(stage.instance_id, []).append(shown)
    for one in batch.instances.values():
        if one.created_at is not None:
            start = (one.id, one.created_at, one.updated_at, one.terminated_at, one.error, stages.get(one.id, []))
            text = _encode(start)
            if len(text) <= MAX_START_BYTES:
                yield one.id, text


def _notification(sent: dict[str, list[bytes]]) -> str:
    text = b'{"s":[%s],"e":[%s],"c":[%s],"b":{%s},"p":{%s}}' % tuple(b",".join(items) for items in sent.values())
    return text.decode()
