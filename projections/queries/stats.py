"""Statistics: counts of instances by state, and of what happened within some hours (see `projections.counting`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from projections.counting import ALL_WORKFLOWS, INSTANCE, STARTED, add_up
from projections.ports import Row
from projections.queries.columns import waiting_row
from projections.queries.errors import RowUnreadable
from projections.read_rows import UnreadableWaiting, WaitingRow
from projections.sql import page
from projections.states import STATES

MAX_WORKFLOWS: Final = 100
"""Workflows that are listed. With more, an installation of very many would make each answer large."""

NO_WORKFLOW: Final = UUID(int=2**128 - 1)
"""Asked for in place of the nil UUID. No workflow has that one, but the counts of all workflows together do."""

LiveState = Literal["running", "waiting", "delayed", "retrying", "paused"]
Buckets = dict[int, int]
"""How many, by bucket of how long they took (`counting.BOUNDS`)."""


class Window(NamedTuple):
    """Some hours, in steps. Hours are since 1970."""

    start: int
    end: int
    """The hour behind the last."""
    step_hours: int


class Happened(Struct):
    """How many instances or stages have started and ended."""

    started: int = 0
    ended: dict[str, Buckets] = {}
    """By how they ended: `succeeded`, `failed`, `aborted`."""

    def add(self, what: str, buckets: Buckets) -> None:
        """Take in counts."""
        if what == STARTED:
            self.started += sum(buckets.values())
        elif what in self.ended:
            add_up(self.ended[what], buckets.items())
        else:
            self.ended[what] = buckets.copy()


class WorkflowStatsRow(Struct):
    """A workflow's part of the statistics."""

    id: UUID
    name: str
    states: dict[str, int] = {}
    """Of its instances, how many are in which state; states without any are left out."""


class OldestRow(Struct, frozen=True):
    """Of the instances in a state, the one that was started first."""

    state: LiveState
    id: UUID
    workflow_id: UUID
    created_at: datetime
    waiting: WaitingRow | UnreadableWaiting | None


class StatsRow(Struct):
    """What the statistics are made of."""

    states: dict[str, int]
    """How many instances are in which state; states without any are left out."""
    steps: dict[int, Happened]
    """By step of the window, from 0; those in which nothing happened are left out."""
    stages: dict[int, dict[int, Happened]]
    """By number of the stage, and then by step; only for a single workflow."""
    workflows: list[WorkflowStatsRow]
    """Those with most instances that live come first."""
    workflows_in_all: int
    """How many there are, listed or not."""
    oldest: list[OldestRow]


class _Columns(NamedTuple):
    """Of `stats`. All but the first are JSON lists, None for an empty one."""

    known: int
    listed: str | None
    states: str | None
    states_of_workflows: str | None
    recent: str | None
    past: str | None
    oldest: str | None


class _Oldest(NamedTuple):
    """An element of the last list."""

    state: LiveState
    id: UUID
    workflow_id: UUID
    created_at: datetime
    waiting: str | None
    activity: str | None

    def row(self) -> OldestRow:
        """As a row."""
        waiting = None if self.waiting is None else waiting_row(self.waiting, self.activity)
        return OldestRow(self.state, self.id, self.workflow_id, self.created_at, waiting)


def stats_query(window: Window, workflow_id: UUID | None) -> tuple[bytes, list[object]]:
    """The statement, and its parameters.

    Args:
        window: the hours that are looked at.
        workflow_id: only this workflow.
    """
    parameters: list[object] = [window.start, window.end, window.step_hours, MAX_WORKFLOWS]
    if workflow_id is None:
        return page("stats", False), parameters
    if str(workflow_id) == ALL_WORKFLOWS:
        workflow_id = NO_WORKFLOW
    return page("stats", False, ("workflow_id",)), [*parameters, workflow_id]


def stats_row(rows: Sequence[Row]) -> StatsRow:
    """What the statement has answered.

    Raises:
        RowUnreadable: instances are counted in a state that this build does not know.
    """
    columns = _Columns(*rows[0])
    workflows = {id: WorkflowStatsRow(id, name) for id, name in _list(columns.listed, tuple[UUID, str])}
    for id, what, count in _list(columns.states_of_workflows, tuple[UUID, str, int]):
        workflows[id].states[what] = count
    states = dict(_list(columns.states, tuple[str, int]))
    if unknown := sorted(states.keys() - frozenset(STATES)):
        raise RowUnreadable("the statistics", f"{states[unknown[0]]} instances are counted as {unknown[0]!r}")
    steps: dict[int, Happened] = {}
    stages: dict[int, dict[int, Happened]] = {}
    for (stage, step, what), buckets in _happened(columns).items():
        if buckets:
            by_step = steps if stage == INSTANCE else stages.setdefault(stage, {})
            by_step.setdefault(step, Happened()).add(what, buckets)
    return StatsRow(
        states=states,
        steps=steps,
        stages=stages,
        workflows=list(workflows.values()),
        workflows_in_all=columns.known,
        oldest=[one.row() for one in _list(columns.oldest, _Oldest)],
    )


def _happened(columns: _Columns) -> dict[tuple[int, int, str], Buckets]:
    """What has happened: by stage, step, and what."""
    happened: dict[tuple[int, int, str], Buckets] = {}
    for stage, step, what, counts in _list(columns.past, tuple[int, int, str, list[int]]):
        happened[stage, step, what] = {bucket: count for bucket, count in enumerate(counts) if count}
    for stage, step, what, bucket, count in _list(columns.recent, tuple[int, int, str, int, int]):
        add_up(happened.setdefault((stage, step, what), {}), [(bucket, count)])
    return happened


T = TypeVar("T")


def _list(text: str | None, kind: type[T]) -> list[T]:
    return [] if text is None else msgspec.json.decode(text, type=list[kind])  # type: ignore[valid-type]
