"""Writes batches into the read model: one statement, thus one round trip and one transaction, each.

Rows travel as one JSON text per table, which costs this process the least: the encoder writes it in one go, where
arrays and COPY take psycopg a conversion per value. COPY also needs a table in between and more round trips.
"""

import itertools
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from projections.database import Session
from projections.errors import PositionConflict
from projections.fold import Batch
from projections.rows import Progress
from projections.sql import statement
from schemas.settings import PostgresSettings

STATEMENT_TIMEOUT_SECONDS: Final = 10.0
"""Deadline of one batch; past it, it is rolled back and read again. A batch takes milliseconds."""
MAX_ANNOUNCED_PARTITIONS: Final = 50
MAX_ANNOUNCED_ENDS: Final = 130
"""Postgres refuses a notification above 7,999 bytes; 50 positions and 130 ids stay below it in one."""
MAX_PRUNED: Final = 1000
"""Rejections deleted at once, so that pruning never holds up a batch for long."""

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

    async def progress(self, partitions: Collection[int]) -> dict[int, Progress]:
        """How far the partitions are."""
        rows: list[tuple[int, int, int, int]] = []
        # A partition that two projectors make at the same time is invisible to the slower one's statement.
        while len(rows) < len(partitions):
            rows = await self._session.execute(statement("assigned_positions"), (list(partitions),))
        return {partition: Progress(*rest) for partition, *rest in rows}

    async def write(self, batch: Batch) -> None:
        """Write a batch, move the positions and announce it, or do nothing.

        Raises:
            PositionConflict: a position is not where the batch starts.
            psycopg.DataError: Postgres can't hold something in the batch.
        """
        rows = await self._session.execute(
            statement("project"),
            (
                _json(batch.advances),
                _json(batch.workflows.values()),
                _json(batch.instances.values()),
                _json(batch.stages.values()),
                _json(batch.activities.values()),
                _json(batch.rejections.values()),
                _json(batch.triggers.values()),
                _json(batch.occurrences),
                _json(batch.event_requests),
                self._schema,
                _json(announcements(batch)),
            ),
        )
        if not rows[0][0]:
            raise PositionConflict

    async def prune_rejections(self, retention_seconds: int) -> bool:
        """Delete some rejections that are older than this; whether there may be more."""
        deleted = await self._session.execute(statement("prune_rejections"), (retention_seconds, MAX_PRUNED))
        return len(deleted) == MAX_PRUNED


def announcements(batch: Batch) -> Iterator[str]:
    """The notifications of a batch, which `projections.queries.positions` reads: usually one."""
    positions = ((str(a.partition), (a.cause, a.next_offset)) for a in batch.advances)
    ends = iter(batch.ended)
    while True:
        some_positions = dict(itertools.islice(positions, MAX_ANNOUNCED_PARTITIONS))
        some_ends = list(itertools.islice(ends, MAX_ANNOUNCED_ENDS))
        if not some_positions and not some_ends:
            return
        announcement: dict[str, Any] = {"p": some_positions} if some_positions else {}
        if some_ends:
            announcement["e"] = some_ends
        yield _json(announcement)


def _json(value: Any) -> str:
    return _encoder.encode(list(value) if not isinstance(value, dict) else value).decode()
