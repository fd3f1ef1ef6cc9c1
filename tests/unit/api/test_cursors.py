"""Cursors into text and back, and the pages that they stand for (contract: `http-api`, Surface v2)."""

import asyncio
import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct

from api.cursors import END, FOREIGN, MAX_PAGE_SIZE, START, Cursor, Cursors, first_page, read_page_size
from api.errors import Invalid
from api.resources.instance_filters import MAX_ERROR_CHARACTERS, MAX_WORKFLOWS, CursorFilters
from api.resources.pages import PageOf, read_page
from projections.keys import MAX_KEY_CHARACTERS
from projections.queries.instance_filters import InstanceFilters
from projections.read_rows import RowPosition, Slice
from schemas.settings import ApiSettings
from tests.unit.api.fakes import Backend, make_client

SETTINGS = ApiSettings()
KIND = Cursor[CursorFilters]

positions = st.builds(RowPosition, st.datetimes(timezones=st.just(UTC)), st.uuids())
cursors = st.builds(
    Cursor,
    st.integers(1, MAX_PAGE_SIZE),
    st.booleans(),
    positions,
    st.builds(CursorFilters, st.none() | st.uuids(), st.booleans()),
)
CURSOR = Cursor(2, False, RowPosition(datetime(2026, 3, 1, 10, tzinfo=UTC), UUID(int=7)), CursorFilters(None, True))


def of(name: str = "instances", **settings: Any) -> Cursors[CursorFilters]:
    return Cursors(ApiSettings(**settings), name, KIND)


@given(cursors)
@example(Cursor(1, True, START, CursorFilters(None, False)))
@example(Cursor(1, True, END, CursorFilters(None, False)))
def test_a_cursor_survives_its_text(cursor: Cursor[CursorFilters]) -> None:
    text = of().encode(cursor)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,120}", text)
    assert of().decode(text) == cursor


def test_replicas_accept_each_others_cursors() -> None:
    given: tuple[dict[str, Any], ...] = ({}, {"cursor_secret": "s"}, {"database_schema": "x"})
    for settings in given:
        other = {**settings, "port": 1, "database_url": "postgresql://elsewhere"}
        assert of(**other).decode(of(**settings).encode(CURSOR)) == CURSOR


@pytest.mark.parametrize(
    "maker",
    [
        of("workflows"),
        of("instance"),
        of(cursor_secret="other"),
        of(database_schema="other"),
    ],
)
def test_a_cursor_of_another_list_or_installation_is_refused(maker: Cursors[CursorFilters]) -> None:
    with pytest.raises(Invalid):
        of().decode(maker.encode(CURSOR))


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "e30",
        "djE6cA",
        "A" * 12,
        "A" * 80,
        "é" * 12,
        "%",
        " ",
        "\0",
        of().encode(CURSOR) + "=",
        of().encode(CURSOR) + "A",
        of().encode(CURSOR) + " ",
        of().encode(CURSOR)[:-1],
        of().encode(CURSOR).swapcase(),
        "A" * 60_000,
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        of().decode(text)


def test_every_change_of_a_character_is_noticed() -> None:
    text = of().encode(CURSOR)
    for index, character in enumerate(text):
        for other in "Aa0-_":
            if other != character:
                with pytest.raises(Invalid):
                    of().decode(text[:index] + other + text[index + 1 :])


def test_a_cursor_of_another_build_is_refused() -> None:
    """Its checksum is right, its content is not."""

    class Other(Struct, array_like=True):
        page_size: int = 0

    made: Any = Cursors(SETTINGS, "instances", Other)  # type: ignore[arg-type]
    for content in (Other(), Other(2), {"page_size": 2}, CURSOR.page_size):
        with pytest.raises(Invalid):
            of().decode(made.encode(content))


@pytest.mark.parametrize(
    "filters",
    [
        InstanceFilters(workflow_ids=(UUID(int=1),) * (MAX_WORKFLOWS + 1)),
        InstanceFilters(key="k" * (MAX_KEY_CHARACTERS + 1)),
        InstanceFilters(error="e" * (MAX_ERROR_CHARACTERS + 1)),
        InstanceFilters(key="k\0"),
        InstanceFilters(error="\0"),
        InstanceFilters(created_after=datetime(2026, 3, 1)),
        InstanceFilters(terminated_before=datetime(2026, 3, 1)),
    ],
)
async def test_a_forged_cursor_asks_for_no_more_than_a_query_may(filters: InstanceFilters) -> None:
    client = make_client(Backend())
    text = of().encode(Cursor(1000, False, START, CursorFilters(None, False, filters)))
    answer = await client.call("GET", f"/v2/instances?cursor={text}")
    assert answer.error == (400, "VALIDATION")
    assert answer.json()["errorMessage"] == FOREIGN


def test_a_forged_position_has_a_time_zone() -> None:
    text = of().encode(Cursor(1000, False, RowPosition(datetime(2026, 3, 1), UUID(int=1)), CURSOR.filters))
    with pytest.raises(Invalid):
        of().decode(text)


def test_a_cursor_is_short() -> None:
    cursor = Cursor(MAX_PAGE_SIZE, True, CURSOR.position, CursorFilters(UUID(int=2**127), True))
    text = of().encode(cursor)
    assert len(text) < 100
    assert b"instances" not in base64.urlsafe_b64decode(text + "==")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, 15),
        ("", 15),
        ("0", 15),
        ("000", 15),
        ("1", 1),
        ("15", 15),
        ("007", 7),
        ("999", 999),
        ("1000", 1000),
        ("1001", 1000),
        ("0001000", 1000),
        ("9" * 5000, 1000),
        ("0" * 5000 + "3", 3),
    ],
)
def test_page_sizes(text: str | None, size: int) -> None:
    assert read_page_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["-1", "-0", "+5", " 5", "5 ", "5.0", "1e2", "0x5", "abc", "null", "1_0", "٣", "²", "5\n", "0" * 60_000 + "x"],
)
def test_what_is_no_page_size(text: str) -> None:
    with pytest.raises(Invalid):
        read_page_size(text)


class Item(Struct, frozen=True, order=True):
    """A row; its number is its place, the highest first."""

    number: int

    @property
    def position(self) -> RowPosition:
        # Two of each instant, so that the id decides between them.
        return RowPosition(
            datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.number // 2), UUID(int=self.number)
        )


class Items:
    """A list in memory that rows come to and go from.

    A row whose number can be divided by `room` is the last of its page, as a large one is. With `tells`, a page that is
    not empty says whether it is preceded.
    """

    def __init__(self, numbers: set[int], room: int = 1000, *, tells: bool = False):
        self.numbers = numbers
        self.room = room
        self.tells = tells

    async def __call__(
        self, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[Item]:
        all_rows = [Item(number) for number in sorted(self.numbers, reverse=True)]
        if before is not None:
            rows = [row for row in all_rows if row.position > before]
            fit = self._fit(rows[::-1], limit)
            return Slice(rows[-fit:] if fit else [], len(rows) > fit, preceded=self._preceded(rows, all_rows))
        rows = [row for row in all_rows if after is None or row.position < after]
        fit = self._fit(rows, limit)
        return Slice(rows[:fit], len(rows) > fit, preceded=self._preceded(rows, all_rows))

    def _preceded(self, rows: list[Item], all_rows: list[Item]) -> bool | None:
        return len(rows) < len(all_rows) if self.tells and rows else None

    def _fit(self, rows: list[Item], limit: int) -> int:
        full = (place for place, row in enumerate(rows, 1) if row.number % self.room == 0)
        return min(next(full, limit), limit, len(rows))

    def page(self, cursor: Cursor[None]) -> PageOf[Item]:
        return asyncio.run(read_page(cursor, self))


def numbers_of(page: PageOf[Item]) -> list[int]:
    return [row.number for row in page.rows]


def go(page: PageOf[Item], backwards: bool) -> Cursor[None] | None:
    """The neighbour's cursor, as a client carries it."""
    position = page.backwards if backwards else page.forwards
    if position is None:
        return None
    codec = Cursors(SETTINGS, "items", Cursor[None])
    return codec.decode(codec.encode(Cursor(page.size, backwards, position, None)))


numbers = st.sets(st.integers(0, 60), max_size=30)
sizes = st.integers(1, 12)


@given(numbers, sizes, st.booleans())
def test_a_walk_there_and_back_shows_each_row_once_and_in_order(
    given_numbers: set[int], size: int, tells: bool
) -> None:
    items = Items(given_numbers, tells=tells)
    ordered = sorted(given_numbers, reverse=True)
    pages = [items.page(first_page(size, None))]
    while (cursor := go(pages[-1], backwards=False)) is not None:
        pages.append(items.page(cursor))
    assert [n for page in pages for n in numbers_of(page)] == ordered
    assert all(len(page.rows) == size for page in pages[:-1])
    assert [page.backwards is None for page in pages] == [True] + [False] * (len(pages) - 1)
    back = [pages[-1]]
    while (cursor := go(back[-1], backwards=True)) is not None:
        back.append(items.page(cursor))
    assert [n for page in reversed(back) for n in numbers_of(page)] == ordered
    assert [numbers_of(page) for page in reversed(back)] == [numbers_of(page) for page in pages]
    assert [page.forwards is None for page in back] == [True] + [False] * (len(back) - 1)


@given(numbers, sizes, st.integers(1, 9))
def test_large_rows_make_pages_shorter_and_nothing_else(given_numbers: set[int], size: int, room: int) -> None:
    items = Items(given_numbers, room)
    for backwards in (False, True):
        page = items.page(first_page(size, None) if not backwards else Cursor(size, True, END, None))
        pages = [page]
        while (cursor := go(pages[-1], backwards)) is not None:
            pages.append(items.page(cursor))
            assert len(pages[-1].rows) in range(1, size + 1)
        ordered = sorted(given_numbers, reverse=not backwards)
        assert [n for page in pages for n in (numbers_of(page)[::-1] if backwards else numbers_of(page))] == ordered
        ends = [page.backwards is None if backwards else page.forwards is None for page in pages]
        assert ends == [False] * (len(pages) - 1) + [True]


@given(numbers, sizes, st.lists(numbers, max_size=20))
def test_rows_that_arrive_in_between_are_neither_skipped_nor_repeated(
    given_numbers: set[int], size: int, arrivals: list[set[int]]
) -> None:
    items = Items(set(given_numbers))
    for backwards in (False, True):
        there = set(items.numbers)
        page = items.page(first_page(size, None) if not backwards else Cursor(size, True, END, None))
        seen = numbers_of(page)
        while (cursor := go(page, backwards)) is not None:
            if arrivals:
                items.numbers |= arrivals.pop()
            page = items.page(cursor)
            assert page.rows
            seen = numbers_of(page) + seen if backwards else seen + numbers_of(page)
        assert seen == sorted(set(seen), reverse=True)
        assert there <= set(seen) <= items.numbers


@given(numbers, sizes, st.lists(st.tuples(st.booleans(), numbers), max_size=8), st.booleans())
def test_neighbours_are_shown_where_there_are_any(
    given_numbers: set[int], size: int, moves: list[tuple[bool, set[int]]], tells: bool
) -> None:
    """Whatever was deleted since the cursor was made: nothing is out of reach, and no neighbour is empty."""
    items = Items(set(given_numbers), tells=tells)
    page = items.page(first_page(size, None))
    for backwards, deleted in moves:
        cursor = go(page, backwards)
        if cursor is None:
            continue
        items.numbers -= deleted
        page = items.page(cursor)
        shown = numbers_of(page)
        assert len(shown) <= size
        for way, others in (
            (False, [n for n in items.numbers if not shown or n < min(shown)]),
            (True, [n for n in items.numbers if not shown or n > max(shown)]),
        ):
            neighbour = go(page, way)
            if shown:
                assert (neighbour is not None) == bool(others)
            if neighbour is not None:
                assert numbers_of(items.page(neighbour))
        if not shown and items.numbers:
            assert (page.backwards is None) != (page.forwards is None)


@pytest.mark.parametrize(("tells", "of_next"), [(False, [3, 1]), (True, [3])])
def test_the_plain_first_page_costs_one_query_and_the_next_one_more_if_the_list_does_not_tell(
    tells: bool, of_next: list[int]
) -> None:
    asked: list[int] = []

    class Counted(Items):
        async def __call__(self, **place: Any) -> Slice[Item]:
            asked.append(place["limit"])
            return await super().__call__(**place)

    items = Counted(set(range(9)), tells=tells)
    page = items.page(first_page(3, None))
    assert asked == [3]
    assert (numbers_of(page), page.backwards) == ([8, 7, 6], None)
    cursor = go(page, backwards=False)
    assert cursor is not None
    page = items.page(cursor)
    assert asked[1:] == of_next
    assert (numbers_of(page), page.backwards) == ([5, 4, 3], page.rows[0].position)
