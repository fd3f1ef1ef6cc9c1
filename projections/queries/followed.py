"""Instances that streams show, read again for all of them together, over a connection of their own.

So a busy list that is followed does not make a GET wait.
"""

import contextlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from projections.database import FAULTS, Session
from projections.ports import Database, Row
from projections.queries.caught_up import wait_caught_up
from projections.queries.columns import InstanceColumns
from projections.queries.errors import ReadModelUnavailable
from projections.queries.rows import InstanceRow
from projections.sql import statement

TIMEOUT_SECONDS: Final = 5.0
"""Deadline of one statement; without it an absent Postgres would be noticed when the network says so."""


class FollowedInstances:
    """Reads instances. One caller at a time.

    Args:
        database: where the read model is.
    """

    def __init__(self, database: Database):
        self._session = Session(
            database, "api streams", statement_timeout_seconds=TIMEOUT_SECONDS, admit=wait_caught_up
        )

    async def read(self, ids: Sequence[UUID]) -> dict[UUID, InstanceRow]:
        """Those that exist, as they are now.

        Raises:
            ReadModelUnavailable: Postgres is away or too slow.
        """
        try:
            try:
                rows = await self._read(ids)
            except FAULTS:
                # A connection that broke while idle is only noticed by using it.
                rows = await self._read(ids)
        except FAULTS as fault:
            raise ReadModelUnavailable(f"the read model can't be read: {fault}") from fault
        found = (InstanceColumns(*row).row() for row in rows)
        return {row.id: row for row in found}

    async def close(self) -> None:
        """Close the connection for good."""
        with contextlib.suppress(*FAULTS):
            await self._session.close()

    async def _read(self, ids: Sequence[UUID]) -> list[Row]:
        return await self._session.execute(statement("instances"), (list(ids),))
