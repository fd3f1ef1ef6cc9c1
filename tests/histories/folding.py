"""A history read again by this build: its state as a restore comes to it, its decisions, its rows."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from engine.core.duplicates import DEFAULT_BOUNDS
from engine.core.effects import Effect
from engine.core.shard import Shard
from engine.core.snapshots import SCHEMA
from engine.kafka_log import KafkaEventLog
from engine.kafka_snapshots import KafkaSnapshots
from engine.log_checks import inspect, known_by
from engine.metrics import Metrics
from engine.pauses import Breather
from engine.restore import Restore, Restored
from engine.triggers.definitions import DefinitionsReader
from projections.memory import MemoryDatabase, MemoryStore, Tables
from projections.metrics import Metrics as ProjectionsMetrics
from projections.projector import Projector
from projections.publisher.public_events import public_event
from schemas.encryption.vault import Vault
from schemas.epochs import EpochFilter
from schemas.kafka import Kafka, NewTopic, Place, TableReader, read_span
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.kafka.sealed import SealedKafka
from schemas.records import Headers, Record, RecordCodec, UndecodableRecord
from schemas.settings import EngineSettings
from schemas.topics import EVENTS, SNAPSHOTS, topics
from tests.histories.lines import Line, RecordLine
from tests.simulation.loop import VirtualClock

SETTINGS: Final = EngineSettings(partitions=1)
NOT_OF_EVENTS: Final = frozenset({"positions", "counts", "past_counts", "deleted_instances", "retention", "restored"})
"""Tables that are not part of a state: counts are those of the rows, and nothing is deleted here."""


class Stored(NamedTuple):
    """A record as the log hands it out."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def fold(shard: Shard, codec: RecordCodec, epochs: EpochFilter, record: Record) -> None:
    """Take over a record as a restore does."""
    if not epochs.admits(record):
        return
    key = (record.key or b"").decode(errors="replace")
    try:
        recorded = codec.decode_event(record)
        shard.replay(recorded.aggregate_id, (recorded.event,), recorded.offset)
    except Exception as error:
        shard.set_aside(key, f"the event at offset {record.offset} can't be used: {type(error).__name__}: {error}")


class World:
    """A cluster in memory that holds a history.

    Args:
        lines: the history.
        snapshots: how many records of `snapshots` are in it; all when not given.
        vault: encrypts all of it.
        reads_with: decrypts it; `vault` when not given.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        snapshots: int | None = None,
        vault: Vault | None = None,
        reads_with: Vault | None = None,
    ):
        self.cluster = MemoryCluster()
        plain = MemoryKafka(self.cluster)
        reads_with = reads_with or vault
        self.kafka: Kafka = plain if reads_with is None else SealedKafka(plain, reads_with)
        for topic in topics(SETTINGS):
            self.cluster.create(NewTopic(topic.name, topic.partitions, 1, topic.config))
        left = len(lines) if snapshots is None else snapshots
        for line in lines:
            if isinstance(line, RecordLine):
                if line.topic == SNAPSHOTS:
                    left -= 1
                    if left < 0:
                        continue
                record = line.record if vault is None else vault.seal(line.topic, 0, line.record)
                offset = self.cluster.append(Place(line.topic, 0), [record])
                assert offset == line.offset
        self.end = len(self.cluster.records(EVENTS)[0])

    async def restored(self) -> Restored:
        """The state that the next owner begins with."""
        codec, clock = RecordCodec(), VirtualClock()
        log, snapshots = KafkaEventLog(self.kafka, SETTINGS, codec), KafkaSnapshots(self.kafka, SETTINGS)
        try:
            inspected = await inspect(0, log, _without_ids(known_by(await snapshots.last(0))), Breather(clock))
            state = inspected.state
            # The ids of the topics are those of the cluster where the history was recorded.
            found = inspected._replace(state=replace(state, events_id="", commands_id=""))
            return await Restore(
                0,
                log=log,
                snapshots=snapshots,
                codec=codec,
                clock=clock,
                metrics=Metrics(CollectorRegistry()),
                bounds=DEFAULT_BOUNDS,
            ).run(self.end, found)
        finally:
            await log.close()
            await snapshots.close()

    async def projected(self) -> MemoryDatabase:
        """The read model.

        Raises:
            LogFault: it stands still before the end.
        """
        database = MemoryDatabase()
        metrics = ProjectionsMetrics(CollectorRegistry())
        projector = Projector(MemoryStore(database), metrics, 10)
        await projector.load([0])
        for fault in (await projector.project({0: await self.events()})).values():
            raise fault
        return database

    async def events(self) -> list[Record]:
        """The records of `events`."""
        place = Place(EVENTS, 0)
        async with self.kafka.reader() as reader:
            return [record async for records in read_span(reader, place, 0, self.end) for record in records]

    async def public(self) -> AsyncIterator[str]:
        """What is published."""
        codec, epochs = RecordCodec(), EpochFilter()
        for record in await self.events():
            if epochs.admits(record):
                with contextlib.suppress(UndecodableRecord):
                    event = public_event(0, codec.decode_event(record))
                    if event is not None:
                        yield f"{event.key.decode()} {event.value.decode()}"


def _without_ids(known: Any) -> Any:
    return known and known._replace(events_id="", commands_id="")


def state_of(shard: Shard, tables: Tables, public: Sequence[str]) -> dict[str, Any]:
    """What a history comes to, as JSON has it."""
    shard.rebase()
    cut = shard.cut()
    entries = {key: (value or b"").decode() for key, value in sorted(cut.entries())}
    summary = cut.summary
    cut.close(written=False)
    effects = {subject: _shown(shard.effect(subject)) for subject in sorted(shard.subjects())}
    rows = {
        name: {str(key): row for key, row in sorted(getattr(tables, name).items(), key=lambda item: str(item[0]))}
        for name in vars(tables)
        if name not in NOT_OF_EVENTS
    }
    state = {
        "snapshot_schema": SCHEMA,
        "entries": entries,
        "summary": summary,
        "effects": effects,
        "rows": rows,
        "public": list(public),
    }
    plain: dict[str, Any] = msgspec.to_builtins(state)
    return plain


def _shown(effect: Effect | None) -> str:
    """An effect without the addresses of what it holds as it was written; the entries show that."""
    return re.sub(r"<msgspec\.Raw object at \w+>", "…", repr(effect))


async def catch_up(reader: TableReader | DefinitionsReader) -> None:
    """Have a reader of a compacted topic read all that is there.

    Raises:
        KafkaFault: it comes to something that it can't read, and waits.
    """
    following = asyncio.create_task(reader.run())
    try:
        await reader.catch_up()
    finally:
        following.cancel()
        await asyncio.wait({following})
