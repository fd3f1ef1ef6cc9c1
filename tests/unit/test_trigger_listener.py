"""The listener's bookkeeping: where partitions begin, what is sent together, what a fault means. Without Kafka."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.structs import OffsetAndTimestamp
from msgspec import Raw, Struct
from prometheus_client import CollectorRegistry

from engine.metrics import Metrics
from engine.triggers import listener as listening
from engine.triggers.definitions import DefinitionsReader
from engine.triggers.listener import Listener
from schemas.commands import Command, FireTrigger
from schemas.current import Current, CurrentTrigger, CurrentWorkflow
from schemas.records import Headers, Record
from schemas.settings import EngineSettings
from schemas.stack.links import LinkFetcher

FIRST, SECOND, OTHER = TopicPartition("ledger", 0), TopicPartition("ledger", 1), TopicPartition("wallets", 0)
TRIGGERS = [str(UUID(int=n)) for n in (1, 2)]


class Line(Struct, frozen=True):
    """A record of another service's topic."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


class FakeConsumer:
    """A group's offsets, and topics of two partitions with 50 records."""

    def __init__(self, committed: dict[TopicPartition, int], since: dict[TopicPartition, int] | None = None):
        self.offsets = committed
        self.since = since or {}
        self.position: dict[TopicPartition, int] = {}
        self.fetched: dict[TopicPartition, list[Line]] = {}
        self.away = False

    async def committed(self, place: TopicPartition) -> int | None:
        if self.away:
            raise NodeNotReadyError
        return self.offsets.get(place)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0, 1}

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 50)

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        return {p: OffsetAndTimestamp(self.since[p], at) if p in self.since else None for p, at in times.items()}

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.position[place] = offset

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        assert offsets, "the client takes no empty commit"
        self.offsets.update(offsets)

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Line]]:
        return self.fetched


class FakeReader(DefinitionsReader):
    """Knows two triggers."""

    async def catch_up(self) -> None:
        self.definitions.apply(Current("w", 1, CurrentWorkflow(stages=Raw(b"[]"))))
        for trigger_id in TRIGGERS:
            self.definitions.apply(Current(trigger_id, 1, CurrentTrigger(event="X", workflow_id="w")))


class FakeLog:
    """Remembers what was sent together."""

    def __init__(self) -> None:
        self.sent: list[list[tuple[str, Command]]] = []

    async def send(self, commands: Sequence[tuple[str, Command]], timestamp_ms: int) -> None:
        self.sent.append(list(commands))


def make(consumer: FakeConsumer, kind: type[Listener] = Listener) -> tuple[Listener, FakeLog]:
    """A listener with this consumer."""
    settings = EngineSettings(trigger_topics="ledger, wallets,")
    log, metrics = FakeLog(), Metrics(CollectorRegistry())
    fetcher = LinkFetcher(settings)
    listener = kind(settings, log, FakeReader(settings), fetcher, metrics)  # type: ignore[arg-type]
    listener._consumer = consumer
    return listener, log


@pytest.mark.parametrize(
    ("committed", "since", "begins"),
    [
        pytest.param({}, {}, {FIRST: 50, SECOND: 50, OTHER: 50}, id="new topics begin at their end"),
        pytest.param({}, {FIRST: 7}, {FIRST: 7, SECOND: 50, OTHER: 50}, id="or with what came since it listens"),
        pytest.param({FIRST: 3, OTHER: 0}, {SECOND: 7}, {}, id="a new partition of a known topic begins at its start"),
        pytest.param({SECOND: 3}, {}, {OTHER: 50}, id="one topic is known"),
    ],
)
async def test_where_partitions_begin(
    committed: dict[TopicPartition, int], since: dict[TopicPartition, int], begins: dict[TopicPartition, int]
) -> None:
    consumer = FakeConsumer(dict(committed), since)
    listener, _ = make(consumer)
    await listener.on_partitions_assigned({FIRST, SECOND, OTHER})
    assert listener.joined
    assert consumer.position == begins
    assert consumer.offsets == committed | begins, "so that the next owner begins there too"


async def test_nothing_is_taken_while_the_beginning_is_unknown() -> None:
    consumer = FakeConsumer({})
    consumer.away = True
    consumer.fetched = {FIRST: [line(0)]}
    listener, log = make(consumer)
    await listener.on_partitions_assigned({FIRST})
    assert not listener.joined
    with pytest.raises(KafkaError):
        await listener._take(consumer)
    assert (log.sent, consumer.offsets) == ([], {})


def line(offset: int, size: int = 0) -> Line:
    return Line(offset, msgspec.json.encode({"type": "X", "payload": "x" * size}))


async def test_messages_become_commands_in_their_order_then_their_offsets_are_committed() -> None:
    consumer = FakeConsumer({})
    consumer.fetched = {FIRST: [line(4), Line(5, b"garbage"), line(6)], OTHER: [line(9)]}
    listener, log = make(consumer)
    await listener._take(consumer)
    (together,) = log.sent
    shown = [(trigger_id, c.source, c.offset) for trigger_id, c in together if isinstance(c, FireTrigger)]
    places = [("ledger/0", 4), ("ledger/0", 6), ("wallets/0", 9)]
    assert shown == [(trigger_id, *place) for place in places for trigger_id in TRIGGERS]
    assert consumer.offsets == {FIRST: 7, OTHER: 10}


async def test_large_messages_are_sent_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_UNSENT_BYTES", 2500)
    consumer = FakeConsumer({})
    consumer.fetched = {FIRST: [line(n, 1000) for n in range(4)]}
    listener, log = make(consumer)
    await listener._take(consumer)
    assert [len(together) for together in log.sent] == [3, 3, 2]
    assert [c.offset for some in log.sent for _, c in some if isinstance(c, FireTrigger)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert listener._unsent == []


class SlowListener(Listener):
    """Needs all of its time for one record."""

    async def _judge(self, place: TopicPartition, record: Record) -> None:
        until = time.monotonic() + listening.CHUNK_SECONDS
        await super()._judge(place, record)
        while time.monotonic() <= until:
            pass


async def test_what_takes_too_long_is_taken_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CHUNK_SECONDS", 0.01)
    consumer = FakeConsumer({})
    consumer.fetched = {FIRST: [line(4), line(5), line(6)], OTHER: [line(9)]}
    listener, log = make(consumer, SlowListener)
    await listener._take(consumer)
    assert [c.offset for some in log.sent for _, c in some if isinstance(c, FireTrigger)] == [4, 4]
    assert consumer.offsets == {FIRST: 5}
    assert consumer.position == {FIRST: 5, OTHER: 9}
