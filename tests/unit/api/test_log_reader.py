"""An instance's records in the log, over HTTP, on a Kafka in memory."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from api import log_reader
from api.app import create_app
from api.cursors import START, Cursor, Cursors
from api.log_reader import KafkaLogReader
from api.ports import LogPlace
from schemas import events
from schemas.kafka import KafkaFault, NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.records import NewRecord, RecordCodec
from schemas.settings import ApiSettings
from schemas.topics import partition_of
from tests.unit.api.fakes import Backend, Client, fake_services

AT: Final = datetime(2026, 3, 1, 10, 0, 0, 5, tzinfo=UTC)
PARTITIONS: Final = 3
ID: Final = UUID("00000000-0000-4000-8000-000000000001")
OTHER: Final = "00000000-0000-4000-8000-000000000002"
CODEC: Final = RecordCodec()
SETTINGS: Final = ApiSettings(topic_prefix="x.")
PATH: Final = f"/v2/instances/{ID}/log"


def claim(owner: str, seconds: float = 0) -> NewRecord:
    at = AT + timedelta(seconds=seconds)
    return CODEC.encode("", events.PartitionClaimed(at=at, owner=owner), timestamp_ms=int(at.timestamp() * 1000))


def received(name: str, epoch: int, *, id: str = str(ID), version: int = 1, seconds: float = 0) -> NewRecord:
    at = AT + timedelta(seconds=seconds)
    event = events.EventReceived(at=at, name=name)
    return CODEC.encode(
        id, event, timestamp_ms=int(at.timestamp() * 1000), version=version, cause=version + 6, epoch=epoch
    )


class Log:
    """Topic `events`, and an API that knows one instance."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create(NewTopic("x.events", PARTITIONS, 1))
        self.partition = partition_of(str(ID).encode(), PARTITIONS)
        self.backend = Backend()
        self.backend.add_instance(ID, self.backend.add_workflow(UUID(int=7), "w", []).id)
        self.lasts(0)
        services = fake_services(self.backend, SETTINGS)
        log = KafkaLogReader(MemoryKafka(self.cluster), SETTINGS)
        services = msgspec.structs.replace(services, log_reader=log)
        self.client = Client(create_app(SETTINGS, services), SETTINGS.base_path)

    def lasts(self, seconds: float) -> None:
        """How long after its start the last of the instance has happened."""
        row = self.backend.instance_rows[ID]
        updated_at = AT + timedelta(seconds=seconds)
        self.backend.instance_rows[ID] = msgspec.structs.replace(row, created_at=AT, updated_at=updated_at)

    def put(self, *records: NewRecord) -> int:
        return self.cluster.append(Place("x.events", self.partition), records)

    async def page(self, cursor: str = "") -> Any:
        answer = await self.client.call("GET", f"{PATH}?cursor={cursor}" if cursor else PATH)
        assert answer.status == 200, answer.body
        return answer.json()["data"]

    async def all(self) -> list[Any]:
        page = await self.page()
        records: list[Any] = page["records"]
        while cursor := page.get("next"):
            page = await self.page(cursor)
            records += page["records"]
        return records


@pytest.fixture
async def log() -> Log:
    return Log()


async def test_the_records_of_an_instance_are_shown_as_they_stand_there(log: Log) -> None:
    log.put(claim("first"), received("a", 0), received("b", 0, id=OTHER), claim("second"))
    log.put(received("late", 0, version=2), received("c", 3, version=2))
    page = await log.page()
    assert page["records"][0] == {
        "partition": log.partition, "offset": 1, "at": "2026-03-01T10:00:00.000005Z", "type": "EventReceived",
        "version": 1, "cause": 7, "epoch": 0, "counts": True,
        "event": {"at": "2026-03-01T10:00:00.000005Z", "name": "a"},
    }  # fmt: skip
    assert [(one["offset"], one["counts"], one.get("reason")) for one in page["records"][1:]] == [
        (4, False, "superseded"),
        (5, True, None),
    ]
    assert (page["partition"], page["from"], page["readTo"], page["to"]) == (log.partition, 0, 6, 6)
    assert "next" not in page


async def test_what_can_not_be_decoded_says_so(log: Log) -> None:
    log.put(claim("first"), msgspec.structs.replace(received("a", 0), value=b"{"))
    [record] = await log.all()
    assert "event" not in record
    assert record["error"]


@pytest.mark.parametrize("name", ["MAX_READ", "MAX_ENTRIES", "MAX_BYTES"])
async def test_a_long_log_is_read_in_parts(log: Log, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    log.put(claim("first"))
    for version in range(1, 4):
        log.put(received("mine", 0, version=version), received("other", 0, id=OTHER, version=version))
    log.put(claim("second"), received("late", 0, version=4), received("mine", 7, version=4))
    monkeypatch.setattr(log_reader, name, 1)
    monkeypatch.setattr(log_reader, "MAX_TAKEN", 2)
    assert "next" in await log.page()
    assert [(one["version"], one["counts"]) for one in await log.all()] == [
        (1, True), (2, True), (3, True), (4, False), (4, True),
    ]  # fmt: skip


async def test_nothing_is_read_of_before_and_of_long_after(log: Log) -> None:
    log.put(claim("first", -1000), received("before", 0, seconds=-900), received("mine", 0, seconds=0))
    log.put(received("last", 0, version=2, seconds=100), received("late", 0, version=3, seconds=130))
    log.put(received("others", 0, id=OTHER, seconds=1000))
    log.lasts(100)
    page = await log.page()
    assert [one["version"] for one in page["records"]] == [1, 2, 3]
    assert (page["from"], page["to"]) == (2, 5)


async def test_what_was_deleted_of_the_log_is_not_shown(log: Log) -> None:
    log.put(claim("first"), received("a", 0), received("b", 0, version=2))
    log.cluster.log(Place("x.events", log.partition)).expire(2)
    assert [one["version"] for one in await log.all()] == [2]


async def test_an_unknown_instance_and_a_foreign_cursor_are_refused(log: Log) -> None:
    log.put(claim("first"))
    assert (await log.client.call("GET", f"/v2/instances/{UUID(int=9)}/log")).status == 404
    answer = await log.client.call("GET", f"{PATH}?cursor=abc")
    assert (answer.status, answer.json()["errorCode"]) == (400, "VALIDATION")


@pytest.mark.parametrize("place", [(-1, 0, 0), (0, -1, 0), (2, 1, 0), (0, 2**63, 0)])
async def test_a_forged_cursor_asks_kafka_for_no_offset_that_it_can_not_have(
    log: Log, place: tuple[int, int, int]
) -> None:
    log.put(claim("first"))
    cursors = Cursors(SETTINGS, f"log of {ID}", Cursor[LogPlace])
    text = cursors.encode(Cursor(1, False, START, LogPlace(*place)))
    assert (await log.client.call("GET", f"{PATH}?cursor={text}")).error == (400, "VALIDATION")


async def test_without_kafka_it_is_not_available(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(self: Any, topic: str) -> int:
        raise KafkaFault("secret detail")

    monkeypatch.setattr("schemas.kafka.memory.reader.MemoryReader.partitions", away)
    answer = await log.client.call("GET", PATH)
    assert (answer.status, b"secret" in answer.body) == (503, False)


async def test_nobody_waits_for_ever(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(self: Any, topic: str) -> int:
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(log_reader, "DEADLINE_SECONDS", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr("schemas.kafka.memory.reader.MemoryReader.partitions", hangs)
        assert (await log.client.call("GET", PATH)).status == 503
    log.put(claim("first"), received("a", 0))
    monkeypatch.setattr(log_reader, "DEADLINE_SECONDS", 10.0)
    assert len(await log.all()) == 1
