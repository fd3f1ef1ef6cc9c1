"""The state of an instance, as `state` of the lists has it and as column `state` holds it.

| state | the instance |
|---|---|
| running | runs a stage, or is about to run the next |
| waiting | waits for an event |
| delayed | waits for the end of a delay |
| retrying | waits for the next attempt of an activity |
| paused | waits until a person resumes an activity |
| succeeded | has ended, without an error |
| failed | has ended with an error |
| aborted | was ended by an abort |
"""

from collections.abc import Mapping
from typing import Final, get_args

from projections.read_rows import InstanceRow, UnreadableWaiting, WaitingRow
from schemas.events import CANCELED
from schemas.resources import InstanceState

LIVE: Final[tuple[InstanceState, ...]] = ("running", "waiting", "delayed", "retrying", "paused")
ENDED: Final[tuple[InstanceState, ...]] = ("succeeded", "failed", "aborted")
STATES: Final[tuple[InstanceState, ...]] = get_args(InstanceState)

_BY_REASON: Final[Mapping[str, InstanceState]] = {
    "event": "waiting",
    "delay": "delayed",
    "retry": "retrying",
    "resume": "paused",
}


def state_of(row: InstanceRow) -> InstanceState | None:
    """The state of an instance; None while it has not ended and nobody here can read what it waits for.

    It does not ask the column: rows of older builds have none.
    """
    if row.terminated_at is not None:
        return ended_state(row.error)
    return None if isinstance(row.waiting, UnreadableWaiting) else live_state(row.waiting)


def live_state(waiting: WaitingRow | None) -> InstanceState:
    """The state of an instance that has not ended, by what it waits for."""
    return "running" if waiting is None else _BY_REASON[waiting.reason]


def ended_state(error: str | None) -> InstanceState:
    """The state of an instance that has ended, by its error."""
    if error is None:
        return "succeeded"
    return "aborted" if error == CANCELED else "failed"
