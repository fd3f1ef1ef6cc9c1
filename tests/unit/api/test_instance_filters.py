"""The filters of instances, in queries, objects and cursors."""

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


def of_query(**given: list[str]) -> InstanceFilters:
    return filters_of_query(lambda name: given.get(name, []))


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ({}, EVERY_INSTANCE),
        ({"workflowID": [""], "running": [""]}, EVERY_INSTANCE),
        ({"workflowID": [str(WORKFLOW).upper()]}, InstanceFilters(workflow_ids=(WORKFLOW,))),
        ({"workflowID": ["abc"]}, InstanceFilters(workflow_ids=(NO_WORKFLOW,))),
        ({"running": ["TRUE"]}, InstanceFilters(running=True)),
        ({"running": ["0", "1"]}, EVERY_INSTANCE),
    ],
)
def test_filters_of_a_query(query: dict[str, list[str]], filters: InstanceFilters) -> None:
    assert of_query(**query) == filters
    assert msgspec.json.decode(msgspec.json.encode(filters), type=InstanceFilters) == filters


@pytest.mark.parametrize(
    ("body", "filters"),
    [
        ({}, EVERY_INSTANCE),
        ({"workflowID": str(WORKFLOW), "running": True}, InstanceFilters(workflow_ids=(WORKFLOW,), running=True)),
        ({"workflowID": [str(WORKFLOW)], "running": False}, InstanceFilters(workflow_ids=(WORKFLOW,))),
        ({"workflowID": None, "running": "true"}, InstanceFilters(running=True)),
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
        ({"workflowID": ["a", None]}, "filter: workflowID must be a string or a list of strings"),
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
