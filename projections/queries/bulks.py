"""Bulk operations as they are read: by the API, and by what runs them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from projections.bulk_rows import DONE
from projections.ports import Row
from projections.queries.errors import RowUnreadable
from projections.queries.instance_filters import InstanceFilters
from projections.read_rows import InstanceRow, Pause, RowPosition, UnreadableWaiting

_decode_page = msgspec.json.Decoder(list[str]).decode
_decode_filters = msgspec.json.Decoder(InstanceFilters).decode


def fits(action: str, instance: InstanceRow) -> bool:
    """Whether an action can be done with an instance as it is. What no filter says is looked at here, row by row.

    Raises:
        RowUnreadable: nobody here can tell. If it were passed over, nobody would know.
    """
    if action == "resume":
        return pause_of(instance) is not None
    if action == "retry":
        return instance.terminated_at is not None and instance.error is not None
    return instance.terminated_at is None


def pause_of(instance: InstanceRow) -> tuple[Pause, datetime] | None:
    """The pause of an instance, and when it began; None if it is not paused.

    Raises:
        RowUnreadable: nobody here can tell.
    """
    waiting = instance.waiting
    if isinstance(waiting, UnreadableWaiting):
        raise RowUnreadable(f"instance {instance.id}", waiting.problem)
    return None if waiting is None or waiting.pause is None else (waiting.pause, waiting.since)


class BulkRow(Struct, frozen=True, kw_only=True):
    """A bulk operation, with what became of its commands so far."""

    id: UUID
    partition: int
    action: str
    filter: Raw
    expected: int | None
    """How many instances passed the filter at first; None when they were too many to be counted."""
    created_at: datetime
    updated_at: datetime
    stopped_at: datetime | None = None
    """When somebody wanted no further page."""
    terminated_at: datetime | None = None
    request: str | None = None
    """Digest of the request that carried an `Idempotency-Key`."""
    by: str | None = None
    reason: str | None = None
    stopped_by: str | None = None
    stopped_reason: str | None = None
    pages: int = 0
    """How many have begun."""
    sent: int = 0
    """How many instances are in them."""
    lost: int = 0
    """For how many of these nobody knows what became of their commands."""
    page: Sequence[str] = ()
    """The instances of the last page; empty once the operation has ended."""
    page_at: datetime | None = None
    """When the last of them was created; before the first page, where that begins if not at `created_at`."""
    outcomes: Mapping[str, int] = {}
    """How many commands were carried out (`DONE`), and rejected, by code."""

    @property
    def position(self) -> RowPosition:
        """Its place in lists."""
        return RowPosition(self.created_at, self.id)

    @property
    def filters(self) -> InstanceFilters:
        """Which instances it is about.

        Raises:
            msgspec.MsgspecError: this build does not know the filter.
        """
        return _decode_filters(self.filter)

    @property
    def done(self) -> int:
        """How many commands were carried out."""
        return self.outcomes.get(DONE, 0)

    @property
    def refusals(self) -> dict[str, int]:
        """How many were rejected, by code."""
        return {code: count for code, count in self.outcomes.items() if code != DONE}

    @property
    def missing(self) -> int:
        """Of how many commands of the last page the outcome is still to come."""
        return max(0, self.sent - self.lost - sum(self.outcomes.values()))


class BulkColumns(NamedTuple):
    """Of `bulks` and `bulks_page`."""

    id: UUID
    partition: int
    action: str
    filter: str
    expected: int | None
    created_at: datetime
    updated_at: datetime
    stopped_at: datetime | None
    terminated_at: datetime | None
    request: str | None
    created_by: str | None
    created_reason: str | None
    stopped_by: str | None
    stopped_reason: str | None
    pages: int
    sent: int
    lost: int
    page: str | None
    page_at: datetime | None
    outcomes: list[str] | None
    counts: list[int]
    followed: bool | None = None

    def row(self) -> BulkRow:
        """As a row.

        Raises:
            RowUnreadable: this build can't read it.
        """
        try:
            page = () if self.page is None else _decode_page(self.page)
        except msgspec.MsgspecError as error:
            raise RowUnreadable(f"bulk operation {self.id}", error) from error
        return BulkRow(
            id=self.id,
            partition=self.partition,
            action=self.action,
            filter=Raw(self.filter.encode()),
            expected=self.expected,
            created_at=self.created_at,
            updated_at=self.updated_at,
            stopped_at=self.stopped_at,
            terminated_at=self.terminated_at,
            request=self.request,
            by=self.created_by,
            reason=self.created_reason,
            stopped_by=self.stopped_by,
            stopped_reason=self.stopped_reason,
            pages=self.pages,
            sent=self.sent,
            lost=self.lost,
            page=page,
            page_at=self.page_at,
            outcomes={} if self.outcomes is None else dict(zip(self.outcomes, self.counts, strict=True)),
        )


class Running(NamedTuple):
    """The operations of some partitions that have not ended, and how far the read model was at that moment."""

    rows: list[BulkRow]
    offsets: dict[int, int]
    """By partition, of the first event that is not in the read model."""
    causes: dict[int, int]
    """By partition, the highest offset of a command whose outcome is in it."""


def running(rows: Sequence[Row]) -> Running:
    """What statement `running_bulks` has found."""
    if not rows:
        return Running([], {}, {})
    partitions: Sequence[Any]
    partitions, offsets, causes = (values or () for values in rows[0][:3])
    found = [BulkColumns(*row[3:]).row() for row in rows if row[3] is not None]
    return Running(found, dict(zip(partitions, offsets, strict=True)), dict(zip(partitions, causes, strict=True)))
