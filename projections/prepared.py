"""Statements that are prepared once for a connection, and whose rows are fetched at once.

psycopg's cursors can do much more, and take half as long again as all the rest of a short statement does.
"""

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import abc, generators, pq
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result

from projections.errors import NoSession
from projections.ports import Row

MAX_STATEMENTS: Final = 100
"""Of a connection; the one that was not used for longest goes. Without a limit the server would keep a plan for each
combination of filters, and for each of the tables that a batch has rows for."""

_BINARY: Final = pq.Format.BINARY
_MIXED_UP: Final = (psycopg.errors.DuplicatePreparedStatement, psycopg.errors.InvalidSqlStatementName)
"""The session has statements of others, or lacks ours: it is not ours alone."""
_OK: Final = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)

_Key = tuple[bytes, tuple[int, ...]]
"""The text of a statement, and the types of its parameters."""


class _Prepared:
    """A statement that the server knows.

    Args:
        name: what the server calls it.
        transformer: makes its rows; once it has seen a result, it knows how.
    """

    def __init__(self, name: bytes, transformer: abc.Transformer):
        self.name = name
        self._transformer = transformer
        self._knows_columns = False

    def rows(self, result: pq.abc.PGresult) -> list[Row]:
        """The rows of a result."""
        transformer = self._transformer
        transformer.set_pgresult(result, set_loaders=not self._knows_columns)
        self._knows_columns = True
        try:
            return transformer.load_rows(0, result.ntuples, tuple)
        finally:
            transformer.set_pgresult(None, set_loaders=False)  # which may be large


class PreparedStatements:
    """The statements of one connection, which runs one at a time.

    Args:
        connection: with the server.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]):
        self._connection = connection
        self._dumper: abc.Transformer = Transformer(connection)
        self._prepared: dict[_Key, _Prepared] = {}
        self._made = 0

    def fetch(self, query: bytes, parameters: Sequence[Any]) -> PQGen[list[Row]]:
        """Run a statement with parameters `$1`, … and fetch its rows, in binary format.

        Returns:
            What the connection has to wait for.

        Raises:
            psycopg.Error: as a cursor does.
        """
        dumper = self._dumper
        values = dumper.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        key = query, dumper.types or ()
        formats = dumper.formats
        prepared = self._prepared.pop(key, None)
        if prepared is None:
            prepared = yield from self._prepare(key)
        self._prepared[key] = prepared  # at the end: it is the one that was used last
        self._connection.pgconn.send_query_prepared(prepared.name, values, formats, result_format=_BINARY)
        return prepared.rows((yield from self._result()))

    def _prepare(self, key: _Key) -> PQGen[_Prepared]:
        pgconn = self._connection.pgconn
        if len(self._prepared) >= MAX_STATEMENTS:
            oldest = self._prepared.pop(next(iter(self._prepared)))
            pgconn.send_query_params(b"DEALLOCATE " + oldest.name, None)
            yield from self._result()
        self._made += 1
        name = b"ours_%d" % self._made
        pgconn.send_prepare(name, *key)
        yield from self._result()
        return _Prepared(name, Transformer(self._connection))

    def _result(self) -> PQGen[pq.abc.PGresult]:
        results: list[pq.abc.PGresult] = yield from generators.execute(self._connection.pgconn)
        for result in results:
            if result.status not in _OK:  # a pooler tells what the server said at its end, and then that it has ended
                error = error_from_result(result, self._dumper.encoding)
                if isinstance(error, _MIXED_UP):
                    raise NoSession from error
                raise error
        if len(results) != 1:
            raise psycopg.InternalError(f"a statement has {len(results)} results")
        return results[0]
