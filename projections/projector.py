"""Puts records into the read model, whatever is in them.

A batch is one transaction. If Postgres refuses its contents, it is split until the one event is found that Postgres
can't hold; that event is logged and skipped, since nothing behind it would ever be shown otherwise.
"""

import logging
import time
from collections.abc import Iterable

from projections.errors import BatchRefused
from projections.event_reader import EventReader, Records, chunks, halves
from projections.metrics import Metrics
from projections.ports import Store
from projections.rows import ReadPosition

logger = logging.getLogger(__name__)


class Projector:
    """Knows how far the read model is and moves it on.

    Args:
        store: where the rows go; not closed here.
        metrics: what is counted.
        max_batch_events: about how many events go into one transaction.
    """

    def __init__(self, store: Store, metrics: Metrics, max_batch_events: int):
        self._store = store
        self._metrics = metrics
        self._max_batch_events = max_batch_events
        self._reader = EventReader(metrics)
        self.positions: dict[int, ReadPosition] = {}
        """By partition; what is not in here has not been loaded."""

    async def load(self, partitions: Iterable[int]) -> None:
        """Read from Postgres how far these partitions are, and forget about others."""
        self.positions = {}
        if wanted := list(partitions):
            self.positions = await self._store.positions(wanted)

    async def project(self, records: Records) -> None:
        """Write records that follow on `positions`, in one transaction unless they are many.

        Raises:
            PositionConflict: the positions are not where `positions` says: load them again.
            StoreAway: whether they were written is unknown: load the positions again.
        """
        for chunk in chunks(records, self._max_batch_events):
            await self._project(chunk)

    async def _project(self, records: Records) -> None:
        reading = self._reader.read(records, self.positions)
        started = time.perf_counter()
        try:
            await self._store.write(reading.batch)
        except BatchRefused as error:
            await self._project_around(records, error)
            return
        self._metrics.transaction_seconds.observe(time.perf_counter() - started)
        self._metrics.batch_records.observe(sum(map(len, records.values())))
        self._metrics.events.inc(reading.events)
        self.positions.update(reading.positions)

    async def _project_around(self, records: Records, error: Exception) -> None:
        left, right = halves(records)
        if any(left.values()):
            await self._project(left)
            await self._project(right)
            return
        ((partition, record),) = [(partition, record) for partition, some in records.items() for record in some]
        self._metrics.undecodable.inc()
        logger.error("event record %s/%s is skipped, Postgres can't hold it: %s", partition, record.offset, error)
        reading = self._reader.read(records, self.positions, skip=True)
        await self._store.write(reading.batch)
        self.positions.update(reading.positions)
