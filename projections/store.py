"""Writes batches into the read model: one statement, thus one round trip and one transaction, each.

Rows travel as one JSON text per table, which costs this process the least: the encoder writes it in one go, where
arrays and COPY take psycopg a conversion per value. COPY also needs a table in between and more round trips.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import psycopg

from projections.announcements import announcements
from projections.counting import KEPT_DAYS, counts_of, stage_key
from projections.database import FAULTS, Postgres, Session
from projections.errors import BatchRefused, PositionConflict, StoreAway
from projections.fold import Batch
from projections.ports import Deletion, Row
from projections.queries import retryable
from projections.read_rows import RowPosition
from projections.retries import add_retries
from projections.rows import Count, ReadPosition
from projections.sql import COUNTED, project, statement
from schemas.resources import InstanceState
from schemas.settings import PostgresSettings

STATEMENT_TIMEOUT_SECONDS: Final = 10.0
"""Deadline of one batch; past it, it is rolled back and read again. A batch takes milliseconds."""
MAX_PRUNED: Final = 1000
"""Rejections deleted at once; many more would hold up the next batch."""

MAX_MERGED: Final = 1000
"""Counts that are merged at once; likewise."""

REFUSED: Final = (psycopg.DataError, psycopg.IntegrityError, UnicodeError)
"""Postgres can't store something in the batch. Tried again like a fault, it would stop its partition for ever."""

_encoder = msgspec.json.Encoder(uuid_format="canonical")


class PostgresStore:
    """`ports.Store` on Postgres.

    Args:
        settings: where it is.
        name: what its connection is for.
    """

    def __init__(self, settings: PostgresSettings, name: str = "projections"):
        self._schema = settings.database_schema
        self._session = Session(
            Postgres(settings),
            name,
            statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
            # After a crash of Postgres rows and positions are lost together, and read again from the log.
            parameters={"synchronous_commit": "off"},
        )

    @property
    def connected(self) -> bool:
        """See `ports.Store.connected`."""
        return self._session.connected

    async def close(self) -> None:
        """See `ports.Store.close`."""
        await self._session.close()

    async def positions(self, partitions: Collection[int]) -> dict[int, ReadPosition]:
        """See `ports.Store.positions`."""
        rows: list[Row] = []
        # A partition that two projectors make at the same time is invisible to the slower one's statement.
        while len(rows) < len(partitions):
            rows = await self._execute(statement("assigned_positions"), (list(partitions),))
        return {partition: ReadPosition(*rest) for partition, *rest in rows}

    async def note_topic(self, topic_id: str, partitions: Collection[int]) -> None:
        """See `ports.Store.note_topic`."""
        await self._execute(statement("note_topic"), (topic_id, list(partitions)))

    async def write(self, batch: Batch) -> None:
        """See `ports.Store.write`."""
        rows = parts(batch)
        try:
            ((moved, _),) = await self._execute(
                project(tuple(rows)),
                (_json(batch.advances), self._schema, _json(list(announcements(batch))), *map(_json, rows.values())),
            )
        except REFUSED as error:
            raise BatchRefused(str(error)) from error
        if not moved:
            raise PositionConflict

    async def not_caught_up(self, partitions: Collection[int]) -> set[int]:
        """See `ports.Store.not_caught_up`."""
        rows = await self._execute(statement("not_caught_up"), (list(partitions),))
        return {partition for (partition,) in rows}

    async def note_caught_up(self, ends: Mapping[int, int], partitions: int) -> set[int]:
        """See `ports.Store.note_caught_up`."""
        rows = await self._execute(statement("caught_up"), (list(ends), list(ends.values()), partitions))
        return {partition for (partition,) in rows}

    async def prune_rejections(self, retention_seconds: int) -> bool:
        """See `ports.Store.prune_rejections`."""
        deleted = await self._execute(statement("prune_rejections"), (retention_seconds, MAX_PRUNED))
        return len(deleted) == MAX_PRUNED

    async def merge_counts(self) -> bool:
        """See `ports.Store.merge_counts`."""
        ((merged,),) = await self._execute(statement("merge_counts"), (KEPT_DAYS, MAX_MERGED))
        return bool(merged == MAX_MERGED)

    async def all_caught_up(self) -> bool:
        """See `ports.Store.all_caught_up`."""
        return await self._execute(statement("all_caught_up"), ()) == [(True,)]

    async def has_passed(self, ends: Mapping[int, int]) -> bool:
        """See `ports.Store.has_passed`."""
        return await self._execute(statement("has_passed"), (list(ends), list(ends.values()))) == [(True,)]

    async def delete_ended(
        self, outcome: InstanceState, before: datetime, age: timedelta, behind: RowPosition, limit: int
    ) -> Deletion | None:
        """See `ports.Store.delete_ended`."""
        seconds, told = int(age.total_seconds()), retryable.MAX_REQUESTS
        rows = await self._execute(statement("delete_ended"), (outcome, before, *behind, limit, seconds, told))
        if not rows:
            return None
        ((deleted, seen, created_at, id),) = rows
        return Deletion(deleted, RowPosition(created_at, id) if seen == limit else None)

    async def _execute(self, query: bytes, parameters: Sequence[Any]) -> list[Row]:
        try:
            return await self._session.execute(query, parameters)
        except FAULTS as fault:
            raise StoreAway(str(fault) or type(fault).__name__) from fault


def parts(batch: Batch) -> dict[str, list[Any]]:
    """The rows of a batch, by the part of the statement (`sql/project`) that writes them."""
    rows: dict[str, list[Any]] = {}
    for table, some, since in (
        ("workflows", batch.workflows, "created_at"),
        ("instances", batch.instances, "created_at"),
        ("stages", batch.stages, "started_at"),
        ("activities", batch.activities, "started_at"),
        ("triggers", batch.triggers, "created_at"),
        ("bulks", batch.bulks, "created_at"),
    ):
        for row in some.values():
            kind = "changed" if getattr(row, since) is None else "new"
            rows.setdefault(f"{kind}_{table}", []).append(row)
    for table, more in (
        ("event_requests", batch.event_requests),
        ("keys", [key for key in batch.keys.values() if key.created_at is not None]),
        ("rejections", batch.rejections.values()),
        ("occurrences", batch.occurrences),
        ("bulk_outcomes", batch.bulk_outcomes.values()),
    ):
        if more:
            rows[f"new_{table}"] = list(more)
    for request in batch.late_requests:
        part = "late_requests_of_changed" if request.instance_id in batch.instances else "late_requests"
        rows.setdefault(part, []).append(request)
    if batch.retries:
        add_retries(rows, batch)
    counts = _counts(batch)
    if counts or COUNTED.keys() & rows.keys():
        rows["counts"] = counts
    if more_keys := [key for key in batch.keys.values() if key.created_at is None]:
        rows["more_keys"] = more_keys
    # In one order, so that the same parts are the same statement; `counts` comes behind what it counts.
    return dict(sorted(rows.items()))


def _counts(batch: Batch) -> list[Count]:
    counts, stages = counts_of(batch)
    rows = [Count(key.what, key.stage, key.hour, key.bucket, count, key.workflow_id) for key, count in counts.items()]
    keys = ((stage_key(stage), stage.instance_id) for stage in stages)
    rows += (Count(key.what, key.stage, key.hour, key.bucket, 1, instance_id=id) for key, id in keys if key)
    return rows


def _json(value: Any) -> str:
    return _encoder.encode(value).decode()
