"""Which messages fire triggers (contract: `triggers-and-events`, When a trigger fires), on a real Kafka."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import cramjam
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.record.default_records import DefaultRecordBatch

from deploy.topics import create_topics
from engine.triggers import listener as listening
from schemas.kafka.unpacking import MAX_UNPACKED_BYTES
from schemas.settings import EngineSettings
from schemas.topics import EVENTS, topic_name
from tests.integration.listening_world import World, message, put, until
from tests.raw_records import PACKING, RawRecord, put_raw

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Topics are looked at more often."""
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(listening, "TAKE_SECONDS", 0.2)
    monkeypatch.setattr(listening, "FIRST_PAUSE_SECONDS", 0.1)


@pytest.fixture(scope="module")
async def shared(kafka_bootstrap_servers: str) -> AsyncIterator[World]:
    """Topics of an installation that all tests share; each has topics of other services of its own."""
    settings = EngineSettings(
        kafka_bootstrap_servers=kafka_bootstrap_servers, topic_prefix=f"t{uuid.uuid4().hex[:12]}.", partitions=1
    )
    await create_topics(settings)
    world = World(settings)
    await world.admin.start()
    await world.producer.start()
    try:
        await world.define()
        yield world
    finally:
        await world.producer.stop()
        await world.admin.close()
        await world.log.close()


@pytest.fixture
async def world(shared: World) -> World:
    return shared


@pytest.fixture
def ledger() -> str:
    return f"t{uuid.uuid4().hex[:8]}.ledger"


@pytest.fixture
def wallets() -> str:
    return f"t{uuid.uuid4().hex[:8]}.wallets"


async def test_the_history_of_a_topic_that_is_added_fires_nothing(world: World, ledger: str, wallets: str) -> None:
    """Two engines share it, so each decides for partitions that the other has not got."""
    partitions, old = 16, 1000
    await world.make(wallets)
    async with world.engine(wallets):
        pass
    await world.make(ledger, partitions)
    await asyncio.gather(*(world.put(ledger, range(old), partition) for partition in range(partitions)))
    async with world.engine(wallets, ledger) as first, world.engine(wallets, ledger, engine_id="engine-2") as second:
        for partition in range(partitions):
            await world.put(ledger, [old + partition], partition)
        await until(lambda: len(set(first.fired + second.fired)) == partitions)
    assert sorted(first.fired + second.fired) == [old + partition for partition in range(partitions)]


async def test_listening_goes_on_where_it_was_when_the_group_is_forgotten(world: World, ledger: str) -> None:
    """Kafka forgets a group that had no member for a week."""
    await world.make(ledger, 2)
    async with world.engine(ledger, engine_id=None) as engine:
        await world.put(ledger, [1])
        await engine.fires(1)
    await world.put(ledger, [2, 3])
    await world.put(ledger, [4], partition=1)
    await forget(world, f"{world.settings.topic_prefix}orchestration-triggers.{ledger}")
    async with world.engine(ledger, engine_id=None) as engine:
        await until(lambda: len(engine.fired) >= 3)
        await world.put(ledger, [5])
        await until(lambda: 5 in engine.fired)
        assert sorted(engine.fired) == [2, 3, 4, 5]


async def forget(world: World, group: str) -> None:
    """Delete a group with its offsets, as soon as it has no member any more."""
    client = AIOKafkaClient(bootstrap_servers=world.settings.kafka_bootstrap_servers)
    await client.bootstrap()
    try:
        code = -1
        async with asyncio.timeout(30):
            while code != 0:
                node = await client.coordinator_lookup(0, group)
                ((_, code),) = (await client.send(node, DeleteGroupsRequest([group]))).results
                await asyncio.sleep(0.1)
    finally:
        await client.close()


async def test_an_engine_listens_to_what_is_set_now(world: World, ledger: str, wallets: str) -> None:
    await world.make(ledger)
    await world.make(wallets)
    async with world.engine(ledger) as engine:
        await world.put(ledger, [1])
        await engine.fires(1)
    async with world.engine(wallets) as engine:
        await world.put(ledger, [2])
        await world.put(wallets, [10])
        await engine.fires(10)
        assert not engine.listeners.troubles
    async with world.engine(ledger, wallets) as engine:
        await engine.fires(2)


async def test_every_codec_can_be_read(world: World, ledger: str) -> None:
    await world.make(ledger)
    async with world.engine(ledger) as engine:
        for number, codec in enumerate(CODECS):
            async with producer(world, compression_type=codec) as compressing:
                await put(compressing, ledger, [number])
        await engine.fires(*range(len(CODECS)))


async def test_records_that_take_all_memory_are_left_out(
    world: World, ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    await world.make(ledger)
    servers = world.settings.kafka_bootstrap_servers
    async with world.engine(ledger) as engine:
        large = [RawRecord(b"k", bytes(MAX_UNPACKED_BYTES // 2))] * 3
        for number, packing in enumerate(PACKING):
            await put_raw(servers, ledger, large, packing=packing)
            await world.put(ledger, [number])
        await engine.fires(*range(len(PACKING)))
        assert not engine.listeners.troubles
    assert sum("are left out: unpacked" in line.getMessage() for line in caplog.records) == len(PACKING)


async def test_our_own_log_can_be_read_however_it_is_compressed(world: World) -> None:
    events = topic_name(world.settings, EVENTS)
    for codec in CODECS:
        async with producer(world, compression_type=codec) as compressing:
            await put(compressing, events, [1])
    read = [record.value async for some in world.log.read(0, 0, len(CODECS)) for record in some]
    assert read == [message(1)] * len(CODECS)


@contextlib.asynccontextmanager
async def producer(world: World, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """One more producer, with other options."""
    async with AIOKafkaProducer(bootstrap_servers=world.settings.kafka_bootstrap_servers, **options) as producer:
        yield producer


async def test_a_topic_that_cannot_be_read_stops_none_of_the_others(
    world: World, ledger: str, wallets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.make(ledger)
    await world.make(wallets)

    def damaged(_: Any) -> bytes:
        raise cramjam.DecompressionError("damaged")

    async with world.engine(ledger, wallets) as engine:
        up = engine.metrics.trigger_topic_up.labels(ledger)._value
        await until(lambda: up.get() == 1)
        with monkeypatch.context() as patch:
            patch.setattr(f"{DefaultRecordBatch.__module__}.lz4_decode", damaged)
            await world.put(ledger, [1])
            async with producer(world, compression_type="lz4") as compressing:
                await put(compressing, ledger, [2])
            await world.put(ledger, [3])
            await until(lambda: ledger in engine.listeners.troubles)
            await world.put(wallets, [10])
            await until(lambda: 10 in engine.fired)
            assert set(engine.listeners.troubles) == {ledger}
            assert "damaged" in engine.listeners.troubles[ledger]
            assert engine.listeners.states == {ledger: engine.listeners.troubles[ledger], wallets: "ok"}
            assert up.get() == 0
            assert engine.listeners.settled, "the engine does all its other work"
        await until(lambda: {1, 2, 3} <= set(engine.fired))
        await until(lambda: up.get() == 1)
        assert not engine.listeners.troubles
    assert sorted(set(engine.fired)) == [1, 2, 3, 10]


async def test_what_was_aborted_fires_nothing(world: World, ledger: str) -> None:
    await world.make(ledger)
    async with world.engine(ledger) as engine:
        async with producer(world, transactional_id=uuid.uuid4().hex) as transactional:
            await transactional.begin_transaction()
            await put(transactional, ledger, [1])
            await transactional.abort_transaction()
            async with transactional.transaction():
                await put(transactional, ledger, [2])
        await world.put(ledger, [3])
        await engine.fires(2, 3)


@pytest.mark.parametrize("listens", [pytest.param(True, id="meanwhile"), pytest.param(False, id="later")])
async def test_a_topic_that_was_made_anew_is_another_one(world: World, ledger: str, listens: bool) -> None:
    await world.make(ledger)
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(world.engine(ledger))
        await world.put(ledger, [1, 2, 3])
        await engine.fires(1, 2, 3)
        if not listens:
            await stack.aclose()
        await world.delete(ledger)
        await world.make(ledger)
        await world.put(ledger, [4, 5, 6, 7, 8])
        if not listens:
            engine = await stack.enter_async_context(world.engine(ledger))
        await until(lambda: {4, 5, 6, 7, 8} <= set(engine.fired))
        places = {(command.source, command.offset) for command in engine.commands}
        assert len(places) == len(engine.commands), "an old offset would count as a repetition"


async def test_a_topic_that_is_copied_from_elsewhere_has_a_history(
    world: World, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: str) -> None:
        """Nothing."""

    async with world.engine(ledger) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(engine.listeners._finder, "find", away)
            await world.make(ledger)
            await world.put(ledger, [1, 2], timestamp_ms=1_700_000_000_000)
            await world.put(ledger, [3])
        await engine.fires(3)


async def test_a_topic_that_is_made_later_has_no_history(world: World, ledger: str, wallets: str) -> None:
    await world.make(wallets)
    async with world.engine(ledger, wallets) as engine:
        assert engine.listeners.troubles == {ledger: f"topic {ledger} does not exist"}
        await world.put(wallets, [1])
        await engine.fires(1)
        await world.make(ledger)
        await world.put(ledger, [2])
        await engine.fires(1, 2)
        assert not engine.listeners.troubles


@pytest.mark.parametrize("listens", [pytest.param(True, id="meanwhile"), pytest.param(False, id="later")])
async def test_a_partition_that_is_added_is_read_from_its_start(world: World, ledger: str, listens: bool) -> None:
    await world.make(ledger)
    await world.put(ledger, [0])
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(world.engine(ledger))
        if not listens:
            await stack.aclose()
        await world.grow(ledger, 2)
        await world.put(ledger, [1], partition=1)
        if not listens:
            engine = await stack.enter_async_context(world.engine(ledger))
        await engine.fires(1)


async def test_nobody_makes_a_topic_that_is_listened_to(world: World, ledger: str) -> None:
    await world.make(ledger)
    async with world.engine(ledger) as engine:
        await world.delete(ledger)
        await until(lambda: ledger in engine.listeners.troubles)
        assert ledger not in await world.admin.list_topics()
