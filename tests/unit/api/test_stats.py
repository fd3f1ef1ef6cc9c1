"""Statistics as the API shows them: which time is looked at, and what counts come to."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from api.errors import Invalid
from api.ports import Happened, OldestRow, StatsRow, Window, WorkflowStatsRow
from api.resources.stats import MAX_DAYS, StatsRequest, read_window
from projections.counting import bucket_of, hour_of
from projections.read_rows import WaitingRow
from tests.unit.api.fakes import Backend, make_client

NOW: Final = datetime(2026, 3, 10, 10, 30, tzinfo=UTC)
WORKFLOW: Final = UUID(int=1)
EMPTY: Final = {"count": 0}


def hour(text: str) -> int:
    return hour_of(datetime.fromisoformat(f"{text}:00+00:00"))


@pytest.mark.parametrize(
    ("asked", "step", "start", "end"),
    [
        ({}, "hour", "2026-03-09T10", "2026-03-10T11"),
        ({"step": "day"}, "day", "2026-02-08T00", "2026-03-11T00"),
        ({"start": "2026-03-10T08:59:59Z"}, "hour", "2026-03-10T08", "2026-03-10T11"),
        ({"start": "2026-03-03T00:00:00Z"}, "hour", "2026-03-03T00", "2026-03-10T11"),
        ({"start": "2026-03-02T23:59:59Z"}, "day", "2026-03-02T00", "2026-03-11T00"),
        ({"start": "2026-03-10T00:00:00+02:00", "step": "day"}, "day", "2026-03-09T00", "2026-03-11T00"),
        ({"start": "2026-03-10T11:00:00 02:00"}, "hour", "2026-03-10T09", "2026-03-10T11"),
        ({"start": "2026-03-01", "end": "2026-03-03"}, "day", "2026-03-01T00", "2026-03-03T00"),
        ({"end": "2026-03-04T00:00:00Z"}, "hour", "2026-03-03T00", "2026-03-04T00"),
        ({"end": "2026-03-03T12:00:00Z"}, "day", "2026-02-01T00", "2026-03-04T00"),
        ({"end": "2026-03-10T10:00:00Z", "step": ""}, "hour", "2026-03-09T10", "2026-03-10T10"),
        ({"start": "2026-03-10T10:00:00Z", "end": "2026-03-10T10:00:01Z"}, "hour", "2026-03-10T10", "2026-03-10T11"),
    ],
)
def test_the_time_that_is_looked_at_has_whole_steps(asked: dict[str, str], step: str, start: str, end: str) -> None:
    hours = 1 if step == "hour" else 24
    assert read_window(StatsRequest(**asked), NOW) == (step, Window(hour(start), hour(end), hours))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"start": "yesterday"}, "from: must be a time such as 2026-"),
        ({"end": "0001-01-01T00:00:00Z"}, "to: out of range"),
        ({"end": "9999-12-31T23:59:59Z"}, "to: out of range"),
        ({"step": "minute"}, "step must be hour or day"),
        ({"start": "2026-03-10T12:00:00Z"}, "from must be before to"),
        ({"start": "2025-03-10T12:00:00Z"}, f"from and to can be {MAX_DAYS} days apart at most"),
        ({"start": "2026-03-01T12:00:00Z", "step": "hour"}, "hours are told apart for the last 7 days; use step=day"),
    ],
)
async def test_what_cannot_be_looked_at_is_refused(asked: dict[str, str], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        read_window(StatsRequest(**asked), NOW)


async def test_a_bad_value_is_answered_as_one() -> None:
    answer = await make_client(Backend()).call("GET", "/v2/stats?step=minute")
    assert answer.error == (400, "VALIDATION")


async def test_a_malformed_workflow_id_counts_nothing() -> None:
    backend = Backend()
    answer = await make_client(backend).call("GET", "/v2/stats?workflowID=nonsense")
    assert (answer.status, answer.data["workflows"], answer.data["stages"]) == (200, [], [])
    assert [workflow_id for _, workflow_id in backend.asked_stats] == [UUID(int=0)]


def took(seconds: float) -> int:
    return bucket_of(NOW, NOW + timedelta(seconds=seconds))


async def test_counts_become_numbers_and_percentiles() -> None:
    backend = Backend()
    first = Happened(5, {"succeeded": {took(1): 90, took(10): 10}, "failed": {took(0.001): 1}})
    second = Happened(1, {"succeeded": {took(1): 2}})
    backend.stats_row = StatsRow(
        states={"running": 2, "succeeded": 102},
        steps={0: first, 2: second},
        stages={0: {2: Happened(0, {"aborted": {took(60): 1}})}},
        workflows=[WorkflowStatsRow(WORKFLOW, "payout", {"paused": 1})],
        workflows_in_all=4,
        oldest=[OldestRow("paused", UUID(int=5), WORKFLOW, NOW, WaitingRow("event", NOW, "paid"))],
    )
    target = f"/v2/stats?workflowID={WORKFLOW}&from=2026-03-01T10:00:00Z&to=2026-03-04T10:00:00Z"
    answer = await make_client(backend).call("GET", target)
    data: dict[str, Any] = answer.data
    assert backend.asked_stats == [(Window(hour("2026-03-01T00"), hour("2026-03-05T00"), 24), WORKFLOW)]
    assert (data["from"], data["to"], data["step"]) == ("2026-03-01T00:00:00Z", "2026-03-05T00:00:00Z", "day")
    none = dict.fromkeys(("running", "waiting", "delayed", "retrying", "paused", "succeeded", "failed", "aborted"), 0)
    assert data["states"] == {**none, "running": 2, "succeeded": 102}
    assert data["started"] == 6
    assert data["ended"] == {
        "succeeded": {"count": 102, "p50Seconds": 1.26, "p95Seconds": 12.6},
        "failed": {"count": 1, "p50Seconds": 0.00126, "p95Seconds": 0.00126},
        "aborted": EMPTY,
    }
    assert [(step["from"][:10], step["started"]) for step in data["steps"]] == [
        ("2026-03-01", 5),
        ("2026-03-02", 0),
        ("2026-03-03", 1),
        ("2026-03-04", 0),
    ]
    assert data["steps"][1]["ended"] == {"succeeded": EMPTY, "failed": EMPTY, "aborted": EMPTY}
    (stage,) = data["stages"]
    assert (stage["stage"], stage["steps"][0]["from"]) == (0, "2026-03-03T00:00:00Z")
    assert stage["ended"] == stage["steps"][0]["ended"]
    assert stage["ended"]["aborted"]["count"] == 1
    assert data["workflows"] == [
        {
            "workflowID": str(WORKFLOW),
            "name": "payout",
            "states": {**none, "paused": 1},
        }
    ]
    assert data["omittedWorkflows"] == 3
    assert data["oldest"] == [
        {
            "state": "paused",
            "instanceID": str(UUID(int=5)),
            "workflowID": str(WORKFLOW),
            "createdAt": "2026-03-10T10:30:00Z",
            "waiting": {"for": "event", "name": "paid", "since": "2026-03-10T10:30:00Z"},
        }
    ]


async def test_without_a_workflow_there_are_no_stages() -> None:
    data = (await make_client(Backend()).call("GET", "/v2/stats")).data
    assert "stages" not in data
    assert "omittedWorkflows" not in data
    assert len(data["steps"]) in (24, 25)
