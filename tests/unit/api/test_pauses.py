"""Paused activities as the API shows them, and how they are resumed."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from msgspec import Raw
from msgspec.structs import replace

from api.ports import ActivityRow, InstanceRow, Rejection
from projections.read_rows import Pause, WaitingRow
from schemas import rejections
from schemas.commands import CreateWorkflow, ResumeActivity, RunWorkflow
from tests.unit.api.fakes import START, Backend, Client, make_client

AT: Final = datetime(2026, 3, 1, 10, 0, 7, 100_000, tzinfo=UTC)
POOR: Final = "account @poor has insufficient funds"
PAUSE: Final = Pause(0, 0, 3, POOR, "INSUFFICIENT_FUND")
WAITING: Final = WaitingRow("resume", AT, "CreateTransaction", attempt=3, pause=PAUSE)
GIVEN: Final = Raw(b'{"ledger":"default","data":{}}')


class World:
    """A backend with an instance whose activity is paused."""

    def __init__(self) -> None:
        self.backend = Backend()
        self.row = self.backend.add_instance(uuid4(), self.backend.add_workflow(uuid4()).id)
        self.change(waiting=WAITING)
        self.client: Client = make_client(self.backend)
        paused = ActivityRow(0, "CreateTransaction", GIVEN, None, 3, START, last_failure=POOR)
        paused = replace(paused, paused_at=AT, max_attempts=3, last_failure_type="INSUFFICIENT_FUND")
        self.backend.activity_rows[self.id, 0] = [paused]

    @property
    def id(self) -> UUID:
        return self.row.id

    def change(self, **changed: Any) -> InstanceRow:
        self.row = self.backend.instance_rows[self.id] = replace(self.row, **changed)
        return self.row

    @property
    def body(self) -> dict[str, Any]:
        return {"temporalRunID": str(self.id), "pausedAt": "2026-03-01T10:00:07.1Z"}

    async def resume(self, body: Any = None, *, stage: str = "0", activity: str = "0", **headers: str) -> Any:
        target = f"/v2/instances/{self.id}/stages/{stage}/activities/{activity}/resume"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.call("POST", target, self.body if body is None else body, named)

    @property
    def commands(self) -> list[Any]:
        return [command for _, command in self.backend.commands]


@pytest.fixture
def world() -> World:
    return World()


# How it is shown


@pytest.mark.parametrize("surface", ["/v2/instances", "/instances"])
async def test_it_shows_under_its_stage(world: World, surface: str) -> None:
    for shown in (
        (await world.client.call("GET", f"{surface}/{world.id}")).json()["data"],
        _first((await world.client.call("GET", surface)).json()),
    ):
        (stage,) = shown["status"]
        assert stage["pendingActivities"] == [
            {
                "activityID": "0",
                "temporalRunID": str(world.id),
                "name": "CreateTransaction",
                "attempt": 3,
                "maxAttempts": 3,
                "reason": "ACTIVITY_ATTEMPT_LIMIT:3",
                "pausedAt": "2026-03-01T10:00:07.100000Z",
                "lastFailure": POOR,
                "lastFailureType": "INSUFFICIENT_FUND",
            }
        ]


def _first(answer: Any) -> Any:
    data = answer["cursor"]["data"] if "cursor" in answer else answer["data"]
    return data[0]


async def test_flows_show_it_too(world: World) -> None:
    run = await world.client.call("GET", f"/flows/{world.row.workflow_id}/runs/{world.id}")
    assert run.data["statuses"][0]["pendingActivities"][0]["activityID"] == "0"


async def test_it_is_left_out_of_other_stages_and_when_nothing_is_paused(world: World) -> None:
    world.change(waiting=replace(WAITING, pause=replace(PAUSE, stage=1)))
    shown = (await world.client.call("GET", f"/v2/instances/{world.id}")).data
    assert "pendingActivities" not in shown["status"][0]
    world.change(waiting=None)
    shown = (await world.client.call("GET", f"/v2/instances/{world.id}")).data
    assert "pendingActivities" not in shown["status"][0]


async def test_the_history_of_the_stage_shows_it(world: World) -> None:
    (shown,) = (await world.client.call("GET", f"/v2/instances/{world.id}/stages/0/history")).data
    del shown["input"]
    assert shown == {
        "name": "CreateTransaction",
        "startedAt": "2026-03-01T10:00:00.120931Z",
        "terminated": False,
        "attempt": 3,
        "lastFailure": POOR,
        "paused": True,
        "activityID": "0",
        "temporalRunID": str(world.id),
        "pauseReason": "ACTIVITY_ATTEMPT_LIMIT:3",
        "lastFailureType": "INSUFFICIENT_FUND",
    }


# Resume


async def test_a_resume_is_a_command(world: World) -> None:
    answer = await world.resume()
    assert (answer.status, answer.body) == (204, b"")
    assert world.commands == [ResumeActivity(stage=0, index=0, paused_at=AT)]


async def test_any_spelling_of_the_instant_is_the_same_pause(world: World) -> None:
    await world.resume(world.body | {"pausedAt": "2026-03-01T11:00:07.100000+01:00"})
    assert world.commands[0].paused_at == AT


@pytest.mark.parametrize(
    "changed",
    [
        {"pausedAt": "yesterday"},
        {"pausedAt": "2026-03-01"},
        {"pausedAt": ""},
        {"pausedAt": None},
        {"pausedAt": 5},
        {"temporalRunID": None},
        {"temporalRunID": ""},
        {"temporalRunID": 7},
        {"reason": "it has money now"},
        {"pausedat": "2026-03-01T10:00:07.1Z"},
    ],
)
async def test_malformed_bodies(world: World, changed: dict[str, Any]) -> None:
    body = {name: value for name, value in (world.body | changed).items() if value is not None}
    assert (await world.resume(body)).error == (400, "VALIDATION")
    assert world.commands == []


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"{}"])
async def test_bodies_that_are_no_object_of_the_two(world: World, body: bytes) -> None:
    assert (await world.resume(body)).error == (400, "VALIDATION")


@pytest.mark.parametrize(
    ("stage", "activity"), [("1", "0"), ("0", "1"), ("abc", "0"), ("0", "abc"), ("0", "+0"), ("0", "99999999999")]
)
async def test_unknown_activities(world: World, stage: str, activity: str) -> None:
    assert (await world.resume(stage=stage, activity=activity)).error == (404, "NOT_FOUND")
    assert world.commands == []


async def test_an_unknown_instance(world: World) -> None:
    for id in (uuid4(), "x"):
        target = f"/v2/instances/{id}/stages/0/activities/0/resume"
        assert (await world.client.call("POST", target, world.body)).error == (404, "NOT_FOUND")


async def test_an_instance_that_has_ended(world: World) -> None:
    world.backend.end(world.id)
    assert (await world.resume()).error == (409, "CONFLICT")
    assert world.commands == []


@pytest.mark.parametrize("run_id", [str(UUID(int=99)), "another run"])
async def test_another_run(world: World, run_id: str) -> None:
    assert (await world.resume(world.body | {"temporalRunID": run_id})).error == (409, "CONFLICT")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (rejections.ENDED, (409, "CONFLICT")),
        (rejections.OTHER_PAUSE, (409, "CONFLICT")),
        (rejections.NO_ACTIVITY, (404, "NOT_FOUND")),
        (rejections.CONFLICT, (400, "VALIDATION")),
    ],
)
async def test_what_the_engine_refuses(world: World, code: str, error: tuple[int, str]) -> None:
    world.backend.reject = Rejection(code, "the engine says no")
    assert (await world.resume()).error == error


async def test_the_same_request_again_has_no_second_effect(world: World) -> None:
    assert (await world.resume(idempotency_key="k")).status == 204
    (command,) = world.commands
    assert command.request_digest is not None
    assert (await world.resume(idempotency_key="k")).status == 204
    world.backend.end(world.id)
    assert (await world.resume(idempotency_key="k")).status == 204, "also after the end"
    other = world.body | {"pausedAt": "2026-03-01T10:00:08Z"}
    assert (await world.resume(other, idempotency_key="k")).error == (400, "VALIDATION")
    assert len(world.commands) == 1


async def test_it_is_not_in_v1(world: World) -> None:
    answer = await world.client.call("POST", f"/instances/{world.id}/stages/0/activities/0/resume", world.body)
    assert answer.status == 404


# The limit


async def test_the_limit_is_created_shown_and_inherited() -> None:
    backend = Backend()
    client = make_client(backend)
    body = {"name": "w", "stages": [], "activityMaxAttempts": 3}
    for surface in ("/v2/workflows", "/workflows", "/flows"):
        created = await client.call("POST", surface, body)
        assert created.data["config"] == body
        shown = await client.call("GET", f"{surface}/{created.data['id']}")
        assert shown.data["config"] == body
    await client.call("POST", f"/v2/workflows/{created.data['id']}/instances")
    commands = [command for _, command in backend.commands]
    assert [c.max_attempts for c in commands if isinstance(c, CreateWorkflow | RunWorkflow)] == [3, 3, 3, 3]


async def test_without_a_limit_none_is_shown() -> None:
    client = make_client(Backend())
    for given in ({}, {"activityMaxAttempts": None}):
        created = await client.call("POST", "/workflows", {"stages": []} | given)
        assert created.data["config"] == {"name": "", "stages": []}


@pytest.mark.parametrize("limit", [0, -1, 2**31, 1.5, 3.0, "3", True, [], {}])
async def test_wrong_limits(limit: Any) -> None:
    answer = await make_client(Backend()).call("POST", "/workflows", {"stages": [], "activityMaxAttempts": limit})
    assert answer.error == (400, "VALIDATION")
    assert "activityMaxAttempts" in answer.json()["errorMessage"]


@pytest.mark.parametrize("limit", [1, 2**31 - 1])
async def test_the_bounds_of_the_limit(limit: int) -> None:
    answer = await make_client(Backend()).call("POST", "/workflows", {"stages": [], "activityMaxAttempts": limit})
    assert answer.data["config"]["activityMaxAttempts"] == limit
