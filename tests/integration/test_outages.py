"""Kafka or Postgres go away and come back: what is answered meanwhile, and that everything recovers by itself."""

import asyncio
import contextlib
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.postgres import EmbeddedPostgres
from projections.queries.positions import ReadPositions
from schemas import rejections
from schemas.commands import SendEvent
from schemas.events import CommandRejected, InstanceEnded
from schemas.kafka.options import client_options
from schemas.records import RecordCodec
from schemas.topics import COMMANDS, COMMANDS_DEAD, EVENTS, partition_of, topic_name
from tests.integration.event_log_reader import admitted_events, records
from tests.integration.http_client import Client, Json
from tests.integration.installation import PARTITIONS, Installation
from tests.integration.log_checks import check_log, check_read_model
from tests.integration.repairs import repaired, settled, until_faults
from tests.integration.waiting import eventually

MAX_REFUSAL_SECONDS = 30.0
"""Above every deadline of the service, and below that of a client. The machine may stand still meanwhile."""
RECOVERY_SECONDS = 60.0
WAITS: Json = {"wait_event": {"event": "go"}}


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    kafka = EmbeddedKafka(tmp_path_factory.mktemp("kafka"))
    kafka.start()
    yield kafka
    kafka.kill()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    postgres.start()
    yield postgres
    postgres.kill()


@pytest.fixture(scope="module")
async def fragile(
    kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    """An installation on servers of its own, which may be killed."""
    folder = tmp_path_factory.mktemp("outages")
    engine = {"snapshot_seconds": 1.0}
    async with Installation(kafka.bootstrap_servers, postgres.url, folder, engine=engine) as installation:
        yield installation


@contextlib.asynccontextmanager
async def away(server: EmbeddedKafka | EmbeddedPostgres) -> AsyncIterator[None]:
    """Kill a server, and start it again at the end."""
    await asyncio.to_thread(server.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


async def refused(client: Client, method: str, path: str, body: object = None) -> None:
    """The request is answered 503 in time, with all that the contract wants of it."""
    started = time.monotonic()
    answer = await client.call(method, path, body)
    assert answer.error == (503, "INTERNAL")
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - started < MAX_REFUSAL_SECONDS


async def ended(client: Client, instance_id: str) -> Json:
    """The instance, which ends once everything has recovered."""

    async def shown() -> Json | None:
        try:
            answer = await client.get(f"/instances/{instance_id}")
        except aiohttp.ClientError:
            return None
        return answer.data if answer.status == 200 and answer.data["terminated"] else None

    instance = await eventually(shown, seconds=RECOVERY_SECONDS)
    assert instance is not None
    return instance


async def recovered(installation: Installation, client: Client) -> None:
    """All processes work again, all partitions take commands."""
    for process in (installation.api, installation.engine, installation.projections):
        await eventually(process.ready, seconds=RECOVERY_SECONDS)

    async def created() -> str | None:
        answer = await client.post("/workflows", {"stages": [{"noop": {}}]})
        return None if answer.status == 503 else str(answer.data["id"])

    workflow = await eventually(created, seconds=RECOVERY_SECONDS)
    assert workflow is not None
    for instance in await asyncio.gather(*(client.run(workflow, wait=True) for _ in range(8 * PARTITIONS))):
        assert instance["terminated"] is True


async def test_kafka_goes_away_and_comes_back(fragile: Installation, kafka: EmbeddedKafka) -> None:
    client = fragile.client()
    workflow = await client.workflow(WAITS)
    waiting, aborted = await client.run(workflow), await client.run(workflow)
    delayed = await client.run(await client.workflow({"delay": {"duration": "2s"}}))
    address = kafka.bootstrap_servers
    async with away(kafka):
        await asyncio.gather(
            refused(client, "POST", "/workflows", {"stages": []}),
            refused(client, "POST", f"/workflows/{workflow}/instances?wait=true"),
            refused(client, "POST", f"/instances/{waiting['id']}/events", {"name": "other"}),
            refused(client, "DELETE", f"/workflows/{workflow}"),
            refused(client, "PUT", f"/instances/{aborted['id']}/abort"),
        )
        assert (await client.instance(waiting["id"]))["id"] == waiting["id"]
        assert (await client.get(f"/workflows/{workflow}")).status == 200
        assert (await client.get("/instances")).status == 200
        await eventually(fragile.api.ready)  # a gateway would take the reads away too
    assert kafka.bootstrap_servers == address
    assert (await ended(client, delayed["id"]))["terminated"]
    await recovered(fragile, client)
    assert (await client.send(waiting["id"], "go")).status == 204
    assert "error" not in await ended(client, waiting["id"])
    await check_log(fragile)


async def test_postgres_goes_away_and_comes_back(fragile: Installation, postgres: EmbeddedPostgres) -> None:
    client = fragile.client()
    workflow = await client.workflow(WAITS)
    waiting = await client.run(workflow)
    delayed = await client.run(await client.workflow({"delay": {"duration": "1s"}}))
    url = postgres.url
    async with away(postgres):
        await asyncio.gather(
            refused(client, "GET", f"/instances/{waiting['id']}"),
            refused(client, "GET", f"/workflows/{workflow}"),
            refused(client, "GET", "/workflows"),
            refused(client, "GET", f"/instances?workflowID={workflow}"),
            refused(client, "GET", f"/instances/{waiting['id']}/history"),
            refused(client, "POST", f"/workflows/{workflow}/instances"),
            refused(client, "POST", "/workflows", {"stages": []}),
        )
        await produce_event(fragile, waiting["id"])
        both = {waiting["id"], delayed["id"]}
        await eventually(lambda: ended_in_log(fragile), lambda seen: seen >= both)
    assert postgres.url == url
    for instance_id in both:
        assert "error" not in await ended(client, instance_id)
    await recovered(fragile, client)
    await check_read_model(fragile)


async def produce_event(installation: Installation, instance_id: str) -> None:
    """Send event `go` as an API would that still reached the read model."""
    record = RecordCodec().encode(instance_id, SendEvent(name="go"), timestamp_ms=time.time_ns() // 1_000_000)
    assert record.value is not None
    await produce(installation, record.key, record.value, record.headers)


async def produce(
    installation: Installation, key: bytes, value: bytes, headers: list[tuple[str, bytes]]
) -> tuple[int, int]:
    """Append to topic `commands`; returns partition and offset."""
    async with AIOKafkaProducer(**client_options(installation.settings)) as producer:
        topic = topic_name(installation.settings, COMMANDS)
        sent = await producer.send_and_wait(topic, value, key, headers=headers)
    return sent.partition, sent.offset


async def ended_in_log(installation: Installation) -> set[str]:
    logs = await admitted_events(installation.settings)
    return {r.aggregate_id for log in logs.values() for r in log if isinstance(r.event, InstanceEnded)}


@pytest.mark.parametrize(
    ("value", "kind"), [(b"{not json", b"RunWorkflow"), (b"{}", b"Nonsense"), (b"\xff\xfe", b"SendEvent")]
)
async def test_a_command_that_nobody_can_decode_is_put_aside(
    installation: Installation, value: bytes, kind: bytes
) -> None:
    client = installation.client()
    waiting = await client.run(await client.workflow(WAITS))
    # The same key, thus the same partition, so that the event behind it shows that the partition goes on.
    key, headers = waiting["id"].encode(), [("type", kind), ("trace", uuid.uuid4().bytes)]
    partition, offset = await produce(installation, key, value, headers)
    assert (await client.send(waiting["id"], "go")).status == 204
    assert (await ended(client, waiting["id"]))["terminated"]

    (buried,) = [
        record
        for some in (await records(installation.settings, COMMANDS_DEAD)).values()
        for record in some
        if headers[1] in record.headers
    ]
    source = f"{topic_name(installation.settings, COMMANDS)}/{partition}/{offset}".encode()
    assert (buried.key, buried.value) == (key, value)
    assert list(buried.headers[:2]) == headers
    assert dict(buried.headers)["dead-source"] == source
    assert dict(buried.headers)["dead-reason"]

    (rejected,) = [r.event for r in (await admitted_events(installation.settings))[partition] if r.cause == offset]
    assert isinstance(rejected, CommandRejected)
    positions = ReadPositions(installation.settings)
    await positions.open()
    try:
        await positions.wait_cause(partition, offset, asyncio.get_running_loop().time() + RECOVERY_SECONDS)
        rejection = await positions.rejection(partition, offset)
    finally:
        await positions.close()
    assert rejection is not None
    assert rejection.code == rejections.UNDECODABLE


async def test_an_older_copy_of_a_partition_is_noticed_and_repaired(
    fragile: Installation, kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    client = fragile.client()
    folder = kafka._data_dir / "data" / f"{topic_name(fragile.settings, EVENTS)}-0"
    waits = await client.workflow(WAITS)
    older = [await client.run(waits) for _ in range(2 * PARTITIONS)]
    await settled(fragile)
    async with stopped(kafka):
        shutil.copytree(folder, tmp_path / "copy")
    await recovered(fragile, client)
    newer = [await client.run(waits)]
    while len(newer) < 4 * PARTITIONS or partition_of(newer[-1]["id"].encode(), PARTITIONS) != 0:
        newer.append(await client.run(waits))
    await settled(fragile)
    async with stopped(kafka):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "copy", folder)
    # The engine that runs would notice when it appends something.
    await fragile.engine.restart()
    for process in (fragile.engine, fragile.projections):
        await until_faults(process, ("events", "cut"))
    assert "events/0: it ends at offset" in await repaired(fragile)
    for process in (fragile.engine, fragile.projections):
        await until_faults(process)
    await recovered(fragile, client)
    for instance in (*older, *newer):
        assert (await client.send(instance["id"], "go")).status == 204
        assert "error" not in await ended(client, instance["id"])


@contextlib.asynccontextmanager
async def stopped(kafka: EmbeddedKafka) -> AsyncIterator[None]:
    """Stop Kafka in order, and start it again at the end."""
    await asyncio.to_thread(kafka.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(kafka.start)
