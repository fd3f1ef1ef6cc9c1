"""Rebuilds the read model from the log, beside the live one, and swaps the two.

1. A second schema is made and migrated; what an interrupted rebuild left behind is dropped first.
2. The log is read into it from its start, until it has caught up with the live one.
3. What ended long ago is deleted again, if settings say so. Not before: the log may have a retry of it further on.
4. In one transaction: the live positions are locked, which holds its projectors up for a moment; what they wrote last
   is read as well; the schemas are renamed. Only then the old one is dropped.

Projectors and API stay connected all the time. Postgres plans their prepared statements again after the renaming, and
projectors find that positions moved, so they load them.

What the log does not hold any more would be lost. So this refuses to begin when `events` does not begin at its start,
or is not the log that the live read model is about; and it gives up when it meets a filler (`schemas.fillers`), in
whose place there was something else.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import msgspec
import psycopg
from prometheus_client import CollectorRegistry
from psycopg import sql

from projections.announcements import announcements
from projections.database import LIFT_LIMITS, connect
from projections.errors import RebuildInProgress, RowsWouldBeLost, StoreAway
from projections.fold import Batch
from projections.metrics import Metrics
from projections.migrate import migrate
from projections.ports import Store
from projections.postgres_connection import PostgresConnection
from projections.projector import Projector
from projections.retention import Retention, retention_days
from projections.rows import Advance, ReadPosition
from projections.states import State
from projections.store import PostgresStore
from schemas.fillers import is_filler
from schemas.kafka import Kafka, KafkaClients, KafkaFault, Place, Reader
from schemas.records import Record
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, topic_name

logger = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Takes the records read and the records in the log."""

TAKE_SECONDS: Final = 1.0
"""How long one look for records takes."""
FETCH_TIMEOUT_SECONDS: Final = 30.0
"""Without a record for this long, although some are missing, Kafka counts as away."""
STATEMENT_TIMEOUT_SECONDS: Final = 60.0
"""Deadline of one statement, on the server. To drop a large schema takes longer than other statements."""
MAX_LOCKED_SECONDS: Final = 3.0
"""How long the live projections are held up; past it they go on, and the swap is tried again later."""
DROP_ATTEMPTS: Final = 5
"""Tries to drop a schema. A drop locks many tables, and may meet a statement that locks them in another order."""
MAX_SWAPS: Final = 20
"""Tries to swap; one is enough unless Kafka or Postgres are hardly working."""


async def rebuild(
    settings: ProjectionsSettings,
    progress: OnProgress | None = None,
    *,
    kafka: Kafka | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Rebuild the read model of these settings. Until the swap, the live one is only read.

    Args:
        settings: of the live projections.
        progress: called now and then.
        kafka: where the log is; as the settings say when not given.
        clock: seconds since 1970.

    Raises:
        RowsWouldBeLost: the log does not hold everything that the live read model shows.
        RebuildInProgress: another rebuild of this schema is under way.
        LogFault: a record of the log belongs to a claim that is not in it.
        psycopg.OperationalError, StoreAway, KafkaFault, TimeoutError: a service is away or too slow. The live read
            model is as it was; start again.
    """
    live = settings.database_schema
    shadow = msgspec.structs.replace(settings, database_schema=f"{live}_rebuild")
    kafka = kafka or KafkaClients(settings)
    async with await connect(settings, "rebuild", statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS) as connection:
        await connection.execute(LIFT_LIMITS)
        await _claim(connection, live)
        topic_id = await _check_log(kafka, topic_name(settings, EVENTS), await _live_positions(connection, live))
        await _drop(connection, f"{live}_rebuild")
        await _drop(connection, f"{live}_replaced")
        await asyncio.to_thread(migrate, shadow)
        async with _replay(kafka, shadow, topic_id, progress) as replay:
            if days := retention_days(settings):
                await replay.catch_up(await _live_positions(connection, live))
                await replay.delete_ended(days, clock)
            for _ in range(MAX_SWAPS):
                await replay.catch_up(await _live_positions(connection, live))
                if await _swap(connection, live, replay):
                    break
            else:
                raise TimeoutError(
                    "the live projections could not be caught up with; start again when less is going on"
                )
        await _drop(connection, f"{live}_replaced")


class _Position(NamedTuple):
    """How far a partition is in the live read model."""

    next_offset: int
    topic_id: str | None
    """Empty or None if it is not known."""


async def _check_log(kafka: Kafka, topic: str, live: Mapping[int, _Position]) -> str:
    """Check that the log holds all that the live read model shows, and return the id of the topic.

    Raises:
        RowsWouldBeLost: it does not.
        KafkaFault: Kafka is away or refuses, or the log does not exist.
    """
    finder = kafka.topic_finder()
    try:
        found = await finder.find(topic)
    finally:
        finder.close()
    if found is None:
        raise KafkaFault(f"topic {topic} does not exist")
    async with kafka.reader() as reader:
        limits = await reader.limits([Place(topic, partition) for partition in range(found.partitions)])
    for place, (oldest, end) in limits.items():
        position = live.get(place.partition, _Position(0, None))
        if oldest > 0:
            raise RowsWouldBeLost(_refusal(place, f"begins at offset {oldest}: what came before has been deleted"))
        if position.next_offset > end:
            text = f"ends at offset {end}, but the read model has what came up to {position.next_offset}"
            raise RowsWouldBeLost(_refusal(place, text))
        if position.next_offset and position.topic_id and found.id and position.topic_id != found.id:
            raise RowsWouldBeLost(_refusal(place, "was created again since the read model was written"))
    return found.id


def _refusal(place: Place, text: str) -> str:
    return (
        f"topic {place.topic}, partition {place.partition} {text}. A rebuild would lose these rows, so nothing was"
        " changed. To begin with an empty read model instead, see *Rebuild* in docs/operations.md"
    )


class _Replay:
    """Reads the log into the schema that is being built."""

    def __init__(
        self,
        reader: Reader,
        topic: str,
        topic_id: str,
        store: Store,
        projector: Projector,
        progress: OnProgress | None,
    ):
        self._reader = reader
        self._topic = topic
        self._topic_id = topic_id
        self._store = store
        self._projector = projector
        self._progress = progress

    async def delete_ended(self, days: Mapping[State, int], clock: Callable[[], float]) -> None:
        """Delete what ended long ago, see `projections.retention`.

        Raises:
            StoreAway: Postgres is away.
        """
        await Retention(self._store, days, Metrics(CollectorRegistry()), self._ends, clock).delete_all()

    async def _ends(self) -> dict[int, int]:
        return {partition: position.next_offset for partition, position in self._projector.positions.items()}

    async def catch_up(self, targets: Mapping[int, _Position]) -> None:
        """Read until every partition has reached its target, or the end of the log if that comes first.

        Raises:
            RowsWouldBeLost: something is missing in the log.
            LogFault: a record of the log belongs to a claim that is not in it.
            KafkaFault: Kafka is away or refuses, or the log does not exist.
        """
        reader = self._reader
        partitions = await reader.partitions(self._topic)
        if not partitions:
            raise KafkaFault(f"topic {self._topic} does not exist")
        limits = await reader.limits([Place(self._topic, partition) for partition in range(partitions)])
        # The last call may have been cut off anywhere.
        await self._projector.load(range(partitions))
        if self._topic_id:
            await self._projector.note_topic(self._topic_id, range(partitions))
        reader.read_from({place: self._projector.positions[place.partition].next_offset for place in limits})
        total = sum(found.end - found.oldest for found in limits.values())
        goals = {
            place: min(targets[place.partition].next_offset if place.partition in targets else 0, found.end)
            for place, found in limits.items()
        }
        while True:
            positions = {place: await reader.position(place) for place in goals}
            if self._progress is not None:
                done = sum(positions[place] - found.oldest for place, found in limits.items())
                self._progress(done, max(done, total))
            if all(positions[place] >= goal for place, goal in goals.items()):
                return
            await self._project_some()

    async def _project_some(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                while not (taken := await self._reader.take(TAKE_SECONDS)):
                    pass
        except TimeoutError as error:
            raise KafkaFault("Kafka sends nothing, although the log has more") from error
        for place, records in taken.items():
            self._check(place, records)
        faults = await self._projector.project({place.partition: records for place, records in taken.items()})
        for fault in faults.values():
            raise fault

    def _check(self, place: Place, records: Sequence[Record]) -> None:
        position = self._projector.positions[place.partition].next_offset
        if records[0].offset > position:
            text = f"begins at offset {records[0].offset}: what came before has been deleted"
            raise RowsWouldBeLost(_refusal(place, text))
        for record in records:
            # Of other records a look at the key is enough.
            if not record.key and is_filler(record):
                text = f"has a filler at offset {record.offset}: what was there before has been lost"
                raise RowsWouldBeLost(_refusal(place, text))

    def announcements(self) -> list[str]:
        """Where the new read model is, for whoever waits for the live one."""
        return swapped(self._projector.positions)


def swapped(positions: Mapping[int, ReadPosition]) -> list[str]:
    """What is announced of a swap.

    Rows may be other ones than before, and nobody has announced those that the rebuild alone has projected. So what is
    announced begins behind its end: whoever hears it has missed something, and reads again.

    Args:
        positions: where the new read model is.
    """
    batch = Batch()
    batch.advances = [
        Advance(partition, reached.next_offset + 1, reached.next_offset, reached.epoch, reached.cause)
        for partition, reached in positions.items()
    ]
    return list(announcements(batch))


@asynccontextmanager
async def _replay(
    kafka: Kafka, shadow: ProjectionsSettings, topic_id: str, progress: OnProgress | None
) -> AsyncIterator[_Replay]:
    store = PostgresStore(shadow)
    try:
        async with kafka.reader() as reader:
            projector = Projector(
                store, Metrics(CollectorRegistry()), shadow.max_batch_events, finds_keys=shadow.search_keys
            )
            yield _Replay(reader, topic_name(shadow, EVENTS), topic_id, store, projector, progress)
    finally:
        await store.close()


async def _claim(connection: PostgresConnection, live: str) -> None:
    # Held until the connection closes.
    cursor = await connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"rebuild {live}",))
    if (await cursor.fetchall()) != [(True,)]:
        raise RebuildInProgress


async def _drop(connection: PostgresConnection, schema: str) -> None:
    """Drop a schema that nobody uses any more, but for statements that began before the swap."""
    for attempts_left in reversed(range(DROP_ATTEMPTS)):
        try:
            await connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
            return
        except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
            if not attempts_left:
                raise


async def _live_positions(connection: PostgresConnection, live: str) -> dict[int, _Position]:
    """Empty when there is no live read model."""
    table = sql.Identifier(live, "positions")
    cursor = await connection.execute("SELECT to_regclass(%s)", (table.as_string(connection),))
    if (await cursor.fetchall()) == [(None,)]:
        return {}
    # A schema that is not migrated yet has no topic.
    query = sql.SQL("SELECT partition, next_offset, to_jsonb(p)->>'topic_id' FROM {} p").format(table)
    cursor = await connection.execute(query)
    return {partition: _Position(*rest) for partition, *rest in await cursor.fetchall()}


async def _swap(connection: PostgresConnection, live: str, replay: _Replay) -> bool:
    """Put the new read model in the place of the live one; False when it could not catch up while holding the lock."""
    try:
        async with connection.transaction():
            if await _live_positions(connection, live):
                await connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(f"{MAX_LOCKED_SECONDS}s"))
                await connection.execute(
                    sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.Identifier(live, "positions"))
                )
            async with asyncio.timeout(MAX_LOCKED_SECONDS):
                await replay.catch_up(await _live_positions(connection, live))
            await _keep_caught_up(connection, live)
            await _rename(connection, live, f"{live}_replaced")
            await _rename(connection, f"{live}_rebuild", live)
            for announcement in replay.announcements():
                await connection.execute("SELECT pg_notify(%s, %s)", (live, announcement))
    except (TimeoutError, StoreAway, psycopg.errors.LockNotAvailable) as error:
        logger.info("the live projections are too far ahead or too busy to swap, catching up: %s", error)
        return False
    return True


async def _keep_caught_up(connection: PostgresConnection, live: str) -> None:
    """Let readers go on: the new read model is at least where the live one is, so what has caught up there has here."""
    old, new = sql.Identifier(live, "caught_up"), sql.Identifier(f"{live}_rebuild", "caught_up")
    cursor = await connection.execute("SELECT to_regclass(%s)", (old.as_string(connection),))
    if (await cursor.fetchall()) != [(None,)]:
        await connection.execute(
            sql.SQL(
                "INSERT INTO {new} (partition, partitions, server_started_at, relation)"
                " SELECT partition, partitions, server_started_at, {name}::regclass"
                " FROM {old} WHERE relation = tableoid"
            ).format(new=new, old=old, name=new.as_string(connection))
        )


async def _rename(connection: PostgresConnection, old: str, new: str) -> None:
    cursor = await connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (old,))
    if await cursor.fetchall():
        await connection.execute(
            sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
        )
