"""Statistics: how many instances there are, by state, and what has happened within some time."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec import UNSET, Struct

from api import rendering
from api.errors import Invalid
from api.ids import parse_id
from api.ports import Happened, OldestRow, StatsRow, Window, WorkflowStatsRow
from api.resources.instance_filters import NO_WORKFLOW
from api.resources.times import read_time
from api.services import Services
from projections.counting import HOURS_PER_DAY, KEPT_DAYS, by_day, hour_of, moment_of, percentile
from schemas.stats import (
    Durations,
    OldestInstance,
    Outcomes,
    StageStats,
    StageStep,
    StateCounts,
    Stats,
    StatsStep,
    Step,
    WorkflowStats,
)

MAX_DAYS: Final = 93
"""Longest time that is looked at: a quarter. The rows of a longer one can't be summed up in some milliseconds."""
HOURLY_DAYS: Final = KEPT_DAYS - 1
"""How far back hours go. The projections make older ones into days, when they like, by the clock of Postgres."""
DEFAULT_HOURS: Final = {"hour": 24, "day": 30 * HOURS_PER_DAY}
"""How much is looked at unless told otherwise."""

YEARS: Final = range(1971, 9000)
"""Beyond them there is nothing to count, and the ends of the calendar are near."""


class StatsRequest(Struct, frozen=True, kw_only=True):
    """What is asked for, as texts of the query; None or `""` for what is not given."""

    workflow_id: str | None = None
    start: str | None = None
    end: str | None = None
    step: str | None = None


async def get_stats(services: Services, request: StatsRequest, now: datetime) -> Stats:
    """The statistics.

    Args:
        services: the outside world.
        request: what is asked for.
        now: the time.

    Raises:
        Invalid: a value can't be used.
    """
    step, window = read_window(request, now)
    workflow_id = (parse_id(request.workflow_id) or NO_WORKFLOW) if request.workflow_id else None
    row = await services.read_model.stats(window, workflow_id)
    total = _sum(row.steps.values())
    numbers = range((window.end - window.start) // window.step_hours)
    return Stats(
        start=moment_of(window.start),
        end=moment_of(window.end),
        step=step,
        states=StateCounts(**row.states),
        oldest=[_oldest(oldest) for oldest in row.oldest],
        started=total.started,
        ended=_outcomes(total),
        steps=[_step(window, number, row.steps.get(number, Happened())) for number in numbers],
        workflows=[_workflow(workflow) for workflow in row.workflows],
        omitted=row.workflows_in_all - len(row.workflows) or UNSET,
        stages=UNSET if workflow_id is None else _stages(row, window),
    )


def read_window(request: StatsRequest, now: datetime) -> tuple[Step, Window]:
    """The time that is looked at: whole steps, the first and the last included.

    Raises:
        Invalid: a value can't be used.
    """
    end = _instant("to", request.end) or now
    start = _instant("from", request.start)
    hours_begin = moment_of(by_day(hour_of(now))) - timedelta(days=HOURLY_DAYS)
    begin = end - timedelta(hours=DEFAULT_HOURS["hour"]) if start is None else start
    step = _read_step(request.step) or ("hour" if begin >= hours_begin else "day")
    if start is None:
        start = end - timedelta(hours=DEFAULT_HOURS[step])
    if start >= end:
        raise Invalid("from must be before to")
    if end - start > timedelta(days=MAX_DAYS):
        raise Invalid(f"from and to can be {MAX_DAYS} days apart at most")
    if step == "hour" and start < hours_begin:
        raise Invalid(f"hours are told apart for the last {HOURLY_DAYS} days; use step=day, or a later from")
    hours = 1 if step == "hour" else HOURS_PER_DAY
    first = hour_of(start) // hours * hours
    behind = -(-hour_of(end + timedelta(hours=1, microseconds=-1)) // hours) * hours
    return step, Window(first, max(behind, first + hours), hours)


def _read_step(text: str | None) -> Step | None:
    match text:
        case "hour" | "day":
            return text
        case None | "":
            return None
    raise Invalid("step must be hour or day")


def _instant(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    instant = read_time(name, text)
    if instant.year not in YEARS:
        raise Invalid(f"{name}: out of range")
    return instant


def _sum(some: Iterable[Happened]) -> Happened:
    total = Happened()
    for happened in some:
        total.started += happened.started
        for outcome, buckets in happened.ended.items():
            total.add(outcome, buckets)
    return total


def _step(window: Window, number: int, happened: Happened) -> StatsStep:
    return StatsStep(start=_start(window, number), started=happened.started, ended=_outcomes(happened))


def _start(window: Window, step: int) -> datetime:
    return moment_of(window.start + step * window.step_hours)


def _outcomes(happened: Happened) -> Outcomes:
    return Outcomes(
        succeeded=_durations(happened, "succeeded"),
        failed=_durations(happened, "failed"),
        aborted=_durations(happened, "aborted"),
    )


def _durations(happened: Happened, outcome: str) -> Durations:
    buckets = happened.ended.get(outcome)
    if not buckets:
        return _NONE
    return Durations(count=sum(buckets.values()), p50=_rounded(buckets, 0.5), p95=_rounded(buckets, 0.95))


_NONE: Final = Durations(count=0)


def _rounded(buckets: dict[int, int], share: float) -> float:
    """A percentile, with the digits that mean something."""
    return float(f"{percentile(buckets, share) or 0:.3g}")


def _workflow(row: WorkflowStatsRow) -> WorkflowStats:
    return WorkflowStats(
        workflow_id=row.id,
        name=row.name,
        states=StateCounts(**row.states),
    )


def _stages(row: StatsRow, window: Window) -> list[StageStats]:
    return [
        StageStats(
            stage=number,
            ended=_outcomes(_sum(steps.values())),
            steps=[StageStep(start=_start(window, step), ended=_outcomes(steps[step])) for step in sorted(steps)],
        )
        for number, steps in sorted(row.stages.items())
    ]


def _oldest(row: OldestRow) -> OldestInstance:
    return OldestInstance(
        state=row.state,
        instance_id=row.id,
        workflow_id=row.workflow_id,
        created_at=row.created_at,
        waiting=rendering.waiting(row),
    )
