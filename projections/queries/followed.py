"""Instances that streams show, read again for all of them together, over a connection of their own.

So a busy list that is followed does not make a GET wait.
"""

import contextlib
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from projections.database import FAULTS, Session
from projections.ports import Database
from projections.queries.caught_up import wait_caught_up
from projections.queries.columns import InstanceColumns
from projections.queries.errors import ReadModelUnavailable
from projections.read_rows import InstanceRow
from projections.sql import statement

TIMEOUT_SECONDS: Final = 5.0
"""Deadline of one statement; without it an absent Postgres would be noticed when the network says so."""


class FollowedInstance(NamedTuple):
    """An instance as it is now."""

    row: InstanceRow
    keys: Collection[str] = ()
    """Those that it has of the keys that were asked for."""


class FollowedInstances:
    """Reads instances. One caller at a time.

    Args:
        database: where the read model is.
    """

    def __init__(self, database: Database):
        self._session = Session(
            database, "api streams", statement_timeout_seconds=TIMEOUT_SECONDS, admit=wait_caught_up
        )

    async def read(self, ids: Sequence[UUID], keys: Collection[str] = ()) -> dict[UUID, FollowedInstance]:
        """Those that exist, as they are now.

        Args:
            ids: of the instances.
            keys: those that somebody wants to know of. Each is looked up for each instance.

        Raises:
            ReadModelUnavailable: Postgres is away or too slow.
        """
        try:
            try:
                return await self._read(ids, keys)
            except FAULTS:
                # A connection that broke while idle is only noticed by using it.
                return await self._read(ids, keys)
        except FAULTS as fault:
            raise ReadModelUnavailable(f"the read model can't be read: {fault}") from fault

    async def close(self) -> None:
        """Close the connection for good."""
        with contextlib.suppress(*FAULTS):
            await self._session.close()

    async def _read(self, ids: Sequence[UUID], keys: Collection[str]) -> dict[UUID, FollowedInstance]:
        rows = [
            InstanceColumns(*row).row() for row in await self._session.execute(statement("instances"), (list(ids),))
        ]
        keys_of: dict[UUID, set[str]] = {}
        if keys and rows:
            # Behind the rows, so that the keys are at least those that an instance had then. None is ever taken away.
            asked = (list(keys), [row.id for row in rows], [row.created_at for row in rows])
            for key, id in await self._session.execute(statement("keys_of_instances"), asked):
                keys_of.setdefault(id, set()).add(key)
        return {row.id: FollowedInstance(row, keys_of.get(row.id, ())) for row in rows}
