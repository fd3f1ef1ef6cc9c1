"""What can go wrong in the projections. The docstring is the default message; it names cause and remedy.

`PositionConflict`, `StoreAway` and `BatchRefused` are part of normal work. After the others an operator has to act.
"""

import psycopg


class NoSession(psycopg.OperationalError):
    """A connection pooler mixes up our sessions. Give each client one of its own (PgBouncer: pool_mode=session)."""

    def __init__(self) -> None:
        super().__init__(str(self.__doc__))


class ProjectionsError(Exception):
    """The projections can't go on."""

    def __init__(self, message: str | None = None):
        super().__init__(message or self.__doc__)


class PositionConflict(ProjectionsError):
    """Another projector, or a rebuild, moved a position of this batch; nothing was written. Reload the positions."""


class StoreAway(ProjectionsError):
    """Postgres is away, too slow, in trouble or not migrated yet. It is unknown what was written. Try again."""


class BatchRefused(ProjectionsError):
    """Postgres can't hold something in the batch; nothing was written. Find the event and skip it."""


class MigrationChanged(ProjectionsError):
    """A migration differs from what was applied. Restore its text and put the change into a new migration."""


class SchemaTooNew(ProjectionsError):
    """The database holds migrations that this build does not know. Run a build that is at least as new."""


class TablesInUse(ProjectionsError):
    """Transactions of other programs use the tables of the read model. End them, and migrate again."""


class WrongEncoding(ProjectionsError):
    """The database does not hold all characters. Create one with ENCODING 'UTF8', from template0."""


class RowsWouldBeLost(ProjectionsError):
    """The log does not hold everything that the read model shows. Keep the read model."""


class RebuildInProgress(ProjectionsError):
    """Another rebuild of this schema, or a migration, is under way. Wait for it, or end it, before starting one."""
