"""Whether a row passes filters, as the lists decide."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec import Raw

from projections.queries.instance_filters import InstanceFilters
from projections.queries.passing import may_have_passed, passes
from projections.read_rows import InstanceRow, WaitingRow, WorkflowRow

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
LATER = AT + timedelta(seconds=1)
WORKFLOW = UUID(int=1)


def instance(**values: Any) -> InstanceRow:
    workflow = WorkflowRow(WORKFLOW, "w", Raw(b"[]"), AT, AT)
    given: dict[str, Any] = {"terminated_at": None, "error": None, **values}
    return InstanceRow(UUID(int=2), WORKFLOW, AT, AT, workflow=workflow, stages=[], **given)


FAILED = instance(terminated_at=AT, error="No funds")
PAUSED = instance(waiting=WaitingRow("resume", AT))


@pytest.mark.parametrize(
    ("row", "filters", "wanted"),
    [
        (PAUSED, InstanceFilters(), True),
        (PAUSED, InstanceFilters(states=("paused", "failed"), running=True), True),
        (PAUSED, InstanceFilters(states=("running",)), False),
        (PAUSED, InstanceFilters(error="funds"), False),
        (PAUSED, InstanceFilters(terminated_after=AT), False),
        (PAUSED, InstanceFilters(created_after=AT, created_before=LATER), True),
        (PAUSED, InstanceFilters(created_before=AT), False),
        (
            FAILED,
            InstanceFilters(states=("failed",), error="FUNDS", terminated_after=AT, terminated_before=LATER),
            True,
        ),
        (FAILED, InstanceFilters(error="funny"), False),
        (FAILED, InstanceFilters(terminated_before=AT), False),
        (FAILED, InstanceFilters(running=True), False),
        (FAILED, InstanceFilters(workflow_ids=(UUID(int=9),)), False),
        (FAILED, InstanceFilters(workflow_ids=(UUID(int=9), WORKFLOW)), True),
    ],
)
def test_a_row_passes_filters(row: InstanceRow, filters: InstanceFilters, wanted: bool) -> None:
    assert passes(filters, row) is wanted


@pytest.mark.parametrize(
    ("key", "keys", "wanted"),
    [("a", {"b", "a"}, True), ("a", {"b"}, False), ("a", (), False), (str(UUID(int=2)), (), True)],
)
def test_a_row_passes_a_key_that_it_has(key: str, keys: set[str], wanted: bool) -> None:
    assert passes(InstanceFilters(key=key), PAUSED, keys) is wanted
    assert may_have_passed(InstanceFilters(key=key, running=True), FAILED, keys) is wanted


def test_what_changes_may_have_been_otherwise() -> None:
    assert may_have_passed(InstanceFilters(running=True, states=("paused",), error="x"), FAILED)
    assert not may_have_passed(InstanceFilters(created_after=LATER), FAILED)
