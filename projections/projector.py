"""Puts records into the read model, whatever is in them.

A batch is one transaction. If Postgres refuses its contents, it is split until the one event is found that Postgres
can't hold; that event is logged and skipped, since nothing behind it would ever be shown otherwise.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping

from msgspec.structs import replace

from projections.errors import BatchRefused
from projections.event_reader import EventReader, Records, chunks, halves
from projections.fold import Batch
from projections.metrics import Metrics
from projections.ports import Store
from projections.rows import ReadPosition
from schemas.log_integrity import LogFault

logger = logging.getLogger(__name__)


class Projector:
    """Knows how far the read model is and moves it on.

    Args:
        store: where the rows go; not closed here.
        metrics: what is counted.
        max_batch_events: about how many events go into one transaction.
        written: is told of each batch that was written.
        finds_keys: whether instances are to be found by keys.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        max_batch_events: int,
        written: Callable[[Batch], None] = lambda batch: None,
        *,
        finds_keys: bool = True,
    ):
        self._store = store
        self._metrics = metrics
        self._max_batch_events = max_batch_events
        self._reader = EventReader(metrics, finds_keys=finds_keys)
        self._written = written
        self.positions: dict[int, ReadPosition] = {}
        """By partition; what is not in here has not been loaded."""

    async def load(self, partitions: Collection[int]) -> None:
        """Read from Postgres how far these partitions are. What is known of others stays.

        Raises:
            StoreAway: Postgres is away. Nothing is known of these partitions any more.
        """
        self.forget(partitions)
        if partitions:
            self.positions.update(await self._store.positions(partitions))

    def forget(self, partitions: Collection[int]) -> None:
        """These partitions are somebody else's."""
        for partition in partitions:
            self.positions.pop(partition, None)

    async def note_topic(self, topic_id: str, partitions: Collection[int]) -> None:
        """Store which topic partitions are of whose positions don't say it yet.

        Raises:
            StoreAway: Postgres is away.
        """
        await self._store.note_topic(topic_id, partitions)
        for partition in partitions:
            position = self.positions.get(partition)
            if position is not None and not position.topic_id:
                self.positions[partition] = replace(position, topic_id=topic_id)

    async def project(self, records: Records, repaired: Mapping[int, int] | None = None) -> dict[int, LogFault]:
        """Write records that follow on `positions`, in one transaction unless they are many.

        Args:
            records: by partition.
            repaired: before which offset records need no claim, by partition.

        Returns:
            By partition, why its records were written up to one of them, and no further.

        Raises:
            PositionConflict: the positions are not where `positions` says: load them again.
            StoreAway: whether they were written is unknown: load the positions again.
        """
        faults: dict[int, LogFault] = {}
        for chunk in chunks(records, self._max_batch_events):
            faults |= await self._project(_without(chunk, faults), repaired or {})
        return faults

    async def _project(self, records: Records, repaired: Mapping[int, int]) -> dict[int, LogFault]:
        reading = self._reader.read(records, self.positions, repaired)
        if not reading.positions:
            return reading.faults
        started = time.perf_counter()
        try:
            await self._store.write(reading.batch)
        except BatchRefused as error:
            return await self._project_around(records, repaired, error)
        self._metrics.transaction_seconds.observe(time.perf_counter() - started)
        self._metrics.batch_records.observe(sum(map(len, records.values())))
        self._metrics.events.inc(reading.events)
        self._written(reading.batch)
        self.positions.update(reading.positions)
        if reading.left:
            return reading.faults | await self._project(reading.left, repaired)
        return reading.faults

    async def _project_around(
        self, records: Records, repaired: Mapping[int, int], error: Exception
    ) -> dict[int, LogFault]:
        left, right = halves(records)
        if any(left.values()):
            faults = await self._project(left, repaired)
            return faults | await self._project(_without(right, faults), repaired)
        ((partition, record),) = [(partition, record) for partition, some in records.items() for record in some]
        self._metrics.undecodable.inc()
        logger.error("event record %s/%s is skipped, Postgres can't hold it: %s", partition, record.offset, error)
        reading = self._reader.read(records, self.positions, repaired, skip=True)
        await self._store.write(reading.batch)
        self.positions.update(reading.positions)
        return reading.faults


def _without(records: Records, partitions: Collection[int]) -> Records:
    if not partitions:
        return records
    return {partition: some for partition, some in records.items() if partition not in partitions}
