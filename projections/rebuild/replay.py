"""Reads the log into the schema that is being built.

Readers share the partitions. Each has a connection to Postgres, so some are folding records while Postgres writes the
rows of others.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from prometheus_client import CollectorRegistry

from projections.announcements import announcements
from projections.errors import RowsWouldBeLost
from projections.fold import Batch
from projections.metrics import Metrics
from projections.projector import Projector
from projections.rebuild.held import LivePosition, refusal
from projections.retention import Retention
from projections.rows import Advance, ReadPosition
from projections.store import PostgresStore
from schemas.fillers import is_filler
from schemas.kafka import FoundTopic, Kafka, KafkaFault, Place, Reader
from schemas.records import Record
from schemas.resources import InstanceState
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, topic_name


class OnProgress(Protocol):
    """Takes the records read and the records in the log, and what is done just now."""

    def __call__(self, done: int, total: int, *, note: str = "") -> None:
        """See the class."""


READERS: Final = 2
"""How many read at the same time, unless there are fewer partitions."""
TAKE_SECONDS: Final = 1.0
"""How long one look for records takes."""
FETCH_TIMEOUT_SECONDS: Final = 30.0
"""Without a record for this long, although some are missing, Kafka counts as away."""


class _Share:
    """Some partitions, which are read one batch after the other.

    Args:
        reader: of the log.
        topic: the log.
        partitions: which ones.
        settings: where the new schema is, the batches' size, and whether instances are found by keys.
    """

    def __init__(self, reader: Reader, topic: str, partitions: Sequence[int], settings: ProjectionsSettings):
        self._reader, self._topic, self._partitions, self._settings = reader, topic, partitions, settings
        self.positions: dict[int, ReadPosition] = {}
        """How far the new schema is, by partition."""
        self.read = 0
        """Records that were read."""
        self.total: int | None = None
        """Records that there are; None before the first look."""

    async def catch_up(self, targets: Mapping[int, LivePosition], topic_id: str, tell: Callable[[], None]) -> None:
        """See `Replay.catch_up`.

        Args:
            targets: of all partitions.
            topic_id: the id of the log, if it is known.
            tell: is called when more was read.
        """
        # A connection that was kept would be idle while indexes are made, for longer than a server may allow.
        store = PostgresStore(self._settings, "rebuild reader")
        try:
            projector = Projector(
                store,
                Metrics(CollectorRegistry()),
                self._settings.max_batch_events,
                finds_keys=self._settings.search_keys,
            )
            await self._catch_up(projector, targets, topic_id, tell)
        finally:
            await store.close()

    async def _catch_up(
        self, projector: Projector, targets: Mapping[int, LivePosition], topic_id: str, tell: Callable[[], None]
    ) -> None:
        reader = self._reader
        limits = await reader.limits([Place(self._topic, partition) for partition in self._partitions])
        await projector.load(self._partitions)
        self.positions = projector.positions
        if topic_id:
            await projector.note_topic(topic_id, self._partitions)
        reader.read_from({place: self.positions[place.partition].next_offset for place in limits})
        self.total = sum(found.end - found.oldest for found in limits.values())
        goals = {
            place: min(targets[place.partition].next_offset if place.partition in targets else 0, found.end)
            for place, found in limits.items()
        }
        while True:
            reached = {place: await reader.position(place) for place in goals}
            self.read = sum(reached[place] - found.oldest for place, found in limits.items())
            tell()
            if all(reached[place] >= goal for place, goal in goals.items()):
                return
            await self._project_some(projector)

    async def _project_some(self, projector: Projector) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                while not (taken := await self._reader.take(TAKE_SECONDS)):
                    pass
        except TimeoutError as error:
            raise KafkaFault("Kafka sends nothing, although the log has more") from error
        for place, records in taken.items():
            self._check(place, records)
        faults = await projector.project({place.partition: records for place, records in taken.items()})
        for fault in faults.values():
            raise fault

    def _check(self, place: Place, records: Sequence[Record]) -> None:
        position = self.positions[place.partition].next_offset
        if records[0].offset > position:
            text = f"begins at offset {records[0].offset}: what came before has been deleted"
            raise RowsWouldBeLost(refusal(place, text))
        for record in records:
            # Of other records a look at the key is enough.
            if not record.key and is_filler(record):
                text = f"has a filler at offset {record.offset}: what was there before has been lost"
                raise RowsWouldBeLost(refusal(place, text))


class Replay:
    """Reads the log into the new schema.

    Args:
        shares: all partitions, each in one of them.
        settings: where the new schema is.
        topic_id: the id of the log, if it is known.
        progress: called now and then.
    """

    def __init__(
        self, shares: Sequence[_Share], settings: ProjectionsSettings, topic_id: str, progress: OnProgress | None
    ):
        self._shares, self._settings, self._topic_id, self._progress = shares, settings, topic_id, progress

    async def catch_up(self, targets: Mapping[int, LivePosition]) -> None:
        """Read until every partition has reached its target, or the end of the log if that comes first.

        Raises:
            RowsWouldBeLost: something is missing in the log.
            LogFault: a record of the log belongs to a claim that is not in it.
            KafkaFault: Kafka is away or refuses.
            StoreAway: Postgres is away.
        """
        # Not a task group: it would wrap the error, and in Python 3.11 a timeout around it takes its own cancellation
        # for somebody else's.
        reading = [
            asyncio.create_task(share.catch_up(targets, self._topic_id, self.tell), name="replay-share")
            for share in self._shares
        ]
        try:
            await asyncio.gather(*reading)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    def tell(self, note: str = "") -> None:
        """Tell how far it is.

        Args:
            note: what is done just now, if it is not reading.
        """
        totals = [share.total for share in self._shares if share.total is not None]
        if self._progress is not None and len(totals) == len(self._shares):
            read = sum(share.read for share in self._shares)
            self._progress(read, max(read, sum(totals)), note=note)

    async def delete_ended(self, days: Mapping[InstanceState, int], clock: Callable[[], float]) -> None:
        """Delete what ended long ago, see `projections.retention`.

        Raises:
            StoreAway: Postgres is away.
        """
        store = PostgresStore(self._settings, "rebuild retention")
        try:
            await Retention(store, days, Metrics(CollectorRegistry()), self._ends, clock).delete_all()
        finally:
            await store.close()

    async def _ends(self) -> dict[int, int]:
        return {partition: position.next_offset for partition, position in self._positions.items()}

    @property
    def _positions(self) -> dict[int, ReadPosition]:
        return {partition: reached for share in self._shares for partition, reached in share.positions.items()}

    def announcements(self) -> list[str]:
        """Where the new read model is, for whoever waits for the live one."""
        return swapped(self._positions)


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
async def replaying(
    kafka: Kafka, shadow: ProjectionsSettings, log: FoundTopic, progress: OnProgress | None
) -> AsyncIterator[Replay]:
    """A replay.

    Args:
        kafka: where the log is.
        shadow: where its rows go.
        log: what is known of topic `events`.
        progress: called now and then.

    Raises:
        KafkaFault: Kafka is away or refuses.
    """
    topic, readers = topic_name(shadow, EVENTS), min(READERS, log.partitions)
    async with contextlib.AsyncExitStack() as stack:
        shares = [
            _Share(
                await stack.enter_async_context(kafka.reader()), topic, range(number, log.partitions, readers), shadow
            )
            for number in range(readers)
        ]
        yield Replay(shares, shadow, log.id, progress)
