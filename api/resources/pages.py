"""Pages of a list: rows next to a position, and whether there are more on either side."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from api.cursors import END, START, Cursor, F
from projections.queries.rows import RowPosition, Slice


class Placed(Protocol):
    """A row that has its place in a list."""

    @property
    def position(self) -> RowPosition:
        """Newest first."""


Row = TypeVar("Row", bound=Placed)
Read = TypeVar("Read", bound=Placed)


class Fetch(Protocol[Read]):
    """Reads rows next to a position, newest first."""

    async def __call__(
        self, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[Read]:
        """The first `limit` rows behind `after`, or the last in front of `before`; fewer when they are large."""


class PageOf(Struct, Generic[Row], frozen=True):
    """A page. Its neighbours are given where there are any."""

    rows: Sequence[Row]
    size: int
    """Most rows of it; large rows make it shorter."""
    backwards: RowPosition | None
    """The page in front of this position comes before."""
    forwards: RowPosition | None
    """The page behind this position comes next."""


async def read_page(cursor: Cursor[F], fetch: Fetch[Row], peek: Fetch[Row] | None = None) -> PageOf[Row]:
    """The page of a cursor.

    A page has fewer rows than its size when they are large, or when it takes long to find them; the next one goes on
    behind them. On the other side there was a row when the cursor was made, which may be gone since: it was deleted, or
    does not pass the filters any more. So a second, short query asks. A page that has become empty leads on to the
    start or the end of the list.

    Args:
        cursor: which page.
        fetch: reads it.
        peek: looks for one row on the other side; `fetch` does, if it is not given.
    """
    size, position = cursor.page_size, cursor.position
    peek = peek or fetch
    if cursor.backwards:
        found = await fetch(before=position, limit=size)
        first, last = found.reached or END, found.reached or START
        if found.rows:
            first, last = found.reached or found.rows[0].position, found.rows[-1].position
        more_before, more_behind = found.more, _any(await peek(after=last, limit=1))
    else:
        found = await fetch(after=position, limit=size)
        first, last = found.reached or END, found.reached or START
        if found.rows:
            first, last = found.rows[0].position, found.reached or found.rows[-1].position
        more_before, more_behind = position != START and _any(await peek(before=first, limit=1)), found.more
    return PageOf(
        rows=found.rows,
        size=size,
        backwards=first if more_before else None,
        forwards=last if more_behind else None,
    )


def _any(found: Slice[Row]) -> bool:
    """Whether there is a row, or may be one further on."""
    return bool(found.rows) or found.more
