"""Reads what operations need of the read model, over one connection that is kept."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from projections.database import Session
from projections.ports import Database
from projections.queries.bulks import BulkRow, Running, fits, running
from projections.queries.caught_up import wait_caught_up
from projections.queries.columns import InstanceColumns
from projections.queries.connections import IN_ORDER
from projections.queries.instance_filters import instances_query
from projections.queries.retryable import retryable_query, retryable_row
from projections.queries.searching import instances_slice
from projections.read_rows import InstanceRow, RetryableRow, RowPosition
from projections.sql import statement
from schemas.topics import partition_of

STATEMENT_TIMEOUT_SECONDS: Final = 10.0
"""Deadline of one statement. A page of a filter that few instances pass may take seconds."""


class Found(NamedTuple):
    """Instances that an operation is about."""

    places: list[RowPosition]
    """Newest first."""
    behind: RowPosition | None
    """Where to read on; None if there are no others."""


class Reads:
    """Reads. Every method raises one of `projections.database.FAULTS` while Postgres is away or behind.

    What Postgres showed before it crashed it shows again before anything is read of it. Otherwise a page would leave
    out instances that are not back yet.

    Args:
        database: with the read model.
    """

    def __init__(self, database: Database):
        self._session = Session(
            database,
            "bulk",
            statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
            parameters=IN_ORDER,
            admit=wait_caught_up,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def running(self, partitions: Collection[int]) -> Running:
        """The operations of some partitions that have not ended."""
        return running(await self._session.execute(statement("running_bulks"), (list(partitions),)))

    async def instances(self, ids: Sequence[str]) -> dict[str, InstanceRow]:
        """Instances by id; what does not exist is left out."""
        rows = await self._session.execute(statement("instances"), ([UUID(id) for id in ids],))
        return {str(row.id): row for row in (InstanceColumns(*some).row() for some in rows)}

    async def retryable(self, ids: Sequence[str], partitions: int) -> dict[str, RetryableRow]:
        """What retries of instances go on with, by id; what does not exist is left out.

        Args:
            ids: the instances.
            partitions: how many of `events` are used.
        """
        found: dict[str, RetryableRow] = {}
        for id in ids:
            query = retryable_query(UUID(id), partition_of(id.encode(), partitions))
            if (row := retryable_row(UUID(id), await self._session.execute(*query))) is not None:
                found[id] = row
        return found

    async def next_page(self, bulk: BulkRow, behind: RowPosition | None, limit: int) -> Found:
        """The next instances that an operation is about, at most so many.

        Args:
            bulk: the operation.
            behind: begin behind this place; behind the last page, if it is None.
            limit: most rows that are read.

        Raises:
            msgspec.MsgspecError: this build does not know its filter.
            RowUnreadable: it can't read an instance that the filter finds.
        """
        query = instances_query(bulk.filters, behind or _behind(bulk), None, limit)
        rows = (await self._session.execute(query.statement, query.parameters))[: query.limit]
        found = instances_slice(rows)
        last = found.rows[-1].position if found.rows else None
        return Found(
            [row.position for row in found.rows if fits(bulk.action, row)],
            (found.reached or last) if found.more else None,
        )


def _behind(bulk: BulkRow) -> RowPosition:
    """Where the next page begins: behind the last one, or with the newest that was there before the operation."""
    if bulk.page_at is None or not bulk.pages:
        return RowPosition(bulk.page_at or bulk.created_at, UUID(int=0))
    return RowPosition(bulk.page_at, UUID(bulk.page[-1]))
