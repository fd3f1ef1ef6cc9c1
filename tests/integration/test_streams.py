"""Live streams over HTTP, on real processes, Kafka and Postgres."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from functools import partial
from operator import eq
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from deploy.client.server_events import ServerEvent, read_events
from schemas.settings import ApiSettings
from tests.integration.http_client import Client
from tests.integration.installation import Installation, Process
from tests.integration.waiting import eventually

MOMENT_SECONDS = 30.0
"""What is told comes within milliseconds; this is for a machine that is busy with other things."""
WAITS: dict[str, Any] = {"wait_event": {"event": "go"}}


@pytest.fixture(scope="module")
async def client(installation: Installation) -> Client:
    return installation.client()


@pytest.fixture(scope="module")
async def other(installation: Installation) -> AsyncIterator[Process]:
    """A second API process."""
    api = installation.add_api()
    assert isinstance(api.settings, ApiSettings)
    # Its deadline is far behind the moment in which streams have to end.
    api.settings = replace(api.settings, shutdown_timeout_seconds=2 * MOMENT_SECONDS)
    await api.start()
    yield api
    await api.kill()


async def stream(api: Process, path: str, last_event_id: str = "") -> AsyncGenerator[ServerEvent, None]:
    """The messages of a stream without heartbeats."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    base: Any = api.settings
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        session.get(f"{api.url}{base.base_path}/v2{path}", headers=headers) as response,
    ):
        assert (response.status, response.content_type) == (200, "text/event-stream")
        async for event in read_events(response.content.iter_any()):
            if event.event != "heartbeat":
                yield event


async def following(events: AsyncGenerator[ServerEvent, None]) -> ServerEvent:
    async with asyncio.timeout(MOMENT_SECONDS):
        return await anext(events)


async def test_an_instance_is_followed_to_its_end(client: Client, installation: Installation) -> None:
    instance = (await client.run(await client.workflow(WAITS, {"noop": {}})))["id"]
    async with aclosing(stream(installation.api, f"/instances/{instance}/stream")) as events:
        shown: Any = None
        while shown is None or "waiting" not in shown:
            event = await following(events)
            shown = event.json()
        assert event.event == "instance"
        assert shown == (await client.get(f"/v2/instances/{instance}")).data
        await client.send(instance, "go")
        told = [event.event async for event in events]
    assert told[-1] == "end"
    assert set(told[:-1]) == {"instance"}


async def test_a_list_goes_on_on_another_replica(client: Client, installation: Installation, other: Process) -> None:
    workflow = await client.workflow(WAITS)
    path = f"/instances/stream?workflowID={workflow}"
    async with aclosing(stream(installation.api, path)) as events:
        begin = await following(events)
        assert begin.event == "open"
        first = (await client.run(workflow))["id"]
        event = await following(events)
        assert (event.event, event.json()["id"]) == ("instance", first)  # type: ignore[index]
    second = (await client.run(workflow))["id"]
    # Each process hears of it by itself.
    positions = [int(text) for text in begin.id.split(".")]
    assert len(positions) == 4
    async with aclosing(stream(other, path, begin.id)) as events:
        seen = set[str]()
        while not {first, second} <= seen:  # those of two partitions come in any order
            event = await following(events)
            assert event.event == "instance", "the replica does not know what was missed"
            seen.add(event.json()["id"])  # type: ignore[index]
    async with aclosing(stream(other, path, "1.2.3")) as events:
        assert (await following(events)).event == "reset"


async def test_streams_share_a_connection_to_postgres_and_end_with_their_process(
    client: Client, installation: Installation, other: Process
) -> None:
    instance = (await client.run(await client.workflow(WAITS)))["id"]
    async with AsyncExitStack() as stack:
        paths = (f"/instances/{instance}/stream", "/instances/stream")
        streams = [await stack.enter_async_context(aclosing(stream(other, path))) for path in paths * 15]
        await asyncio.gather(*(following(events) for events in streams))
        # Those that were closed before count until that is noticed.
        for sample, count in (
            ('streams{kind="instance"}', 15),
            ('streams{kind="list"}', 15),
            ('waiting_requests{kind="read"}', 0),
        ):
            await eventually(partial(other.metric, f"orchestration_api_{sample}"), partial(eq, count))
        used = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orchestration api streams'"
        assert installation.tables.rows(used)[0][0] <= 2  # of both processes
        assert (await client.get(f"/instances/{instance}")).status == 200
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await other.terminate() == 0
        rest = await asyncio.gather(*(_drain(events) for events in streams))
        assert loop.time() - began < MOMENT_SECONDS
        assert all(event != "end" for events in rest for event in events)
    await other.start()


async def _drain(events: AsyncGenerator[ServerEvent, None]) -> list[str]:
    return [event.event async for event in events]


async def test_closed_connections_are_noticed(client: Client, other: Process) -> None:
    instance = (await client.run(await client.workflow(WAITS)))["id"]
    for _ in range(5):
        async with aclosing(stream(other, f"/instances/{instance}/stream")) as events:
            await following(events)

    async def are_open() -> float:
        return await other.metric('orchestration_api_streams{kind="instance"}')

    await eventually(are_open, lambda count: count == 0)
