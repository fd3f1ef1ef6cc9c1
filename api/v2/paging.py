"""A list as cursor pages: the request's cursor, the answer's envelope (contract: `http-api`, Surface v2)."""

from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import UNSET

from api.answers import Answer, json_answer
from api.calls import Call
from api.cursors import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Cursor, Cursors, F, first_page, read_page_size
from api.resources.pages import PageOf, Row
from api.routing import Parameter
from projections.read_rows import RowPosition
from schemas.resources import Page, Paged

Resource = TypeVar("Resource")


def read_cursor(call: Call, cursors: Cursors[F], read_filters: Callable[[], F]) -> Cursor[F]:
    """The page that a request asks for. If there is a cursor that is not empty, all other parameters are ignored.

    Args:
        call: the request.
        cursors: those of the list.
        read_filters: the filters of a request without a cursor.

    Raises:
        Invalid: the cursor belongs to another list, or the page size is not a number.
    """
    text = call.query("cursor")
    if text:
        return cursors.decode(text)
    return first_page(read_page_size(call.query("pageSize")), read_filters())


def page_answer(cursors: Cursors[F], cursor: Cursor[F], page: PageOf[Row], render: Callable[[Row], Resource]) -> Answer:
    """A page in its envelope.

    Args:
        cursors: those of the list.
        cursor: the page's own.
        page: its rows.
        render: makes a row a resource.
    """

    def neighbour(position: RowPosition, backwards: bool) -> str:
        return cursors.encode(Cursor(cursor.page_size, backwards, position, cursor.filters))

    shown = Page(
        page_size=page.size,
        has_more=page.forwards is not None,
        previous=UNSET if page.backwards is None else neighbour(page.backwards, True),
        next=UNSET if page.forwards is None else neighbour(page.forwards, False),
        data=[render(row) for row in page.rows],
    )
    return json_answer(200, Paged(shown))


PAGE_PARAMETERS: Final = (
    Parameter(
        name="cursor",
        where="query",
        description="The `previous` or `next` of a page of this list; all other parameters are then ignored",
    ),
    Parameter(
        name="pageSize",
        where="query",
        type={"type": "integer", "minimum": 0},
        description=(
            f"How many items a page has at most; {DEFAULT_PAGE_SIZE} when absent or 0."
            f" Values above {MAX_PAGE_SIZE} are capped at {MAX_PAGE_SIZE}."
            " A page of large items has fewer."
        ),
    ),
)
