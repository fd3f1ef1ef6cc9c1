"""The listener's bookkeeping: where partitions begin, what is sent together, what a fault means. Without Kafka."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Raw, Struct
from prometheus_client import CollectorRegistry

from engine.clock import SystemClock
from engine.metrics import Metrics
from engine.triggers import listener as listening
from engine.triggers.definitions import DefinitionsReader
from engine.triggers.errors import PositionsMissing, TopicAway, TopicChanged
from engine.triggers.failures import FilterFailures
from engine.triggers.listener import Listener
from engine.triggers.listeners import Listeners
from engine.triggers.matching import MAX_MESSAGE_BYTES
from engine.triggers.positions import Positions
from schemas.commands import Command, FireTrigger
from schemas.current import Current, CurrentTrigger, CurrentWorkflow
from schemas.kafka import FoundTopic, KafkaFault, Place, UnreadableRecords, clients_of
from schemas.process_name import ProcessName
from schemas.records import Headers, NewRecord, Record, UndecodableRecord
from schemas.settings import EngineSettings
from schemas.trigger_positions import ListeningBegan, ListeningPosition, decode_listening, encode_listening

FIRST, SECOND = Place("ledger", 0), Place("ledger", 1)
TRIGGERS = [str(UUID(int=n)) for n in (1, 2)]
FOUND = FoundTopic("id", 2)


async def nothing_wrong() -> None:
    """A check that finds nothing."""


class Line(Struct, frozen=True):
    """A record of another service's topic."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


class FakeMember:
    """A member of the group that has both partitions, which hold the offsets 10 to 49."""

    def __init__(self) -> None:
        self.assignment = frozenset({FIRST, SECOND})
        self.fetched: dict[Place, list[Line]] = {}
        self.committed: dict[Place, int] = {}
        self.position: dict[Place, int] = {}

    async def take(self, timeout_seconds: float, max_records: int) -> dict[Place, list[Line]]:
        return self.fetched

    def seek(self, place: Place, offset: int) -> None:
        self.position[place] = offset

    async def commit(self, offsets: dict[Place, int]) -> None:
        self.committed |= offsets

    async def limits(self, places: Collection[Place]) -> dict[Place, tuple[int, int]]:
        return dict.fromkeys(places, (10, 50))


class FakeReader(DefinitionsReader):
    """Knows two triggers."""

    async def catch_up(self) -> None:
        self.definitions.apply(Current("w", 1, CurrentWorkflow(stages=Raw(b"[]"))))
        for trigger_id in TRIGGERS:
            self.definitions.apply(Current(trigger_id, 1, CurrentTrigger(event="X", workflow_id="w")))


class FakePositions(Positions):
    """Reads at once what it writes."""

    def __init__(self, settings: EngineSettings):
        super().__init__(clients_of(settings), settings, self.write)

    async def catch_up(self) -> None:
        """Always."""

    async def write(self, records: Sequence[NewRecord]) -> None:
        for record in records:
            self.apply(Line(0, record.value, record.key))


class FakeFinder:
    """Says what it is told to say."""

    found: FoundTopic | None = FOUND

    async def find(self, topic: str) -> FoundTopic | None:
        return self.found

    def close(self) -> None:
        """Nothing."""


class FakeLog:
    """Remembers what was sent together."""

    def __init__(self) -> None:
        self.sent: list[list[tuple[str, Command]]] = []

    async def send(self, commands: Sequence[tuple[str, Command]], timestamp_ms: int) -> None:
        self.sent.append(list(commands))


class SetClock(SystemClock):
    """Goes when it is told to."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class World:
    """A listener with everything that it needs."""

    def __init__(self, kind: type[Listener] = Listener) -> None:
        settings = EngineSettings()
        self.log, self.positions, self.finder = FakeLog(), FakePositions(settings), FakeFinder()
        self.metrics = Metrics(CollectorRegistry())
        self.member: Any = FakeMember()
        kafka = clients_of(settings)
        self.listener = kind(
            "ledger",
            kafka,
            settings,
            name=ProcessName("engine", "engine-1", settings),
            log=self.log,  # type: ignore[arg-type]
            reader=FakeReader(kafka, settings),
            positions=self.positions,
            finder=self.finder,
            failures=FilterFailures(self.metrics),
            check=nothing_wrong,
            metrics=self.metrics,
            clock=SystemClock(),
        )
        self.listener._found = FOUND

    async def take(self, fetched: dict[Place, list[Line]]) -> list[FireTrigger]:
        """Have the listener take these records; the commands that it has sent so far."""
        self.member.fetched = fetched
        await self.listener._take(self.member)
        return [command for together in self.log.sent for _, command in together if isinstance(command, FireTrigger)]


def row(topic: str, partition: int | None, content: ListeningBegan | ListeningPosition) -> Record:
    record = encode_listening(topic, partition, content)
    return Line(0, record.value, record.key)


BEGAN = row("ledger", None, ListeningBegan("id", [20]))


@pytest.mark.parametrize(
    ("rows", "begins"),
    [
        pytest.param([BEGAN], {FIRST: 20, SECOND: 10}, id="where it ended; a new partition at its start"),
        pytest.param([BEGAN, row("ledger", 0, ListeningPosition("id", 30))], {FIRST: 30, SECOND: 10}, id="goes on"),
        pytest.param([BEGAN, row("ledger", 0, ListeningPosition("id", 5))], {FIRST: 10, SECOND: 10}, id="expired"),
        pytest.param([BEGAN, row("ledger", 0, ListeningPosition("id", 60))], {FIRST: 50, SECOND: 10}, id="cut"),
        pytest.param(
            [row("ledger", None, ListeningBegan("old", [20, 20])), row("ledger", 0, ListeningPosition("old", 30))],
            {FIRST: 10, SECOND: 10},
            id="made anew: all that is there",
        ),
        pytest.param(
            [row("ledger", None, ListeningBegan("", [20, 20])), row("ledger", 0, ListeningPosition("", 30))],
            {FIRST: 30, SECOND: 20},
            id="the broker tells ids now",
        ),
        pytest.param(
            [BEGAN, row("ledger", None, ListeningBegan("id", [40]))],
            {FIRST: 20, SECOND: 10},
            id="of two first sights the first",
        ),
        pytest.param(
            [BEGAN, row("ledger", 0, ListeningPosition("id", 30)), row("ledger", 0, ListeningPosition("id", 25))],
            {FIRST: 25, SECOND: 10},
            id="a stale listener moves it back, which repeats messages",
        ),
    ],
)
async def test_where_partitions_begin(rows: list[Record], begins: dict[Place, int]) -> None:
    world = World()
    for record in rows:
        world.positions.apply(record)
    assert await world.listener._begin(world.member, [FIRST, SECOND]) == begins


async def test_where_a_topic_begins_is_decided_at_first_sight() -> None:
    world = World(KnowsEnds)
    for _ in range(2):
        await world.listener._see_first()
        assert [world.positions.begin_of("ledger", number, "id") for number in (0, 1)] == [50, 51]


class KnowsEnds(Listener):
    """The partitions end at 50 and 51, later at 60."""

    ends = iter(([50, 51], [60, 60]))

    async def _first_begins(self) -> list[int]:
        return next(self.ends)


def test_rows_that_cannot_be_read() -> None:
    for key, value in ((b"ledger/x", b"{}"), (b"ledger", b"[]"), (b"ledger/1", b"{"), (b"\xff", b"{}")):
        with pytest.raises(UndecodableRecord):
            decode_listening(Line(0, value, key))


def line(offset: int, size: int = 0) -> Line:
    return Line(offset, msgspec.json.encode({"type": "X", "payload": "x" * size}))


async def test_messages_become_commands_in_their_order_then_their_positions_are_written() -> None:
    world = World()
    world.positions.apply(BEGAN)
    commands = await world.take({FIRST: [line(24), Line(25, b"garbage"), line(26)], SECOND: [line(29)]})
    assert len(world.log.sent) == 1
    places = [("ledger:id/0", 24), ("ledger:id/0", 26), ("ledger:id/1", 29)]
    assert [(c.source, c.offset) for c in commands] == [place for place in places for _ in TRIGGERS]
    assert await world.listener._begin(world.member, [FIRST, SECOND]) == {FIRST: 27, SECOND: 30}
    assert world.member.committed == {FIRST: 27, SECOND: 30}, "for whoever watches the lag"


async def test_positions_of_partitions_that_were_taken_away_are_not_written() -> None:
    world = World()
    world.positions.apply(BEGAN)
    world.member.assignment = frozenset({SECOND})
    await world.take({FIRST: [line(24)], SECOND: [line(29)]})
    assert await world.listener._begin(world.member, [FIRST, SECOND]) == {FIRST: 20, SECOND: 30}


@pytest.mark.parametrize(
    ("found", "error"),
    [(None, TopicAway), (FoundTopic("other", 2), TopicChanged), (FoundTopic("id", 3), TopicChanged)],
)
async def test_what_was_read_while_the_topic_was_made_anew_fires_nothing(
    found: FoundTopic | None, error: type[Exception]
) -> None:
    world = World()
    world.finder.found = found
    with pytest.raises(error):
        await world.take({FIRST: [line(24)]})
    assert world.log.sent == []


async def test_large_messages_are_sent_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_UNSENT_BYTES", 2500)
    world = World()
    commands = await world.take({FIRST: [line(n, 1000) for n in range(4)]})
    assert [len(together) for together in world.log.sent] == [3, 3, 2]
    assert [c.offset for c in commands] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert world.listener._unsent == []


class SlowListener(Listener):
    """Needs all of its time for one record."""

    async def _judge(self, place: Place, record: Record) -> None:
        until = self._clock.monotonic() + listening.CHUNK_SECONDS
        await super()._judge(place, record)
        while self._clock.monotonic() <= until:
            pass


async def test_what_takes_too_long_is_taken_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CHUNK_SECONDS", 0.01)
    world = World(SlowListener)
    commands = await world.take({FIRST: [line(4), line(5), line(6)], SECOND: [line(9)]})
    assert [c.offset for c in commands] == [4, 4]
    assert world.member.committed == {FIRST: 5}
    assert world.member.position == {FIRST: 5, SECOND: 9}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(KafkaFault("gone"), [1, 2, 2, 2, 2, 2, 2], id="Kafka is away"),
        pytest.param(UnreadableRecords("garbage"), [1, 2, 4, 8, 16, 30, 30], id="a fault that lasts"),
    ],
)
async def test_an_engine_is_ready_without_a_topic_that_fails_again_and_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: list[float]
) -> None:
    pauses: list[float] = []
    world = World(FailingListener)
    monkeypatch.setattr(FailingListener, "error", error)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 7:
            raise StopAsyncIteration
        assert world.listener.settled == (len(pauses) >= listening.MAX_FAILURES_UNREADY)

    monkeypatch.setattr("engine.triggers.listener.asyncio.sleep", sleep)
    with pytest.raises(StopAsyncIteration):
        await world.listener.run()
    assert pauses == expected
    assert world.listener.trouble == str(error)
    assert world.metrics.trigger_topic_up.labels("ledger")._value.get() == 0


class FailingListener(Listener):
    """Gets nowhere."""

    error: Exception = KafkaFault("gone")

    async def _listen(self) -> None:
        raise self.error


def test_topics_are_listed_once() -> None:
    settings = EngineSettings(trigger_topics=" ledger, wallets,, ledger,")
    listeners = Listeners(
        clients_of(settings),
        settings,
        name=ProcessName("engine", "engine-1", settings),
        log=FakeLog(),  # type: ignore[arg-type]
        reader=FakeReader(clients_of(settings), settings),
        positions=FakePositions(settings),
        failures=FilterFailures(Metrics(CollectorRegistry())),
        check=nothing_wrong,
        metrics=Metrics(CollectorRegistry()),
        clock=SystemClock(),
    )
    assert listeners.topics == ["ledger", "wallets"]
    assert (listeners.settled, listeners.troubles) == (False, {})


async def test_without_its_own_topic_nothing_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read before it exists: a broker may make what is read, with settings by which positions expire."""
    settings = EngineSettings()
    positions, finder = Positions(clients_of(settings), settings, FakeLog().send), FakeFinder()  # type: ignore[arg-type]
    finder.found = None
    runs = 0

    async def made(_: float) -> None:
        with pytest.raises(PositionsMissing, match="orchestration topics create"):
            await positions.catch_up()
        finder.found = FOUND

    async def run() -> None:
        nonlocal runs
        runs += 1

    monkeypatch.setattr("engine.triggers.positions.asyncio.sleep", made)
    monkeypatch.setattr(positions._table, "run", run)
    await positions.run(finder)
    assert runs == 1


async def test_others_have_their_turn_between_large_messages_that_fire_nothing() -> None:
    world, turns = World(), 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        other = group.create_task(take_turns())
        await world.take({})
        before = turns
        await world.take({FIRST: [Line(offset, b"{" + b" " * 70_000) for offset in range(100)]})
        assert turns - before >= 100
        other.cancel()


async def test_skipped_messages_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    world, clock = World(), SetClock()
    world.listener._clock = clock
    for clock.seconds in (1000.0, 1009.0, 1010.0):
        await world.take({FIRST: [Line(offset, b"garbage") for offset in range(50)]})
    lines = [record.getMessage() for record in caplog.records if "is skipped" in record.getMessage()]
    assert len(lines) == 2
    assert "others" not in lines[0]
    assert lines[1].endswith("(and 99 others since the last line like this)")
    assert world.metrics.skipped_messages.labels(FIRST.topic, "json")._value.get() == 150


async def test_skipped_messages_are_counted_by_topic_and_reason() -> None:
    world = World()
    values = (b"{", b"[]", b'{"type": 1}', b'{"type": "X", "payload": "' + b"x" * MAX_MESSAGE_BYTES + b'"}')
    await world.take({FIRST: [Line(offset, value) for offset, value in enumerate(values)]})
    counted = {
        (sample.labels["topic"], sample.labels["reason"]): sample.value
        for metric in world.metrics.skipped_messages.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
    assert counted == {(FIRST.topic, "json"): 1, (FIRST.topic, "envelope"): 2, (FIRST.topic, "size"): 1}
