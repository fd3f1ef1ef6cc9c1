"""Bulk operations as the API starts, shows and stops them."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec.structs import replace

from api.ports import InstanceRow, Rejection, RowPosition
from api.resources import bulks
from projections.bulk_rows import DONE
from projections.read_rows import Slice
from schemas import rejections
from schemas.commands import StartBulk, StopBulk
from tests.simulation.loop import simulate
from tests.unit.api.fakes import START, Backend, Client, FakeReadModel, make_client


class World:
    """A backend with running instances of two workflows, and one that has ended."""

    def __init__(self) -> None:
        self.backend = Backend()
        self.workflow = self.backend.add_workflow(uuid4()).id
        other = self.backend.add_workflow(uuid4()).id
        for number, workflow in enumerate((self.workflow, self.workflow, self.workflow, other)):
            row = self.backend.add_instance(uuid4(), workflow, ended=number == 2)
            self.backend.instance_rows[row.id] = row
        self.client: Client = make_client(self.backend)

    async def post(self, body: Any, target: str = "/v2/instances/bulk", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.call("POST", target, body, named)

    @property
    def commands(self) -> list[Any]:
        return [command for _, command in self.backend.commands]

    @property
    def body(self) -> dict[str, Any]:
        return {"action": "abort", "filter": {"workflowID": str(self.workflow)}}


@pytest.fixture
def world() -> World:
    return World()


async def test_a_dry_run_shows_what_the_action_fits_to_and_does_nothing(world: World) -> None:
    answer = await world.post({**world.body, "dryRun": True})
    assert answer.status == 200
    assert {**answer.data, "sample": len(answer.data["sample"])} == {
        "action": "abort",
        "matching": 2,
        "more": False,
        "sample": 2,
    }
    assert {one["workflowID"] for one in answer.data["sample"]} == {str(world.workflow)}
    assert world.commands == []


async def test_a_dry_run_counts_up_to_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulks, "MAX_COUNTED", 2)
    monkeypatch.setattr(bulks, "COUNTED_AT_ONCE", 1)
    monkeypatch.setattr(bulks, "SAMPLE", 1)
    answer = await world.post({"action": "abort", "all": True, "dryRun": True})
    assert (answer.data["matching"], answer.data["more"], len(answer.data["sample"])) == (2, True, 1)


def test_a_dry_run_looks_for_some_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = 0

    async def nothing_yet(*_: Any, **__: Any) -> Slice[InstanceRow]:
        nonlocal pages
        pages += 1
        await asyncio.sleep(0.1)
        return Slice([], True, RowPosition(START, UUID(int=1)))

    async def run() -> None:
        monkeypatch.setattr(FakeReadModel, "instances_page", nothing_yet)
        answer = await World().post({"action": "abort", "filter": {"error": "rare"}, "dryRun": True})
        assert (answer.data["matching"], answer.data["more"], answer.data["sample"]) == (0, True, [])

    simulate(run())
    assert pages == 10 * bulks.COUNTING_SECONDS


async def test_it_is_started_with_all_that_runs_it(world: World) -> None:
    answer = await world.post(world.body)
    assert answer.status == 201
    (command,) = world.commands
    assert isinstance(command, StartBulk)
    assert msgspec.json.decode(command.filter) == {"workflowID": [str(world.workflow)], "running": True}
    assert (command.action, command.expected) == ("abort", 2)
    running = [row for row in world.backend.instance_rows.values() if row.workflow_id == world.workflow]
    assert command.newest_at == max(row.created_at for row in running if row.terminated_at is None)
    assert {**answer.data, "id": 0, "createdAt": 0, "updatedAt": 0} == {
        "id": 0,
        "action": "abort",
        "filter": {"workflowID": [str(world.workflow)], "running": True},
        "state": "running",
        "createdAt": 0,
        "updatedAt": 0,
        "expected": 2,
        "sent": 0,
        "done": 0,
        "refused": 0,
        "refusals": {},
    }


async def test_a_repeated_start_is_answered_with_the_first_one(world: World) -> None:
    first = await world.post(world.body, idempotency_key="a")
    again = await world.post(world.body, idempotency_key="a")
    assert (again.status, again.data) == (201, first.data)
    assert len(world.commands) == 1
    other = await world.post({"action": "abort", "all": True}, idempotency_key="a")
    assert other.error == (400, "VALIDATION")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "must be an object"),
        ({}, "action: must be one of abort, resume"),
        ({"action": "delete", "all": True}, "action: must be one of"),
        ({"action": "abort"}, '"all": true'),
        ({"action": "abort", "filter": {}}, '"all": true'),
        ({"action": "abort", "all": "yes"}, "all: must be a boolean"),
        ({"action": "abort", "filter": {"colour": "red"}}, "there is no 'colour'"),
        ({"action": "abort", "all": True, "dry": True}, "dry: unknown field"),
    ],
)
async def test_what_is_wrong_or_would_act_on_everything_is_refused(world: World, body: Any, told: str) -> None:
    answer = await world.post(body)
    assert answer.error == (400, "VALIDATION")
    assert told in answer.json()["errorMessage"]
    assert world.commands == []


async def test_one_more_than_may_run_is_a_conflict(world: World) -> None:
    world.backend.reject = Rejection(rejections.TOO_MANY, "too many bulk operations are running")
    assert (await world.post(world.body)).error == (409, "CONFLICT")


async def test_it_shows_how_far_it_is(world: World) -> None:
    answer = await world.post(world.body)
    id = UUID(answer.data["id"])
    row = replace(world.backend.bulk_rows[id], sent=5, lost=1, outcomes={DONE: 2, "ENDED": 1, "OTHER_PAUSE": 1})
    world.backend.bulk_rows[id] = row
    shown = (await world.client.call("GET", f"/v2/bulk/{id}")).data
    assert (shown["sent"], shown["done"], shown["refused"], shown["lost"]) == (5, 2, 2, 1)
    assert shown["refusals"] == {"ENDED": 1, "OTHER_PAUSE": 1}
    world.backend.bulk_rows[id] = replace(row, terminated_at=START)
    listed = (await world.client.call("GET", "/v2/bulk")).json()["cursor"]["data"]
    assert [(one["id"], one["state"]) for one in listed] == [(str(id), "completed")]
    for unknown in (uuid4(), "nothing"):
        assert (await world.client.call("GET", f"/v2/bulk/{unknown}")).error == (404, "NOT_FOUND")


async def test_it_is_stopped_once(world: World) -> None:
    answer = await world.post(world.body)
    target = f"/v2/bulk/{answer.data['id']}/stop"
    for _ in range(2):
        stopped = await world.post(None, target)
        assert (stopped.status, stopped.data["state"]) == (200, "stopping")
    assert [type(command) for command in world.commands] == [StartBulk, StopBulk]
    id = UUID(answer.data["id"])
    world.backend.bulk_rows[id] = replace(world.backend.bulk_rows[id], terminated_at=START)
    assert (await world.post(None, target)).data["state"] == "stopped"
    assert (await world.post(None, f"/v2/bulk/{uuid4()}/stop")).error == (404, "NOT_FOUND")
