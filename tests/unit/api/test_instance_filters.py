"""The filters of instances, in queries, objects and cursors."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from api.cursors import START, Cursor, Cursors
from api.errors import Invalid
from api.resources.instance_filters import (
    NO_WORKFLOW,
    CursorFilters,
    filters_of_body,
    filters_of_query,
    from_cursor,
    of_workflow,
    to_cursor,
)
from projections.queries.instance_filters import EVERY_INSTANCE, InstanceFilters
from schemas.settings import ApiSettings

WORKFLOW = UUID("6e0c0000-0000-0000-0000-000000000001")
OTHER = UUID("6e0c0000-0000-0000-0000-000000000002")


def at(hour: int, microsecond: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, microsecond=microsecond, tzinfo=UTC)


def of_query(**given: list[str]) -> InstanceFilters:
    return filters_of_query(given)


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ({}, EVERY_INSTANCE),
        ({"workflowID": [""], "running": [""]}, EVERY_INSTANCE),
        ({"workflowID": [str(WORKFLOW).upper()]}, InstanceFilters(workflow_ids=(WORKFLOW,))),
        ({"workflowID": ["abc"]}, InstanceFilters(workflow_ids=(NO_WORKFLOW,))),
        ({"running": ["TRUE"]}, InstanceFilters(running=True)),
        ({"running": ["0", "1"]}, EVERY_INSTANCE),
        ({"running": ["", "1"], "key": ["", "a-1"]}, InstanceFilters(running=True, key="a-1")),
        ({"state": [""], "key": [""], "error": [""], "createdAfter": [""]}, EVERY_INSTANCE),
        (
            {"workflowID": [str(OTHER), "", str(WORKFLOW), str(OTHER)]},
            InstanceFilters(workflow_ids=(WORKFLOW, OTHER)),
        ),
        ({"state": ["paused", "failed", "paused"]}, InstanceFilters(states=("paused", "failed"))),
        ({"key": ["  Order-\0É "]}, InstanceFilters(key="order-\ufffdé")),
        ({"key": ["  "]}, EVERY_INSTANCE),
        ({"key": ["k" * 128], "error": ["e" * 200]}, InstanceFilters(key="k" * 128, error="e" * 200)),
        ({"error": ["No \0 Funds"]}, InstanceFilters(error="No \ufffd Funds")),
        (
            {"createdAfter": ["2026-03-01"], "createdBefore": ["2026-03-01T10:00:00.5Z"]},
            InstanceFilters(created_after=at(0), created_before=at(10, 500_000)),
        ),
        (
            # The plus of the second one was not encoded.
            {"terminatedAfter": ["2026-03-01T10:00:00+02:00"], "terminatedBefore": ["2026-03-01T10:00:00 01:00"]},
            InstanceFilters(terminated_after=at(8), terminated_before=at(9)),
        ),
    ],
)
def test_filters_of_a_query(query: dict[str, list[str]], filters: InstanceFilters) -> None:
    assert of_query(**query) == filters
    assert msgspec.json.decode(msgspec.json.encode(filters), type=InstanceFilters) == filters


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"workflowID": [str(UUID(int=n)) for n in range(21)]}, "workflowID: must not be given more than 20 times"),
        ({"state": ["failed", "ended"]}, "state: must be one of running, waiting, delayed, "),
        ({"key": ["a", "b"]}, "key: must be given once"),
        ({"key": ["k" * 129]}, "key: has more than 128 characters"),
        ({"error": ["e" * 201]}, "error: must have at most 200 characters"),
        ({"createdAfter": ["yesterday"]}, "createdAfter: must be a time such as 2026-"),
        ({"createdBefore": ["2026-03-01T10:00:00"]}, "createdBefore: must be a time such as 2026-"),
        ({"terminatedAfter": ["2026-02-30"]}, "terminatedAfter: must be a time such as 2026-"),
        ({"terminatedBefore": ["0001-01-01T00:00:00+01:00"]}, "terminatedBefore: must be a time such as 2026-"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(query: dict[str, list[str]], message: str) -> None:
    with pytest.raises(Invalid) as raised:
        of_query(**query)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("body", "filters"),
    [
        ({}, EVERY_INSTANCE),
        ({"workflowID": str(WORKFLOW), "running": True}, InstanceFilters(workflow_ids=(WORKFLOW,), running=True)),
        ({"workflowID": [str(WORKFLOW)], "running": False}, InstanceFilters(workflow_ids=(WORKFLOW,))),
        ({"running": "true"}, InstanceFilters(running=True)),
        ({"running": "FALSE"}, EVERY_INSTANCE),
        (
            {
                "state": ["failed"],
                "key": "A-1",
                "error": "x",
                "createdAfter": "2026-03-01",
                "terminatedBefore": "2026-03-01",
            },
            InstanceFilters(states=("failed",), key="a-1", error="x", created_after=at(0), terminated_before=at(0)),
        ),
    ],
)
def test_filters_of_an_object(body: Any, filters: InstanceFilters) -> None:
    assert filters_of_body(body) == filters
    # What is stored of a filter is such an object again.
    assert filters_of_body(msgspec.json.decode(msgspec.json.encode(filters))) == filters


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "filter: must be an object"),
        ([], "filter: must be an object"),
        ({"workflow": "x"}, "filter: there is no 'workflow'; use "),
        ({"workflowID": 1}, "filter: workflowID must be a string or a list of strings"),
        ({"workflowID": ["a", 1]}, "filter: workflowID must be a string or a list of strings"),
        *(
            ({"state": "failed", "workflowID": empty}, "filter: workflowID has no value; leave it out")
            for empty in ("", None, [], [""], ["a", None], " ")
        ),
        ({"running": ""}, "filter: running has no value"),
        ({"running": "yes"}, "filter: running must be true or false"),
        ({"running": ["false", "true"]}, "filter: running must be true or false"),
    ],
)
def test_an_object_that_is_not_a_filter_is_refused(body: Any, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        filters_of_body(body)
    assert str(raised.value).startswith(message)


def test_cursors_of_older_builds_go_on() -> None:
    class Old(msgspec.Struct, frozen=True, array_like=True):
        workflow_id: UUID | None
        running: bool

    old = Cursors(ApiSettings(), "instances", Cursor[Old])
    new = Cursors(ApiSettings(), "instances", Cursor[CursorFilters])
    for filters in (of_workflow(None), of_workflow(str(WORKFLOW), True)):
        given = to_cursor(filters)
        text = old.encode(Cursor(5, False, START, Old(given.workflow_id, given.running)))
        assert from_cursor(new.decode(text).filters) == filters
        # And a replica of the older build reads ours.
        there = old.decode(new.encode(Cursor(5, True, START, given))).filters
        assert there == Old(given.workflow_id, given.running)


def test_a_cursor_keeps_all_filters() -> None:
    filters = InstanceFilters(
        workflow_ids=(WORKFLOW, OTHER),
        running=True,
        states=("paused",),
        key="a-1",
        error="x",
        created_after=at(0),
        terminated_before=at(1),
    )
    cursors = Cursors(ApiSettings(), "instances", Cursor[CursorFilters])
    cursor = Cursor(5, False, START, to_cursor(filters))
    assert from_cursor(cursors.decode(cursors.encode(cursor)).filters) == filters


def test_a_cursor_with_a_filter_of_a_newer_build_is_refused() -> None:
    """Its list would go on with instances that do not pass the filter."""
    newer = Cursors(ApiSettings(), "instances", Cursor[Any])
    text = newer.encode(Cursor(5, False, START, (None, False, {"state": ["failed"], "label": "eu"})))
    with pytest.raises(Invalid):
        Cursors(ApiSettings(), "instances", Cursor[CursorFilters]).decode(text)
