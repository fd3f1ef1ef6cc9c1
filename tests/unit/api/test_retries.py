"""How an instance is retried: what is read, what is sent, what is refused, and how it is shown."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import Raw
from msgspec.structs import replace

from api.ports import ActivityRow, Rejection, RetryableRow, StageHistoryRow
from api.resources.idempotency import keyed_request
from projections.read_rows import EndedActivityRow, EndedStageRow, Retryable
from schemas import rejections
from schemas.commands import RetryInstance
from schemas.ended_activities import EndedActivity
from tests.unit.api.fakes import START, Backend, Client, make_client

ENDED = START + timedelta(seconds=9)
DEBIT = EndedActivityRow(1, "DebitWallet", '{"id":"w"}', None, True, "no", None, "VALIDATION", 1, False)
WALLETS = EndedActivityRow(0, "ListWallets", "{}", '{"n":1}', True, None, None, None, 0, False)


class World:
    """A backend with an instance that has failed."""

    def __init__(self) -> None:
        self.backend = Backend()
        workflow = self.backend.add_workflow(uuid4(), stages=[{"noop": {}}, {"noop": {}}])
        self.id = self.backend.add_instance(uuid4(), workflow.id).id
        self.backend.end(self.id, "no")
        self.row = RetryableRow(
            workflow_id=workflow.id,
            stages=workflow.stages,
            variables=Raw(b'{"order":"A-1"}'),
            request="d",
            max_attempts=3,
            terminated_at=ENDED,
            error="no",
            retries=2,
            retryable=Retryable(17, [4]),
            stage=EndedStageRow(1, ENDED, "no"),
            activities=[WALLETS, DEBIT],
            requests=[("k", "e")],
            earlier_requests=7,
            next_offset=99,
        )
        self.change()
        self.client: Client = make_client(self.backend)

    def change(self, **changed: Any) -> None:
        self.backend.retryable[self.id] = self.row = replace(self.row, **changed)

    async def retry(self, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.call("POST", f"/v2/instances/{self.id}/retry", None, named)

    @property
    def command(self) -> RetryInstance:
        ((key, command),) = self.backend.commands
        assert key == self.id
        assert isinstance(command, RetryInstance)
        return command


@pytest.fixture
def world() -> World:
    return World()


async def test_it_is_sent_with_all_that_the_read_model_knows(world: World) -> None:
    answer = await world.retry()
    assert answer.status == 201
    assert answer.data["id"] == str(world.id)
    assert (answer.data["terminated"], answer.data["retries"]) == (False, 3)
    assert "error" not in answer.data
    assert world.command == RetryInstance(
        workflow_id=str(world.row.workflow_id),
        stages=world.row.stages,
        variables={"order": "A-1"},
        run_digest="d",
        max_attempts=3,
        version=17,
        ended_at=ENDED,
        stage=1,
        activities=[
            EndedActivity(name="ListWallets", input={}, output={"n": 1}),
            EndedActivity(name="DebitWallet", input={"id": "w"}, error="no", code="VALIDATION", key_number=1),
        ],
        arrived=[4],
        requests=[("k", "e")],
        earlier_requests=7,
        retries=2,
        seen_offset=99,
    )


@pytest.mark.parametrize(("failure", "used"), [("HTTP 503", False), (None, True), ("HTTP 503", True)])
async def test_a_call_that_may_have_been_carried_out_is_told(world: World, failure: str | None, used: bool) -> None:
    world.change(activities=[WALLETS, replace(DEBIT, last_failure=failure, key_used=used)])
    await world.retry()
    assert world.command.activities[-1].key_used


async def test_behind_a_stage_that_has_succeeded_the_next_one_begins(world: World) -> None:
    world.change(stage=EndedStageRow(1, ENDED, None))
    await world.retry()
    assert (world.command.stage, world.command.activities) == (2, [])


async def test_without_any_stage_the_first_one_begins(world: World) -> None:
    world.change(stage=None, activities=[])
    await world.retry()
    assert world.command.stage == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"terminated_at": None, "error": None, "retryable": None}, "is running"),
        ({"error": None, "retryable": None}, "has succeeded"),
        ({"retryable": None}, "orchestration rebuild"),
        ({"variables": None}, "orchestration rebuild"),
        ({"activities": [DEBIT]}, "lacks a part of stage 1"),
        ({"activities": [WALLETS, replace(DEBIT, ended=False)]}, "lacks a part of stage 1"),
        ({"stage": EndedStageRow(1, None, None)}, "lacks a part of stage 1"),
    ],
    ids=["running", "succeeded", "of an older build", "no variables", "a gap", "no end", "no end of the stage"],
)
async def test_what_can_not_be_retried_is_refused_and_nothing_is_sent(
    world: World, change: dict[str, Any], told: str
) -> None:
    world.change(**change)
    answer = await world.retry()
    assert (answer.status, answer.json()["errorCode"]) == (409, "CONFLICT")
    assert told in answer.json()["errorMessage"]
    assert world.backend.commands == []


async def test_an_unknown_instance_is_not_found(world: World) -> None:
    answer = await world.client.call("POST", f"/v2/instances/{uuid4()}/retry")
    assert (answer.status, answer.json()["errorCode"]) == (404, "NOT_FOUND")


async def test_older_surfaces_have_no_retry(world: World) -> None:
    assert (await world.client.call("POST", f"/instances/{world.id}/retry")).status == 404


@pytest.mark.parametrize(
    ("code", "status"),
    [(rejections.NOT_RETRYABLE, 409), (rejections.RETRY, 503), (rejections.TOO_LARGE, 413), (rejections.FAULT, 500)],
)
async def test_the_engine_may_refuse_it(world: World, code: str, status: int) -> None:
    world.backend.reject = Rejection(code, "the reason")
    answer = await world.retry()
    assert answer.status == status
    assert "the reason" in answer.json()["errorMessage"]


async def test_a_repeated_request_retries_once(world: World) -> None:
    first = await world.retry(Idempotency_Key="a")
    again = await world.retry(Idempotency_Key="a")
    assert (first.status, again.status) == (201, 201)
    assert first.data == again.data
    assert world.command.request_key is not None
    assert UUID(world.command.request_key)


@pytest.mark.parametrize("overtaken", [True, False])
async def test_of_two_repetitions_at_once_both_succeed(world: World, overtaken: bool) -> None:
    world.backend.reject, world.backend.overtaken = Rejection(rejections.NOT_RETRYABLE, "it is running"), overtaken
    answer = await world.retry(Idempotency_Key="a")
    assert answer.status == (201 if overtaken else 409)


@pytest.mark.parametrize("overtaken", [True, False])
async def test_a_repetition_succeeds_whose_first_request_is_carried_out_between_two_of_its_looks(
    world: World, overtaken: bool
) -> None:
    keyed = keyed_request("a", "retry", str(world.id), None)
    assert keyed is not None

    def carried_out() -> None:
        world.change(terminated_at=None, error=None, retryable=None)
        if overtaken:
            world.backend.event_requests[world.id, keyed.id] = keyed.digest

    world.backend.on_retryable = carried_out
    answer = await world.retry(Idempotency_Key="a")
    assert answer.status == (201 if overtaken else 409)
    assert world.backend.commands == []


# How it is shown


async def test_an_instance_that_was_never_retried_does_not_say_so(world: World) -> None:
    for path in (f"/v2/instances/{world.id}", f"/instances/{world.id}"):
        assert "retries" not in (await world.client.call("GET", path)).data


@pytest.mark.parametrize(("surface", "extra"), [("/v2/instances", True), ("/instances", False)])
async def test_histories_have_an_entry_for_each_pass(world: World, surface: str, extra: bool) -> None:
    given = Raw(b"{}")
    world.backend.page_rows = 1
    world.backend.histories[world.id] = [
        StageHistoryRow(0, "RunNoop", given, START),
        StageHistoryRow(1, "RunSend", given, START, ENDED, "no", 0),
        StageHistoryRow(1, "RunSend", given, ENDED),
    ]
    world.backend.activity_rows[world.id, 1] = [
        ActivityRow(0, "ListWallets", given, None, 1, START, ENDED),
        ActivityRow(1, "DebitWallet", given, None, 1, START, ENDED, "no", retries=0),
        ActivityRow(1, "DebitWallet", given, None, 1, ENDED),
    ]
    shown = (await world.client.call("GET", f"{surface}/{world.id}/history")).data
    assert [entry["name"] for entry in shown] == ["RunNoop", "RunSend", "RunSend"]
    told = [{key: entry[key] for key in ("stage", "retries") if key in entry} for entry in shown]
    assert told == ([{"stage": 0}, {"stage": 1, "retries": 0}, {"stage": 1}] if extra else [{}, {}, {}])
    calls = (await world.client.call("GET", f"{surface}/{world.id}/stages/1/history")).data
    assert [call["name"] for call in calls] == ["ListWallets", "DebitWallet", "DebitWallet"]
    assert [call.get("retries") for call in calls] == ([None, 0, None] if extra else [None] * 3)
