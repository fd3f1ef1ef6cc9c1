"""`orchestration stats`: what people see of the statistics, and the time that they ask for."""

from typing import Any

import click
import pytest

from api.resources.stats import MAX_DAYS
from deploy.client.instance_filters import STATES
from deploy.client.stats import MAX_HOURS, lines, since

NONE: dict[str, Any] = {"count": 0}
ENDED: dict[str, Any] = {
    "succeeded": {"count": 1200, "p50Seconds": 0.0126, "p95Seconds": 79.4},
    "failed": {"count": 1, "p50Seconds": 1.26, "p95Seconds": 1.26},
    "aborted": NONE,
}
STATS: dict[str, Any] = {
    "from": "2026-03-01T10:00:00Z",
    "to": "2026-03-01T12:00:00Z",
    "step": "hour",
    "states": {**dict.fromkeys(STATES, 0), "paused": 2, "succeeded": 1200},
    "started": 1203,
    "ended": ENDED,
    "steps": [{"from": "2026-03-01T10:00:00Z", "started": 3, "ended": {**ENDED, "succeeded": NONE}}],
    "workflows": [{"workflowID": "w-1", "name": "payout", "states": {**dict.fromkeys(STATES, 0), "paused": 2}}],
    "omittedWorkflows": 7,
    "stages": [{"stage": 0, "ended": ENDED, "steps": []}],
    "oldest": [
        {
            "state": "waiting",
            "instanceID": "i-1",
            "workflowID": "w-1",
            "createdAt": "2026-03-01T09:00:00Z",
            "waiting": {"for": "event", "name": "paid", "since": "2026-03-01T09:00:01Z"},
        }
    ],
}


def shown(stats: dict[str, Any], *, steps: bool) -> list[str]:
    return [" ".join(click.unstyle(line).split()) for line in lines(stats, steps=steps)]


def test_people_see_tables() -> None:
    told = shown(STATS, steps=True)
    assert "now 2 paused, 1,200 succeeded" in told
    assert "ended 1,200 succeeded, 1 failed, 0 aborted" in told
    assert "w-1 payout 0 0 0 0 2 0 0 0" in told
    assert "and 7 more" in told
    assert told[told.index("stages") + 2] == "0 1,200 1 0 13 ms 1 min 19 s"
    assert told[told.index("over time") + 2].endswith(":00:00 3 0 1 0")
    assert told[-1].startswith("waiting i-1 w-1 2026-03-01 ")
    assert told[-1].endswith(" event paid")


def test_what_was_not_asked_for_or_is_not_there_is_left_out() -> None:
    empty = {**STATS, "states": dict.fromkeys(STATES, 0), "workflows": [], "oldest": []}
    del empty["stages"], empty["omittedWorkflows"]
    told = shown(empty, steps=False)
    assert told[0] == "now no instances"
    assert told[-1] == "no workflows"


@pytest.mark.parametrize("text", ["", "12", "0h", "h", "3w", "-1d", "99999h"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="such as 12h or 30d"):
        since(text)


@pytest.mark.parametrize("text", ["94d", "2233h"])
def test_more_time_than_is_counted_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match=f"--last '{text}' is more than 93d"):
        since(text)


def test_the_most_time_is_that_of_the_api() -> None:
    assert MAX_HOURS == MAX_DAYS * 24


def test_a_time_may_be_in_hours_or_days() -> None:
    assert since(None) is None
    hours, days = since("24h"), since("1d")
    assert hours is not None
    assert days is not None
    assert hours[:16] <= days[:16]
