"""One suite for `engine.ports.EventLog`: it is passed on Kafka, on Kafka in memory, and by what the simulations use."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import groupby
from uuid import UUID

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from msgspec import Raw

from deploy.topics import create_topics
from engine.errors import AppendFailed, ReadFailed
from engine.kafka_log import KafkaEventLog
from engine.ports import EventLog
from schemas.commands import AbortInstance, Command, SendEvent
from schemas.current import Current, CurrentWorkflow, decode_current
from schemas.kafka import Place, client, clients_of, consumer
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.kafka.options import client_options
from schemas.records import NewRecord, Record, RecordCodec
from schemas.settings import EngineSettings
from schemas.topics import (
    COMMANDS,
    COMMANDS_DEAD,
    DEFINITIONS,
    EVENTS,
    MAX_RECORD_BATCH_BYTES,
    partition_of,
    topic_name,
)
from tests.integration.event_log_reader import records
from tests.integration.waiting import eventually
from tests.kafka_contract import Away
from tests.ports.log import Log, MemoryEventLog, StoredRecord

PARTITIONS = 4
CODEC = RecordCodec()


class Subject(ABC):
    """A log under test, and what only tests do to it."""

    @abstractmethod
    def writer(self) -> EventLog:
        """One more writer."""

    @abstractmethod
    async def expire(self, partition: int, before: int) -> None:
        """Make records before this offset go away, as retention does."""

    @abstractmethod
    async def commands(self) -> dict[int, Sequence[Record]]:
        """What was sent, by partition."""

    @abstractmethod
    async def definitions(self) -> list[Current]:
        """What was defined, in order."""

    @abstractmethod
    async def dead(self) -> list[Record]:
        """What was buried, in order."""

    @abstractmethod
    def unreachable(self) -> EventLog:
        """A writer that can't reach the log."""


class Kafka(Subject):
    def __init__(self, settings: EngineSettings):
        self._settings = settings
        self.writers: list[KafkaEventLog] = []

    def writer(self) -> EventLog:
        return self._new(self._settings)

    async def expire(self, partition: int, before: int) -> None:
        place = TopicPartition(topic_name(self._settings, EVENTS), partition)
        admin = AIOKafkaAdminClient(**client_options(self._settings))
        await admin.start()
        try:
            await admin.delete_records({place: RecordsToDelete(before_offset=before)})
        finally:
            await admin.close()

    async def commands(self) -> dict[int, Sequence[Record]]:
        return {**await records(self._settings, COMMANDS)}

    async def definitions(self) -> list[Current]:
        (some,) = (await records(self._settings, DEFINITIONS)).values()
        return [decode_current(record) for record in some]

    async def dead(self) -> list[Record]:
        return [record for some in (await records(self._settings, COMMANDS_DEAD)).values() for record in some]

    def unreachable(self) -> EventLog:
        options = {"topic_prefix": self._settings.topic_prefix, "append_timeout_seconds": 1.0}
        return self._new(EngineSettings(kafka_bootstrap_servers="127.0.0.1:1", **options))  # type: ignore[arg-type]

    def _new(self, settings: EngineSettings) -> EventLog:
        self.writers.append(KafkaEventLog(clients_of(settings), settings, CODEC))
        return self.writers[-1]


class InMemory(Subject):
    """The same code as on a real Kafka, on a cluster in memory."""

    def __init__(self) -> None:
        self._settings = EngineSettings(partitions=PARTITIONS)
        self._cluster = MemoryCluster()

    async def make_topics(self) -> None:
        await create_topics(self._settings, MemoryKafka(self._cluster))

    def writer(self) -> EventLog:
        return KafkaEventLog(MemoryKafka(self._cluster), self._settings, CODEC)

    async def expire(self, partition: int, before: int) -> None:
        self._cluster.log(Place(EVENTS, partition)).expire(before)

    async def commands(self) -> dict[int, Sequence[Record]]:
        return {**self._cluster.records(COMMANDS)}

    async def definitions(self) -> list[Current]:
        return [decode_current(record) for record in self._cluster.records(DEFINITIONS)[0]]

    async def dead(self) -> list[Record]:
        return [*self._cluster.records(COMMANDS_DEAD)[0]]

    def unreachable(self) -> EventLog:
        settings = EngineSettings(partitions=PARTITIONS, append_timeout_seconds=0.2)
        return KafkaEventLog(MemoryKafka(self._cluster, Away()), settings, CODEC)


class Ports(Subject):
    def __init__(self) -> None:
        self._log = Log(PARTITIONS)

    def writer(self) -> EventLog:
        return MemoryEventLog(self._log)

    async def expire(self, partition: int, before: int) -> None:
        self._log.expire(partition, before)

    async def commands(self) -> dict[int, Sequence[Record]]:
        return dict(enumerate(self._log.commands))

    async def definitions(self) -> list[Current]:
        return [decode_current(record) for record in self._log.definitions]

    async def dead(self) -> list[Record]:
        return list(self._log.buried)

    def unreachable(self) -> EventLog:
        log = MemoryEventLog(self._log)
        log.is_away = True
        return log


@pytest.fixture(params=["kafka", "memory", "ports"])
async def subject(request: pytest.FixtureRequest, topic_prefix: str) -> AsyncIterator[Subject]:
    if request.param == "ports":
        yield Ports()
        return
    if request.param == "memory":
        memory = InMemory()
        await memory.make_topics()
        yield memory
        return
    servers = request.getfixturevalue("kafka_bootstrap_servers")
    settings = EngineSettings(kafka_bootstrap_servers=servers, topic_prefix=topic_prefix, partitions=PARTITIONS)
    await create_topics(settings)
    kafka = Kafka(settings)
    await eventually(partial(_is_there, kafka.writer()))
    yield kafka
    await asyncio.gather(*(writer.close() for writer in kafka.writers))


async def _is_there(log: EventLog) -> bool:
    """Whether the broker shows the topics that its controller has made."""
    try:
        await log.look(0)
    except ReadFailed:
        return False
    return True


@pytest.fixture
def log(subject: Subject) -> EventLog:
    return subject.writer()


def batch(name: str, size: int, value: bytes = b"{}") -> list[NewRecord]:
    return [NewRecord(name.encode(), value, [("n", b"%d" % n), ("x", b"")], 1000 + n) for n in range(size)]


async def read(log: EventLog, partition: int, start: int, stop: int) -> list[Record]:
    return [record async for some in log.read(partition, start, stop) for record in some]


def content(some: Sequence[Record]) -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]]:
    return [(record.key, record.value, list(record.headers)) for record in some]


async def test_an_append_tells_the_offset_of_its_first_record(log: EventLog) -> None:
    bases = [await log.append(1, batch("a", size)) for size in (1, 3, 2, 500, 1)]
    assert bases == [0, 1, 4, 6, 506]
    assert await log.append(2, batch("a", 1)) == 0


async def test_what_is_read_is_what_was_appended(log: EventLog) -> None:
    written = [*batch("a", 3), *batch("b", 2, b'{"amount": 1208925819614629174706177}')]
    assert await log.append(0, written[:3]) == 0
    assert await log.append(0, written[3:]) == 3
    found = await read(log, 0, 0, 5)
    assert [record.offset for record in found] == [0, 1, 2, 3, 4]
    assert content(found) == [(record.key, record.value, record.headers) for record in written]


@pytest.mark.parametrize(("start", "stop"), [(0, 30), (0, 1), (7, 8), (7, 23), (29, 30), (30, 30), (9, 3)])
async def test_a_read_is_exact(log: EventLog, start: int, stop: int) -> None:
    for name in "abc":
        await log.append(3, batch(name, 10))
    assert [record.offset for record in await read(log, 3, start, stop)] == list(range(start, stop))


async def test_a_read_meets_no_other_partition(log: EventLog) -> None:
    for partition in range(PARTITIONS):
        await log.append(partition, batch(f"p{partition}", 5))
    for partition in range(PARTITIONS):
        assert {record.key for record in await read(log, partition, 0, 5)} == {b"p%d" % partition}


async def test_a_read_from_below_the_start_begins_with_the_oldest_that_is_kept(subject: Subject, log: EventLog) -> None:
    await log.append(0, batch("a", 10))
    await log.append(0, batch("b", 10))
    await subject.expire(0, 13)
    assert [record.offset for record in await read(log, 0, 0, 20)] == list(range(13, 20))
    assert [record.offset for record in await read(log, 0, 15, 18)] == [15, 16, 17]
    assert await log.append(0, batch("c", 1)) == 20


async def test_batches_of_two_writers_stay_whole(subject: Subject) -> None:
    rng = random.Random(2)
    sizes = {name: [rng.randint(1, 40) for _ in range(40)] for name in ("one", "two")}
    bases: dict[str, list[int]] = {}

    async def write(name: str) -> None:
        log = subject.writer()
        bases[name] = [await log.append(1, batch(f"{name}-{n}", size)) for n, size in enumerate(sizes[name])]

    await asyncio.gather(*(write(name) for name in sizes))
    total = sum(map(sum, sizes.values()))
    found = await read(subject.writer(), 1, 0, total)
    assert [record.offset for record in found] == list(range(total))
    runs = [(key, [record.offset for record in some]) for key, some in groupby(found, lambda record: record.key)]
    expected = {
        f"{name}-{n}".encode(): list(range(base, base + sizes[name][n]))
        for name in sizes
        for n, base in enumerate(bases[name])
    }
    assert dict(runs) == expected
    assert len(runs) == len(expected)
    for name in sizes:
        assert bases[name] == sorted(bases[name])


async def test_a_reader_sees_what_another_writer_appended(subject: Subject) -> None:
    first, second = subject.writer(), subject.writer()
    for n in range(20):
        assert await first.append(0, batch(f"a{n}", 1)) == 2 * n
        assert await second.append(0, batch(f"b{n}", 1)) == 2 * n + 1
        (seen,) = await read(first, 0, 2 * n + 1, 2 * n + 2)
        assert seen.key == b"b%d" % n


async def test_a_buried_command_keeps_what_it_was(subject: Subject, log: EventLog) -> None:
    commands = [
        StoredRecord(7, b"key", b"{not json", [("type", b"RunWorkflow"), ("trace", b"\x00\xff")]),
        StoredRecord(8, None, None, []),
    ]
    await log.bury(2, list(zip(commands, ("no JSON", "no value – none"), strict=True)))
    first, second = await subject.dead()
    assert (first.key, first.value) == (b"key", b"{not json")
    assert list(first.headers[:2]) == commands[0].headers
    assert second.key is None
    assert not second.value
    headers = [dict(buried.headers) for buried in (first, second)]
    assert [found["dead-reason"] for found in headers] == [b"no JSON", "no value – none".encode()]
    sources = [(found["dead-source"] or b"").decode() for found in headers]
    assert [source.rpartition(COMMANDS)[2] for source in sources] == ["/2/7", "/2/8"]


async def test_commands_reach_the_partition_of_their_aggregate_in_order(subject: Subject, log: EventLog) -> None:
    keys = [str(UUID(int=n)) for n in range(20)]
    sent: list[tuple[str, Command]] = [(key, SendEvent(name=f"e{n}")) for n in range(3) for key in keys]
    await log.send(sent, 5)
    await subject.writer().send([(keys[0], AbortInstance())], 6)
    expected: dict[int, list[tuple[str, Command]]] = {partition: [] for partition in range(PARTITIONS)}
    for key, command in [*sent, (keys[0], AbortInstance())]:
        expected[partition_of(key.encode(), PARTITIONS)].append((key, command))
    found = {p: [CODEC.decode_command(record) for record in some] for p, some in (await subject.commands()).items()}
    assert found == expected


async def test_commands_may_be_larger_together_than_a_batch(subject: Subject, log: EventLog) -> None:
    text = "x" * (MAX_RECORD_BATCH_BYTES // 8)
    keys = [str(UUID(int=n % 2)) for n in range(30)]
    sent: list[tuple[str, Command]] = [(key, SendEvent(name=f"{n} {text}")) for n, key in enumerate(keys)]
    await log.send(sent, 0)
    by_partition: dict[int, list[tuple[str, Command]]] = {partition: [] for partition in range(PARTITIONS)}
    for key, command in sent:
        by_partition[partition_of(key.encode(), PARTITIONS)].append((key, command))
    found = {p: [CODEC.decode_command(record) for record in some] for p, some in (await subject.commands()).items()}
    assert found == by_partition


async def test_definitions_are_appended_in_order(subject: Subject, log: EventLog) -> None:
    workflow = CurrentWorkflow(stages=Raw(b'[{"noop":null}]'))
    first, second = (str(UUID(int=n)) for n in (1, 2))
    definitions = [Current(first, 1, workflow), Current(second, 1, workflow), Current(first, 2, None)]
    await log.define(definitions[:2], 5)
    await log.define(definitions[2:], 6)
    assert await subject.definitions() == [*definitions, Current(first, 2, None)]  # its mark, and no value


async def test_a_look_tells_what_a_partition_holds_and_of_which_topics(subject: Subject, log: EventLog) -> None:
    before = await log.look(0)
    assert (before.events, before.commands) == ((0, 0), (0, 0))
    assert before.events_id
    assert before.commands_id not in ("", before.events_id)
    await log.append(0, batch("a", 10))
    await subject.expire(0, 4)
    await log.send([(str(UUID(int=n)), AbortInstance()) for n in range(20)], 5)
    found = await subject.writer().look(0)
    assert found.events == (4, 10)
    assert found.commands == (0, len((await subject.commands())[0]))
    assert (found.events_id, found.commands_id) == (before.events_id, before.commands_id)
    assert (await log.look(1)).events == (0, 0)


@pytest.mark.parametrize("subject", ["kafka"], indirect=True)
async def test_a_look_does_not_wait_before_it_asks(
    subject: Subject, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine looks at each of its partitions, one after another, before it goes on with what another one left."""
    for number in range(PARTITIONS):
        await log.look(number)  # the leaders of new topics may not be there at once
    log = subject.writer()
    monkeypatch.setattr(client, "READ_PAUSE_SECONDS", 10**6)
    patient = {"retry_backoff_ms": 10**9}
    monkeypatch.setattr(consumer, "client_options", lambda settings: {**client_options(settings), **patient})
    async with asyncio.timeout(60):
        for number in range(PARTITIONS):
            assert (await log.look(number)).events == (0, 0)


async def test_a_log_out_of_reach_is_an_error_in_time(subject: Subject) -> None:
    log = subject.unreachable()
    async with asyncio.timeout(60):
        with pytest.raises(AppendFailed):
            await log.append(0, batch("a", 1))
        with pytest.raises(AppendFailed):
            await log.send([("a", AbortInstance())], 0)
        with pytest.raises(AppendFailed):
            await log.define([Current("a", 1, None)], 0)
        with pytest.raises(AppendFailed):
            await log.bury(0, [(StoredRecord(0, b"k", b"v", []), "reason")])
        with pytest.raises(ReadFailed):
            await read(log, 0, 0, 1)
        with pytest.raises(ReadFailed):
            await log.look(0)
