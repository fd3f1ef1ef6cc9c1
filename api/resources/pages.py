"""Pages of a list: rows next to a position, and whether there are more on either side."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from api.cursors import END, START, Cursor, F
from projections.read_rows import RowPosition, Slice


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
    does not pass the filters any more. A second, short query asks, where the first has not told. A page that has become
    empty leads on to the start or the end of the list.

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
        more_before, more_behind = found.more, await _preceded(found, partial(peek, after=last))
    else:
        found = await fetch(after=position, limit=size)
        first, last = found.reached or END, found.reached or START
        if found.rows:
            first, last = found.rows[0].position, found.reached or found.rows[-1].position
        more_before = position != START and await _preceded(found, partial(peek, before=first))
        more_behind = found.more
    return PageOf(
        rows=found.rows,
        size=size,
        backwards=first if more_before else None,
        forwards=last if more_behind else None,
    )


async def _preceded(found: Slice[Row], peek: Callable[..., Awaitable[Slice[Row]]]) -> bool:
    """Whether there is a row on the other side of where reading began, or may be one further on."""
    if found.preceded is not None:
        return found.preceded
    other = await peek(limit=1)
    return bool(other.rows) or other.more
