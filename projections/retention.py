"""Retention: deletes instances that ended long ago from the read model, if settings say so.

    every `SWEEP_SECONDS`: for each outcome with a setting, all instances in the order in which they were created
    ──► a batch: look at some, delete those that ended before that time ──► pause ──► the next batch …

Readers and projectors go on. A batch is small and one transaction, over a connection of its own, and the pauses are
longer than the batches. Nothing is kept here between sweeps: whoever is killed in between, or loses Postgres, begins
again. Several processes may do this; one at a time has a batch.

What is deleted is gone for readers: the instance, its histories, and by what it is found. It stays in the log. These
things refer to an instance that is gone:

| what | then |
|---|---|
| GET, an event, an abort, a retry | 404, as for an instance that never was |
| its POST comes again with the same Idempotency-Key | 400: the key is kept, so it never runs twice |
| a retry that was on its way | the instance shows again, from the retry on (`projections.retries`) |
| a bulk operation that has it in its page | `refused`, as for all that has changed meanwhile |
| an occurrence of a trigger | keeps its id |
| a late result of a call | changes nothing, as before |
| statistics | what has happened stays counted; what holds now is what the lists show |
| `orchestration verify` | of what may have been deleted (table `retention`), compares the keys alone |
| `orchestration rebuild` | deletes again before readers see it |
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from projections.errors import StoreAway
from projections.log_watch import whole_log
from projections.metrics import Metrics
from projections.ports import Store
from projections.read_rows import RowPosition
from schemas.kafka import Kafka, KafkaFault
from schemas.resources import InstanceState
from schemas.settings import ProjectionsSettings

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 600.0
"""Between two sweeps. Each looks at all instances of an outcome that are older than the retention, also at those that
ended later and have to stay. Settings are in days, so nobody waits for it."""
DAY: Final = timedelta(days=1)
"""What settings count in. A simulation has shorter ones."""
WAIT_SECONDS: Final = 30.0
"""How long it waits when Postgres or Kafka is away, or a partition is behind. The projector tries again sooner."""
LOOKS: Final = 10
"""How often it is looked whether the read model has come to where the log ended; it mostly has at once."""
LOOK_SECONDS: Final = 1.0
"""Between two of these looks."""
FIRST_LIMIT: Final = 50
"""Instances in the first batch. How long they take is not known yet."""
ENDS_TIMEOUT_SECONDS: Final = 10.0
"""Deadline of asking Kafka where the log ends. Without it a broker that hangs would end the deleting for good."""
MAX_LIMIT: Final = 1000
"""Most instances in a batch: a retry of one of them waits for it."""
MAX_BATCH_SECONDS: Final = 0.05
"""Batches that take longer are made smaller, so that they keep nobody waiting and no lock for long."""
PAUSES: Final = 4
"""Pauses are so many times as long as the batch before. Without them a first sweep, which may have millions to delete,
would take all that Postgres' disk gives."""
FIRST: Final = RowPosition(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
"""In front of all instances."""


def retention_days(settings: ProjectionsSettings) -> dict[InstanceState, int]:
    """How long instances are kept after their end, in days, by outcome; what is kept for ever is left out."""
    days: dict[InstanceState, int | None] = {
        "succeeded": settings.retention_succeeded_days,
        "failed": settings.retention_failed_days,
        "aborted": settings.retention_aborted_days,
    }
    return {outcome: number for outcome, number in days.items() if number is not None}


async def log_ends(kafka: Kafka, topic: str) -> Mapping[int, int]:
    """Up to where the partitions of a topic must be read now, see `Limits.read_to`.

    Raises:
        KafkaFault, TimeoutError: Kafka is away or too slow, or there is no such topic.
    """
    async with asyncio.timeout(ENDS_TIMEOUT_SECONDS), kafka.reader() as reader:
        return await whole_log(reader, topic)


class Retention:
    """Deletes.

    Args:
        store: the read model; not closed here.
        days: see `retention_days`.
        metrics: what is counted.
        ends: where the partitions of the log end now.
        clock: seconds since 1970. Nothing is deleted that is not old by the clock of the database, too.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        store: Store,
        days: Mapping[InstanceState, int],
        metrics: Metrics,
        ends: Callable[[], Awaitable[Mapping[int, int]]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self._store, self._days, self._metrics = store, days, metrics
        self._ends, self._clock, self._sleep = ends, clock, sleep
        self._limit = FIRST_LIMIT

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            done = False
            try:
                done = await self.sweep()
            except StoreAway as fault:
                logger.warning("what ended long ago can't be deleted now, Postgres: %s", fault)
            except (KafkaFault, TimeoutError) as fault:
                logger.warning("what ended long ago can't be deleted now, Kafka: %s", fault or type(fault).__name__)
            except Exception:  # the projections go on
                logger.exception("what ended long ago can't be deleted")
            if not done:
                self._limit = FIRST_LIMIT  # the last batch may have taken too long
            await self._sleep(SWEEP_SECONDS if done else WAIT_SECONDS)

    async def sweep(self) -> bool:
        """Delete all that ended long ago. Nothing, unless the read model has all of the log.

        An instance whose retry is in the part of the log that is not read yet would be lost to sight. It may have been
        retried long ago: a partition may stand still for days.

        Returns:
            Whether the read model has all of it.

        Raises:
            StoreAway: Postgres is away. What was deleted stays deleted.
            KafkaFault, TimeoutError: Kafka does not tell where the log ends.
        """
        if not await self._has_caught_up():
            return False
        for outcome, days in self._days.items():
            await self._sweep(outcome, days)
        return True

    async def _has_caught_up(self) -> bool:
        """Whether the read model has all that it has ever shown, and gets to where the log ends now."""
        ends = await self._ends()
        for _ in range(LOOKS):
            if await self._store.all_caught_up() and await self._store.has_passed(ends):
                return True
            await self._sleep(LOOK_SECONDS)
        return False

    async def delete_all(self) -> None:
        """Do a sweep without pauses, whether or not the read model has caught up: nobody reads it yet.

        Raises:
            StoreAway: Postgres is away.
        """
        for outcome, days in self._days.items():
            await self._sweep(outcome, days, pauses=0)

    async def _sweep(self, outcome: InstanceState, days: int, pauses: int = PAUSES) -> None:
        age = days * DAY
        before = datetime.fromtimestamp(self._clock(), UTC) - age
        total = 0
        try:
            async for deleted in self._batches(outcome, before, age, pauses):
                total += deleted
                self._metrics.deleted_instances.labels(outcome).inc(deleted)
        finally:
            if total:
                then = f"{before:%Y-%m-%d %H:%M} UTC"
                logger.info("%d instances that had %s before %s are deleted", total, _VERBS[outcome], then)

    async def _batches(
        self, outcome: InstanceState, before: datetime, age: timedelta, pauses: int
    ) -> AsyncIterator[int]:
        """Delete batch by batch; how many instances each has deleted."""
        behind: RowPosition | None = FIRST
        while behind is not None:
            began = _now()
            done = await self._store.delete_ended(outcome, before, age, behind, self._limit)
            took = _now() - began
            if done is None:  # another process does it
                return
            yield done.deleted
            behind = done.reached
            if behind is not None:
                self._limit = next_limit(self._limit, took)
                await self._sleep(took * pauses)


_VERBS: Final[Mapping[InstanceState, str]] = {"succeeded": "succeeded", "failed": "failed", "aborted": "been aborted"}


def next_limit(limit: int, took: float) -> int:
    """How many instances the next batch looks at.

    Args:
        limit: that of the last one.
        took: how long it took, in seconds.
    """
    if took > MAX_BATCH_SECONDS:
        return max(1, limit // 2)
    return min(MAX_LIMIT, limit * 2) if took < MAX_BATCH_SECONDS / 3 else limit


def _now() -> float:
    """The event loop's time, which a simulation owns."""
    return asyncio.get_running_loop().time()
