"""What an operator's repair needs of the read model: its positions, which it may move, and the definitions.

The rest of a repair is in `deploy.repair`.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from projections.database import FAULTS, Postgres, Session
from projections.errors import StoreAway
from projections.ports import Row
from projections.rows import ReadPosition
from projections.sql import statement
from schemas.current import Current, CurrentTrigger, CurrentWorkflow
from schemas.settings import PostgresSettings

STATEMENT_TIMEOUT_SECONDS: Final = 30.0
"""Deadline of one statement. All definitions are read at once."""

CREATED: Final = 1
"""The version of a definition: that of the event that has created it."""


class _DefinitionColumns(NamedTuple):
    """Of `current_definitions`: a workflow has a definition, a trigger the rest."""

    id: UUID
    definition: str | None
    max_attempts: int | None
    event: str | None
    version: str | None
    workflow_id: UUID | None
    filter: str | None
    vars: str | None

    def current(self) -> Current:
        """As topic `definitions` has it."""
        if self.definition is not None:
            workflow = CurrentWorkflow(stages=Raw(self.definition.encode()), max_attempts=self.max_attempts)
            return Current(str(self.id), CREATED, workflow)
        trigger = CurrentTrigger(
            event=self.event or "",
            version=self.version,
            workflow_id=str(self.workflow_id),
            filter=self.filter,
            vars=None if self.vars is None else msgspec.json.decode(self.vars, type=dict[str, str]),
        )
        return Current(str(self.id), CREATED, trigger)


class ReadModelRepairs:
    """The read model, for a repair. Every method raises `StoreAway` if it can't be reached.

    Args:
        settings: where it is.
    """

    def __init__(self, settings: PostgresSettings):
        self._session = Session(
            Postgres(settings),
            "repair",
            statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
            # A move that is answered must outlive a crash: the fillers that it goes with do.
            parameters={"synchronous_commit": "on", "enable_seqscan": "on"},
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def positions(self) -> dict[int, ReadPosition]:
        """How far each partition is that the read model knows."""
        rows = await self._execute("all_positions")
        return {partition: ReadPosition(*rest) for partition, *rest in rows}

    async def move(self, partition: int, known: ReadPosition, to: ReadPosition) -> bool:
        """Move a position, with all but its cause; False if it is not where it is known to be."""
        moved = await self._execute(
            "move_position", (partition, known.next_offset, known.epoch, to.next_offset, to.epoch, to.topic_id)
        )
        return bool(moved)

    async def definitions(self) -> list[Current]:
        """All workflows and triggers that are not deleted, as topic `definitions` has them."""
        return [_DefinitionColumns(*row).current() for row in await self._execute("current_definitions")]

    async def _execute(self, name: str, parameters: Sequence[Any] = ()) -> list[Row]:
        try:
            return await self._session.execute(statement(name), parameters)
        except FAULTS as fault:
            raise StoreAway(
                f"Postgres can't be reached, or is not migrated: {fault or type(fault).__name__}"
            ) from fault
