"""What an older build wrote goes through its upcasters wherever it is read; what a newer one wrote stops a reader.

Generation 1 has schema 1 of `ActivityStarted`, whose transactions have copies of their input.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from deploy.event_log.reading import EventLog, Query
from projections.memory import MemoryDatabase, MemoryStore
from projections.metrics import Metrics
from projections.projector import Projector
from projections.verification import verify
from projections.verification.read_model import MemoryReadModel
from schemas import upcasters
from schemas.current import Current, CurrentTrigger, decode_current, encode_current
from schemas.kafka import KafkaFault, Place, TableReader
from schemas.log_integrity import LogFault
from schemas.records import NewRecord, RecordCodec, UndecodableRecord, UnknownMessage
from schemas.settings import OperatorSettings, ProjectionsSettings
from schemas.topics import DEFINITIONS, EVENTS
from schemas.upcasters import DEFINITION
from tests.histories.folding import Stored, World, catch_up
from tests.histories.lines import RecordLine, read
from tests.simulation.loop import simulate

COPIES: Final = b'"Ledger"'
ID: Final = str(UUID(int=7))


def started(lines: Sequence[Any]) -> list[Stored]:
    """The first events of activities that move money on a ledger."""
    return [
        Stored(line.offset, line.record.key, line.record.value, line.record.headers)
        for line in lines
        if isinstance(line, RecordLine)
        and line.topic == EVENTS
        and line.headers.get("type") == "ActivityStarted"
        and b"CreateTransaction" in bytes(line.value)
    ]


def test_what_was_written_is_an_older_version() -> None:
    first, second = started(read("1", "sends")), started(read("2", "sends"))
    assert len(first) == len(second) > 30
    codec = RecordCodec()
    for old, new in zip(first, second, strict=True):
        assert COPIES in (old.value or b"")
        assert COPIES not in (new.value or b"")
        assert codec.decode_event(old) == codec.decode_event(new)
    assert sum(len(old.value or b"") for old in first) > 1.3 * sum(len(new.value or b"") for new in second)


async def test_the_read_model_and_the_tools_read_it() -> None:
    world = World(read("1", "sends"))
    database = await world.projected()
    inputs = [row.input or "" for row in database.tables.activities.values() if row.name == "CreateTransaction"]
    assert len(inputs) > 30
    assert not any("Ledger" in text for text in inputs)
    report = await verify(ProjectionsSettings(partitions=1), kafka=world.kafka, read_model=MemoryReadModel(database))
    assert report.equal
    log = EventLog(world.kafka, OperatorSettings(partitions=1), lambda *read: None)
    shown = [entry async for entry in log.entries(Query(partition=0))]
    assert len(shown) == world.end
    assert {entry.error for entry in shown} == {None}


async def test_an_event_of_a_newer_version_stops_the_engine_and_the_projections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(read("2", "sends"))
    headers = [("type", b"ActivityStarted"), ("schema", b"3"), ("version", b"9"), ("epoch", b"0")]
    world.cluster.append(Place(EVENTS, 0), [NewRecord(ID.encode(), b"{}", headers, 0)] * 2)
    world.end += 2
    with pytest.raises(LogFault, match=r"schema 3 of ActivityStarted is newer than this build.*upgraded") as caught:
        await world.restored()
    assert caught.value.reason == "newer"
    database, metrics = MemoryDatabase(), Metrics(CollectorRegistry())
    projector = Projector(MemoryStore(database), metrics, 10)
    await projector.load([0])
    records = world.cluster.records(EVENTS)[0]
    faults = await projector.project({0: records})
    assert faults[0].reason == "newer"
    assert projector.positions[0].next_offset == world.end - 2
    assert metrics.registry.get_sample_value("orchestration_projections_undecodable_events_total") == 0
    log = EventLog(world.kafka, OperatorSettings(partitions=1), lambda *read: None)
    *_, last = [entry async for entry in log.entries(Query(partition=0))]
    assert "newer than this build" in (last.error or "")


def test_numbers_in_what_is_passed_on_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(fields: dict[str, Any]) -> dict[str, Any]:
        return {("workflow_id" if name == "workflow" else name): value for name, value in fields.items()}

    monkeypatch.setitem(upcasters.UPCASTERS, "InstanceStarted", (renamed,))
    stages = b'[{"send" : {"amount":1e2, "big":123456789012345678901234567890, "x":1.10}}]'
    value = b'{"at":"2026-03-01T10:00:00Z","workflow":"w","stages":' + stages + b',"variables":{}}'
    record = Stored(0, b"a", value, [("type", b"InstanceStarted"), ("epoch", b"0")])
    codec = RecordCodec()
    event = codec.decode_event(record).event
    assert bytes(event.stages) == stages
    assert event.workflow_id == "w"
    assert ("schema", b"2") in codec.encode("a", event, timestamp_ms=0).headers
    with pytest.raises(UndecodableRecord, match="InstanceStarted"):
        codec.decode_event(record._replace(value=b"[]"))


# Definitions


def _listens_to(fields: dict[str, Any]) -> dict[str, Any]:
    if fields["kind"] == "trigger":
        fields = {**fields, "event": fields["on"]}
        del fields["on"]
    return fields


OLD: Final = NewRecord(
    ID.encode(), msgspec.json.encode({"kind": "trigger", "on": "X", "workflow_id": ID}), [("version", b"1")], 0
)


def stored(record: NewRecord) -> Stored:
    return Stored(0, record.key, record.value, record.headers)


def test_a_definition_of_an_older_version_is_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(upcasters.UPCASTERS, DEFINITION, (_listens_to,))
    definition = CurrentTrigger(event="X", workflow_id=ID)
    assert decode_current(stored(OLD)) == Current(ID, 1, definition)
    new = encode_current(Current(ID, 1, definition), 0)
    assert ("schema", b"2") in new.headers
    assert decode_current(stored(new)) == Current(ID, 1, definition)
    stages = b'[{"noop" : {}}]'
    workflow = Stored(0, ID.encode(), b'{"kind":"workflow","stages":' + stages + b"}", [("version", b"1")])
    found = decode_current(workflow).definition
    assert isinstance(getattr(found, "stages", None), Raw)
    assert bytes(found.stages) == stages  # type: ignore[union-attr]


def test_a_definition_that_cannot_be_upcast_is_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(upcasters.UPCASTERS, DEFINITION, (_listens_to,))
    for value in (b"[]", b"{", b'{"kind":"trigger"}'):
        with pytest.raises(UndecodableRecord):
            decode_current(stored(OLD)._replace(value=value))


def test_definitions_of_a_newer_build_are_not_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """A trigger that is left out would not fire, and nobody would know."""
    applied = list[str]()
    headers = [("version", b"1"), ("schema", b"2")]

    async def scenario() -> None:
        world = World([])
        world.cluster.append(Place(DEFINITIONS, 0), [NewRecord(ID.encode(), OLD.value, headers, 0)])
        reader = TableReader(world.kafka, DEFINITIONS, lambda record: applied.append(decode_current(record).id))
        with pytest.raises(KafkaFault, match="could not be read in time"):
            await catch_up(reader)

    simulate(scenario())
    assert applied == []
    assert "schema 2 of definitions is newer than this build, which knows 1" in caplog.text
    with pytest.raises(UnknownMessage):
        decode_current(Stored(0, ID.encode(), OLD.value, headers))
