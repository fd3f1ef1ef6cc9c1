"""What an operation needs next, and the commands of a page."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec import Raw
from msgspec.structs import replace

from projections.bulk.actions import UnknownAction, commands
from projections.bulk.steps import MAX_TRIES, Memory, Sent, Step, next_step
from projections.queries.bulks import BulkRow, fits
from projections.read_rows import InstanceRow, Pause, Retryable, RetryableRow, WaitingRow, WorkflowRow
from schemas import rejections
from schemas.commands import AbortInstance, PassOverInstance, ResumeActivity, RetryInstance

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
A, B = str(UUID(int=1)), str(UUID(int=2))
WAIT, SEND, ADVANCE = Step("wait"), Step("send"), Step("advance")


def operation(**more: Any) -> BulkRow:
    fields: dict[str, Any] = {
        **{"id": UUID(int=9), "partition": 0, "action": "abort", "filter": Raw(b"{}"), "expected": 2},
        **{"created_at": NOW, "updated_at": NOW, "pages": 1, "sent": 2, "page": [A, B], "page_at": NOW, **more},
    }
    return BulkRow(**fields)


def instance(waiting: WaitingRow | None = None, terminated_at: datetime | None = None) -> InstanceRow:
    workflow = WorkflowRow(UUID(int=5), "", Raw(b"[]"), NOW, NOW)
    row = InstanceRow(UUID(A), workflow.id, NOW, NOW, terminated_at, None, workflow, [])
    return replace(row, waiting=waiting)


PAUSED = WaitingRow("resume", NOW, "CreateTransaction", attempt=3, pause=Pause(2, 1, 3, "poor"))


def test_an_operation_begins_with_a_page_and_waits_until_that_is_decided() -> None:
    new, memory = operation(pages=0, sent=0, page=(), page_at=None), Memory()
    assert next_step(new, memory, {}) == ADVANCE
    memory.proposed = Sent(0, {1: 7})
    assert next_step(new, memory, {1: 6}) == WAIT
    assert next_step(new, memory, {1: 7}) == ADVANCE, "it was decided, and the page is not there: somebody stopped it"
    assert next_step(operation(), memory, {1: 7}) == SEND


def test_a_page_is_sent_once_and_the_next_one_waits_for_all_outcomes() -> None:
    memory = Memory(sent=Sent(0, {0: 3, 1: 4}), tries=1)
    assert next_step(operation(outcomes={"DONE": 1}), memory, {0: 3}) == WAIT
    assert next_step(operation(outcomes={"DONE": 1, "ENDED": 1}), memory, {0: 3}) == ADVANCE
    assert next_step(operation(outcomes={"DONE": 1}, lost=1), memory, {0: 3}) == ADVANCE


def test_whoever_takes_over_sends_the_page_again() -> None:
    assert next_step(operation(outcomes={"DONE": 1}), Memory(), {}) == SEND
    of_earlier_page = Memory(sent=Sent(0, {0: 3}), tries=2)
    assert next_step(operation(pages=2, sent=4, outcomes={"DONE": 2}), of_earlier_page, {0: 9}) == SEND
    assert of_earlier_page.tries == 0


def test_commands_that_are_decided_and_not_counted_are_sent_again_and_given_up_in_the_end() -> None:
    memory = Memory(sent=Sent(0, {0: 3}), tries=1)
    for _ in range(MAX_TRIES - 1):
        assert next_step(operation(outcomes={"DONE": 1}), memory, {0: 3}) == SEND
        memory.tries += 1
    assert next_step(operation(outcomes={"DONE": 1}), memory, {0: 3}) == Step("advance", lost=1)


def test_an_abort_of_what_is_not_found_or_has_ended_is_left_to_the_engine() -> None:
    fields: dict[str, Any] = {"by": "ann", "reason": "wrong file", "bulk_id": str(UUID(int=9)), "bulk_page": 0}
    paused = Raw(b'{"state":["paused"],"running":true}')
    made = commands(operation(by="ann", reason="wrong file", filter=paused), {A: instance(terminated_at=NOW)})
    assert made == {id: AbortInstance(**fields) for id in (A, B)}


def test_an_abort_passes_over_what_has_gone_on_since_the_page_was_made() -> None:
    found = {A: instance(PAUSED), B: instance()}
    paused = commands(operation(filter=Raw(b'{"state":["paused"],"running":true}')), found)
    assert isinstance(paused[A], AbortInstance)
    resumed = paused[B]
    assert isinstance(resumed, PassOverInstance)
    assert (resumed.code, resumed.message) == (
        rejections.NOTHING_TO_DO,
        "the instance has gone on meanwhile: it is running now",
    )
    for filters in (b'{"running":true}', b'{"state":["paused","running"],"running":true}'):
        made = commands(operation(filter=Raw(filters)), found)
        assert [type(command) for command in made.values()] == [AbortInstance, AbortInstance]


def test_a_resume_names_the_pause_and_what_is_not_paused_any_more_is_passed_over() -> None:
    made = commands(operation(action="resume"), {A: instance(PAUSED)})
    ours: dict[str, Any] = {"bulk_id": str(UUID(int=9)), "bulk_page": 0}
    assert made[A] == ResumeActivity(stage=2, index=1, paused_at=NOW, **ours)
    passed_over = made[B]
    assert isinstance(passed_over, PassOverInstance)
    assert (passed_over.code, passed_over.bulk_page) == (rejections.OTHER_PAUSE, 0)


def test_an_action_of_a_newer_build_is_left_to_that() -> None:
    with pytest.raises(UnknownAction, match="update the projections"):
        commands(operation(action="delete"), {})


def test_what_an_action_fits_to() -> None:
    assert fits("abort", instance())
    assert not fits("abort", instance(terminated_at=NOW))
    assert fits("resume", instance(PAUSED))
    assert not fits("resume", instance(WaitingRow("event", NOW, "go")))


def retryable(error: str | None, **more: Any) -> RetryableRow:
    fields: dict[str, Any] = {
        **{"workflow_id": UUID(int=5), "stages": Raw(b'[{"noop":{}}]'), "variables": Raw(b"{}"), "request": None},
        **{"max_attempts": None, "terminated_at": NOW, "error": error, "retries": 0, "retryable": Retryable(3, [])},
        **{"stage": None, "activities": [], "requests": [], "earlier_requests": 0, "next_offset": 4, **more},
    }
    return RetryableRow(**fields)


def test_a_retry_goes_on_with_what_the_read_model_knows_and_passes_over_what_it_does_not_fit() -> None:
    row = operation(action="retry", by="ann")
    page = commands(row, {A: retryable("no funds"), B: retryable(None)})
    retry, other = page[A], page[B]
    assert isinstance(retry, RetryInstance)
    assert (retry.bulk_id, retry.bulk_page, retry.by, retry.version, retry.seen_offset) == (str(row.id), 0, "ann", 3, 4)
    assert isinstance(other, PassOverInstance)
    assert other.code == rejections.NOT_RETRYABLE
    assert isinstance(commands(row, {})[A], PassOverInstance)
    failed = replace(instance(terminated_at=NOW), error="no funds")
    assert [fits("retry", one) for one in (failed, instance(terminated_at=NOW), instance())] == [True, False, False]


def test_a_retry_of_what_has_failed_does_not_revive_what_somebody_has_aborted_since_the_page_was_made() -> None:
    found = {A: retryable("no funds", retries=1), B: retryable("canceled", retries=1)}
    failed = commands(operation(action="retry", filter=Raw(b'{"state":["failed"]}')), found)
    assert [type(command) for command in failed.values()] == [RetryInstance, PassOverInstance]
    both = commands(operation(action="retry", filter=Raw(b'{"state":["failed","aborted"]}')), found)
    assert [type(command) for command in both.values()] == [RetryInstance, RetryInstance]


@pytest.mark.parametrize(
    "filters", ['{"error":"FUNDS","state":["failed","aborted"]}', '{"terminatedBefore":"2026-03-01T10:00:01Z"}']
)
def test_a_retry_passes_over_what_has_ended_again_in_another_way(filters: str) -> None:
    later = NOW + timedelta(seconds=1)
    found = {A: retryable("no funds"), B: retryable("canceled", terminated_at=later, retries=1)}
    made = commands(operation(action="retry", filter=Raw(filters.encode())), found)
    assert [type(command) for command in made.values()] == [RetryInstance, PassOverInstance]
