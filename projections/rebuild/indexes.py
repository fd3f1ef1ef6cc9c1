"""Indexes of the new schema that only readers need: they are made when the rows are there.

Row by row, each of them would change a page of its own for each instance; at once, they are sorted.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from psycopg import sql

from projections.postgres_connection import PostgresConnection

TABLES: Final = ("instances", "instance_keys", "occurrences", "rejections")
"""Those that have such indexes, and grow with the log. No statement of the projections looks rows up by these."""

_FIND: Final = """
SELECT c.relname, pg_get_indexdef(c.oid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY(%s::regclass[]) AND NOT i.indisunique
ORDER BY i.indrelid, c.relname
"""


class Index(NamedTuple):
    """An index that was taken away."""

    name: str
    definition: str
    """The statement that makes it."""


async def take_away(connection: PostgresConnection, schema: str) -> list[Index]:
    """Drop the indexes that only readers need.

    Args:
        connection: to the database.
        schema: which nobody uses yet.
    """
    tables = [sql.Identifier(schema, table).as_string(connection) for table in TABLES]
    cursor: Any = await connection.execute(_FIND, (tables,))
    found = [Index(*row) for row in await cursor.fetchall()]
    for index in found:
        await connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(schema, index.name)))
    return found


async def make(connection: PostgresConnection, indexes: Sequence[Index]) -> None:
    """Make them again. It takes as long as tables are large."""
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        for index in indexes:
            await connection.execute(index.definition.encode())
