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


async def read_page(cursor: Cursor[F], fetch: Fetch[Row]) -> PageOf[Row]:
    """The page of a cursor.

    A page has fewer rows than its size when they are large; the next one goes on behind them. On the other side there
    was a row when the cursor was made, which may be gone since: it was deleted, or does not pass the filters any more.
    So a second, short query asks. A page that has become empty leads on to the start or the end of the list.
    """
    size, position = cursor.page_size, cursor.position
    if cursor.backwards:
        found = await fetch(before=position, limit=size)
        rows, more_before = found.rows, found.more
        more_behind = bool((await fetch(after=rows[-1].position if rows else START, limit=1)).rows)
    else:
        found = await fetch(after=position, limit=size)
        rows, more_behind = found.rows, found.more
        before = position != START and await fetch(before=rows[0].position if rows else END, limit=1)
        more_before = bool(before and before.rows)
    return PageOf(
        rows=rows,
        size=size,
        backwards=(rows[0].position if rows else END) if more_before else None,
        forwards=(rows[-1].position if rows else START) if more_behind else None,
    )
