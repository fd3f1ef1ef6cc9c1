"""Writes batches into the read model: one statement, thus one round trip and one transaction, each.

Rows travel as one JSON text per table, which costs this process the least: the encoder writes it in one go, where
arrays and COPY take psycopg a conversion per value. COPY also needs a table in between and more round trips.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from projections.announcements import announcements
from projections.database import Session
from projections.errors import PositionConflict
from projections.fold import Batch
from projections.rows import ReadPosition
from projections.sql import project, statement
from schemas.settings import PostgresSettings

STATEMENT_TIMEOUT_SECONDS: Final = 10.0
"""Deadline of one batch; past it, it is rolled back and read again. A batch takes milliseconds."""
MAX_PRUNED: Final = 1000
"""Rejections deleted at once; many more would hold up the next batch."""

_encoder = msgspec.json.Encoder(uuid_format="canonical")


class Store:
    """The read model as the projections write it.

    Every method raises one of `projections.database.FAULTS` while Postgres is away. Whether a batch was written is
    unknown then; the positions tell.
    """

    def __init__(self, settings: PostgresSettings):
        self._schema = settings.database_schema
        self._session = Session(
            settings,
            "projections",
            statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
            # After a crash of Postgres rows and positions are lost together, and read again from the log.
            parameters={"synchronous_commit": "off"},
        )

    @property
    def connected(self) -> bool:
        """Whether Postgres answered last time."""
        return self._session.connected

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def positions(self, partitions: Collection[int]) -> dict[int, ReadPosition]:
        """How far the partitions are."""
        rows: list[tuple[int, int, int, int]] = []
        # A partition that two projectors make at the same time is invisible to the slower one's statement.
        while len(rows) < len(partitions):
            rows = await self._session.execute(statement("assigned_positions"), (list(partitions),))
        return {partition: ReadPosition(*rest) for partition, *rest in rows}

    async def write(self, batch: Batch) -> None:
        """Write a batch, move the positions and announce it, or do nothing.

        Raises:
            PositionConflict: a position is not where the batch starts.
            psycopg.DataError: Postgres can't hold something in the batch.
        """
        rows = parts(batch)
        ((moved, _),) = await self._session.execute(
            project(tuple(rows)),
            (_json(batch.advances), self._schema, _json(list(announcements(batch))), *map(_json, rows.values())),
        )
        if not moved:
            raise PositionConflict

    async def not_caught_up(self, partitions: Collection[int]) -> set[int]:
        """Which of these partitions have not caught up since Postgres started."""
        rows = await self._session.execute(statement("not_caught_up"), (list(partitions),))
        return {partition for (partition,) in rows}

    async def note_caught_up(self, ends: Mapping[int, int], partitions: int) -> set[int]:
        """Note partitions that have passed the end of their log, so that readers can know.

        Args:
            ends: by partition, as they were after `not_caught_up` was asked over the same connection.
            partitions: how many there are altogether.

        Returns:
            Those that have.
        """
        rows = await self._session.execute(statement("caught_up"), (list(ends), list(ends.values()), partitions))
        return {partition for (partition,) in rows}

    async def prune_rejections(self, retention_seconds: int) -> bool:
        """Delete some rejections that are older than this; whether there may be more."""
        deleted = await self._session.execute(statement("prune_rejections"), (retention_seconds, MAX_PRUNED))
        return len(deleted) == MAX_PRUNED


def parts(batch: Batch) -> dict[str, list[Any]]:
    """The rows of a batch, by the part of the statement (`sql/project`) that writes them."""
    rows: dict[str, list[Any]] = {}
    for table, some, since in (
        ("workflows", batch.workflows, "created_at"),
        ("instances", batch.instances, "created_at"),
        ("stages", batch.stages, "started_at"),
        ("activities", batch.activities, "started_at"),
        ("triggers", batch.triggers, "created_at"),
    ):
        for row in some.values():
            kind = "changed" if getattr(row, since) is None else "new"
            rows.setdefault(f"{kind}_{table}", []).append(row)
    for table, more in (
        ("event_requests", batch.event_requests),
        ("rejections", batch.rejections.values()),
        ("occurrences", batch.occurrences),
    ):
        if more:
            rows[f"new_{table}"] = list(more)
    # In one order, so that the same parts are the same statement.
    return dict(sorted(rows.items()))


def _json(value: Any) -> str:
    return _encoder.encode(value).decode()
