"""The statement of a page with its parameters: a list's filters, a position, and which way to read; and its rows."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol, TypeVar
from uuid import UUID

from projections.ports import Row
from projections.read_rows import RowPosition, Slice
from projections.sql import page

T = TypeVar("T", covariant=True)

MAX_PAGE_BYTES: Final = 2 * 1024 * 1024
"""A page ends with the row that reaches this, and so does what is read at once of a streamed list. Without it a few
hundred instances of a large workflow would take the process's memory: each client that reads slowly holds its page."""

NEWEST: Final = RowPosition(datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
"""In front of all rows, so that a page without a position is the same statement as any other."""


class PageQuery(NamedTuple):
    """What to ask Postgres for a page."""

    statement: bytes
    parameters: list[Any]
    limit: int
    """Most rows of the page; one more is read, which tells whether there are others."""
    backwards: bool
    """The rows come in the opposite order."""


def page_query(
    name: str,
    after: RowPosition | None,
    before: RowPosition | None,
    limit: int,
    max_bytes: int | None = None,
    **filters: object,
) -> PageQuery:
    """The first `limit` rows behind a position, or the last in front of one.

    Args:
        name: of the file in `sql`.
        after: only those behind this position; all, when neither is given.
        before: only the last `limit` in front of this position; not together with `after`.
        limit: most rows.
        max_bytes: what the statement takes for it; `MAX_PAGE_BYTES` if not given.
        filters: by their names in the file; None or False for no filter. True has no value of its own.
    """
    if after and before:
        raise ValueError("a page is either after or before a position")
    position = after or before or NEWEST
    used = {name: value for name, value in filters.items() if value is not None and value is not False}
    # Those without a value come last, since they take no parameter.
    names = tuple(sorted(used, key=lambda name: (used[name] is True, name)))
    values = [used[name] for name in names if used[name] is not True]
    bytes_ = MAX_PAGE_BYTES if max_bytes is None else max_bytes
    parameters = [position.created_at, position.id, limit, bytes_, *values]
    return PageQuery(page(name, before is not None, names), parameters, limit, before is not None)


class Columns(Protocol[T]):
    """See `columns`."""

    @property
    def followed(self) -> bool | None:
        """Whether another row comes behind it."""

    def row(self) -> T:
        """As a row."""


def sliced(columns: Callable[..., Columns[T]], rows: list[Row]) -> Slice[T]:
    """The rows of a list. A list that exists and is empty may be one row of NULLs."""
    if not rows or all(value is None for value in rows[0]):
        return Slice([])
    found = [columns(*row) for row in rows]
    return Slice([some.row() for some in found], found[-1].followed is True)
