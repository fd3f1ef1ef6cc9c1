"""Probes, metrics, start and stop; all outside the base path (contract: `http-api`, Authorization and health)."""

import asyncio
from uuid import UUID, uuid4

import pytest
from starlette.applications import Starlette

from api import app as api_app
from api.app import create_app
from api.health import health_routes
from api.metrics import Metrics
from api.ports import InstanceRow
from api.waiting import Admission
from schemas.settings import ApiSettings
from tests.unit.api.fakes import (
    Backend,
    Client,
    FakeCommandLog,
    FakeReadModel,
    client_of,
    fake_services,
    make_client,
)


@pytest.mark.parametrize("path", ["/_healthcheck", "/livez"])
async def test_liveness_does_not_depend_on_anything(path: str) -> None:
    backend = Backend()
    backend.kafka_away = backend.postgres_away = True
    answer = await make_client(backend).call("GET", path, base="")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    if path == "/_healthcheck":
        assert answer.json() == {"default": "OK"}


@pytest.mark.parametrize("kafka", [True, False])
@pytest.mark.parametrize("postgres", [True, False])
async def test_it_is_ready_while_reads_work(kafka: bool, postgres: bool) -> None:
    backend = Backend()
    backend.kafka_away, backend.postgres_away = not kafka, not postgres
    client = make_client(backend)
    answer = await client.call("GET", "/readyz", base="")
    assert (answer.status, answer.json()) == (200 if postgres else 503, {"ready": postgres})
    verbose = await client.call("GET", "/readyz?verbose", base="")
    assert verbose.status == answer.status
    checks = {"kafka": kafka, "postgres": postgres, "notifications": postgres}
    assert verbose.json() == {"ready": postgres, "checks": checks}
    metrics = (await client.call("GET", "/metrics", base="")).body.decode()
    assert f'orchestration_api_dependency_up{{dependency="kafka"}} {float(kafka)}' in metrics
    assert f'orchestration_api_dependency_up{{dependency="postgres"}} {float(postgres)}' in metrics


async def test_kafka_and_postgres_are_asked_once_a_second_however_many_ask() -> None:
    backend = Backend()
    asked: list[str] = []

    class CountedLog(FakeCommandLog):
        async def reachable(self) -> bool:
            asked.append("kafka")
            await asyncio.sleep(0)
            return await super().reachable()

    class CountedReads(FakeReadModel):
        async def instance(self, instance_id: UUID, /) -> InstanceRow | None:
            asked.append("postgres")
            return await super().instance(instance_id)

    now = 0.0
    settings = ApiSettings()
    services = fake_services(backend, settings, read_model=CountedReads(backend), command_log=CountedLog(backend))
    metrics = Metrics(Admission(1), Admission(1))
    client = Client(Starlette(routes=health_routes(services, metrics, clock=lambda: now)), base="")
    paths = ["/readyz", "/readyz?verbose", "/metrics"]
    for _ in range(3):
        await asyncio.gather(*(client.call("GET", path) for path in paths * 10))
        now += 0.3
    assert sorted(asked) == ["kafka", "postgres"]
    backend.kafka_away = True
    now = 1.0  # a second after the answers came
    await asyncio.gather(*(client.call("GET", path) for path in paths * 10))
    assert sorted(asked) == ["kafka", "kafka", "postgres", "postgres"]
    assert (await client.call("GET", "/readyz?verbose")).json()["checks"]["kafka"] is False


async def test_probes_answer_while_too_much_waits() -> None:
    backend = Backend()
    backend.stalled = True
    client = make_client(backend, max_waiting_requests=1)
    waiting = asyncio.create_task(client.call("POST", "/workflows", {"stages": []}))
    async with asyncio.timeout(60):
        while not backend.commands:  # noqa: ASYNC110 - until the task has come to rest
            await asyncio.sleep(0)
    assert (await client.call("GET", "/_healthcheck", base="")).status == 200
    assert (await client.call("GET", "/_info")).status == 200
    metrics = (await client.call("GET", "/metrics", base="")).body.decode()
    assert 'orchestration_api_waiting_requests{kind="command"} 1.0' in metrics
    waiting.cancel()


async def test_metrics_have_one_series_per_template_not_per_path() -> None:
    client = make_client(Backend())
    for _ in range(3):
        await client.call("GET", f"/instances/{uuid4()}")
        await client.call(f"X{uuid4().hex}", "/instances")
    answer = await client.call("GET", "/metrics", base="")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = [line for line in answer.body.decode().splitlines() if "orchestration_api_requests_total{" in line]
    base = "/api/orchestration"
    assert lines == [
        f'orchestration_api_requests_total{{method="GET",path="{base}/instances/{{instanceID}}",status="404"}} 3.0',
        f'orchestration_api_requests_total{{method="other",path="{base}/instances",status="405"}} 3.0',
    ]


@pytest.mark.parametrize("path", ["/_healthcheck", "/readyz", "/metrics", "/openapi.json"])
async def test_other_methods_are_405(path: str) -> None:
    answer = await make_client(Backend()).call("POST", path, base="")
    assert answer.error == (405, "VALIDATION")
    assert answer.headers["allow"]


async def test_start_and_stop_open_and_close_everything() -> None:
    backend = Backend()
    app = make_client(backend).app
    async with app.router.lifespan_context(app):
        assert backend.opened == {"FakeReadModel", "FakePositions", "FakeCommandLog", "FakeLinks"}
    assert backend.opened == set()


async def test_a_stop_answers_those_who_wait_for_an_end_with_what_is_true_now() -> None:
    backend = Backend()
    backend.ends_at_once, backend.waits_for_ends = False, True
    workflow = backend.add_workflow(uuid4())
    stop = asyncio.Event()
    client = client_of(backend, ApiSettings(), stop)
    path = f"/workflows/{workflow.id}/instances?wait=true"
    async with client.app.router.lifespan_context(client.app):
        waiting = [asyncio.create_task(client.call("POST", path)) for _ in range(3)]
        async with asyncio.timeout(60):
            while backend.calls.count("wait_ended") < 3:  # noqa: ASYNC110 - until all have come to rest
                await asyncio.sleep(0)
        stop.set()
        async with asyncio.timeout(60):
            answers = [*await asyncio.gather(*waiting), await client.call("POST", path)]
    assert [answer.status for answer in answers] == [201] * 4
    assert [answer.data["terminated"] for answer in answers] == [False] * 4


async def test_a_request_that_a_stop_can_not_wait_for_is_answered_503() -> None:
    """The server cancels it then."""
    backend = Backend()
    backend.stalled = True
    client = make_client(backend)
    waiting = asyncio.create_task(client.call("POST", "/workflows", {"stages": []}))
    async with asyncio.timeout(60):
        while not backend.commands:  # noqa: ASYNC110 - until the task has come to rest
            await asyncio.sleep(0)
    waiting.cancel()
    answer = await waiting
    assert answer.error == (503, "INTERNAL")
    assert answer.headers["retry-after"] == "1"


class Hanging(FakeReadModel):
    async def open(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_start_and_stop_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_app, "START_TIMEOUT_SECONDS", 0.01)
    backend = Backend()
    settings = ApiSettings(shutdown_timeout_seconds=0.01)
    services = fake_services(backend, settings, read_model=Hanging(backend))
    app = create_app(settings, services)
    async with asyncio.timeout(60), app.router.lifespan_context(app):
        assert "FakeCommandLog" in backend.opened
    assert backend.opened == set()


async def test_it_starts_and_answers_503_while_nothing_is_there() -> None:
    """With the real read model, positions and command log."""
    settings = ApiSettings(
        kafka_bootstrap_servers="127.0.0.1:1", database_url="postgresql://nobody@127.0.0.1:1/x", base_path=""
    )
    app = create_app(settings)
    client = make_client(Backend(), base_path="")
    client.app = app
    async with app.router.lifespan_context(app):
        assert (await client.call("GET", "/readyz?verbose")).json() == {
            "ready": False,
            "checks": {"kafka": False, "postgres": False, "notifications": False},
        }
        assert (await client.call("POST", "/workflows", {"stages": []})).error == (503, "INTERNAL")
        assert (await client.call("GET", f"/workflows/{uuid4()}")).error == (503, "INTERNAL")
        assert (await client.call("GET", "/_info")).status == 200
