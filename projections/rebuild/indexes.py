"""Indexes of the new schema that nothing needs while the log is read: they are made when the rows are there.

Row by row, each of them would change a page of its own for each instance; at once, they are sorted.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from psycopg import sql

from projections.postgres_connection import PostgresConnection

logger = logging.getLogger(__name__)

TABLES: Final = ("instances", "instance_keys", "occurrences", "rejections")
"""Those that have such indexes, and grow with the log. What writes batches looks rows up by primary keys alone; lists,
searches, the retention and the pruning of rejections need the others."""
LOOK_SECONDS: Final = 0.2
"""Pause between two looks at whether the indexes may be used."""
TOLD_SECONDS: Final = 10.0
"""After how long it is told what they wait for."""
MAX_WAIT_SECONDS: Final = 3600.0
"""How long the transaction of another program may hold them up. A rebuild that gives up has changed nothing."""

_FIND: Final = b"""
SELECT c.relname, pg_get_indexdef(c.oid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY($1::regclass[]) AND NOT i.indisunique
ORDER BY i.indrelid, c.relname
"""
_OLD_VERSIONS: Final = b"SELECT count(*) FROM pg_index WHERE indrelid = ANY($1::regclass[]) AND indcheckxmin"
_HOLDERS: Final = b"""
SELECT 'process ' || pid || ' (' || coalesce(nullif(application_name, ''), usename, backend_type) || ')'
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
ORDER BY xact_start NULLS LAST LIMIT 1
"""


class Index(NamedTuple):
    """An index that was taken away."""

    name: str
    definition: str
    """The statement that makes it."""


async def take_away(connection: PostgresConnection, schema: str) -> list[Index]:
    """Drop these indexes.

    Args:
        connection: to the database.
        schema: which nobody uses yet.
    """
    found = [Index(*row) for row in await connection.fetch(_FIND, (_tables(connection, schema),))]
    for index in found:
        await connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(schema, index.name)))
    return found


async def make(connection: PostgresConnection, schema: str, indexes: Sequence[Index]) -> None:
    """Make them again, and wait until they may be used. It takes as long as tables are large.

    An index over rows that were changed is not used by a transaction that might still see them as they were before. So
    as long as another program has a transaction open that began before, readers would go without it.

    Args:
        connection: to the database.
        schema: where they are.
        indexes: that were taken away.

    Raises:
        TimeoutError: another program has a transaction open for very long.
    """
    for index in indexes:
        # One each: what a transaction might still see is kept in all tables of the database.
        async with connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute(index.definition.encode())
    if await connection.fetch(_OLD_VERSIONS, (_tables(connection, schema),)) == [(0,)]:
        return
    ((made,),) = await connection.fetch(b"SELECT txid_current()", ())
    loop = asyncio.get_running_loop()
    began, told = loop.time(), False
    while await connection.fetch(b"SELECT txid_snapshot_xmin(txid_current_snapshot()) > $1", (made,)) == [(False,)]:
        waited = loop.time() - began
        if waited > MAX_WAIT_SECONDS:
            raise TimeoutError(
                f"a transaction that another program has had open for {MAX_WAIT_SECONDS:.0f} s keeps new indexes from"
                f" being used: {await _holder(connection)}. End it, and start again"
            )
        if waited > TOLD_SECONDS and not told:
            told = True
            logger.warning(
                "new indexes can't be used before a transaction of another program ends: %s", await _holder(connection)
            )
        await asyncio.sleep(LOOK_SECONDS)


async def _holder(connection: PostgresConnection) -> str:
    rows = await connection.fetch(_HOLDERS, ())
    return str(rows[0][0]) if rows else "a prepared transaction, perhaps"


def _tables(connection: PostgresConnection, schema: str) -> list[str]:
    return [sql.Identifier(schema, table).as_string(connection) for table in TABLES]
