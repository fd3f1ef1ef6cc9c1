"""Pages of small instances: which rows make one, and which have to be read in another way."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.queries.small_instances import small_instances

AT = datetime(2026, 1, 1, tzinfo=UTC)
ID, WORKFLOW = uuid.UUID(int=1), uuid.UUID(int=2)


def row(number: int | None, id: uuid.UUID = ID, *, whole: bool = False) -> tuple[Any, ...]:
    """A row as the statement answers it; with the workflow if it is the first one of an instance."""
    instance = (id, WORKFLOW, AT, AT, None, None, None, None, None, None, None, None, None, None)
    workflow = ("w", "{}", AT, AT, None, None, None) if whole else (None,) * 7
    return (*instance, *workflow, number, None if number is None else AT, None, None)


def test_the_stages_of_an_instance() -> None:
    rows = [row(0, whole=True), row(1), row(2), row(None, uuid.UUID(int=3), whole=True)]
    page = small_instances(5, rows)
    assert page is not None
    assert [[stage.number for stage in instance.stages] for instance in page.rows] == [[0, 1, 2], []]
    assert not page.more


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([row(0, whole=True), row(2), row(1)], id="stages in another order"),
        pytest.param([row(1), row(0, whole=True)], id="another stage first"),
        pytest.param([row(0)], id="not small"),
    ],
)
def test_what_is_read_in_another_way(rows: list[tuple[Any, ...]]) -> None:
    assert small_instances(5, rows) is None
