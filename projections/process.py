"""The projections' process: a consumer group on `events` that writes the read model.

One loop: load the positions of newly assigned partitions and begin there, take the records that have arrived, write
them in one transaction. While it is under way more records arrive, so batches grow with the load.

Only the positions in Postgres say what has been read. Whenever they may differ from what this process believes (after
a fault of unknown outcome, or another projector's write) they are loaded again. The group's offsets in Kafka are only
for operators who watch its lag.

A partition whose log does not fit its position stands still (`admission`). The others go on.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from projections.admission import READER, Admission
from projections.bulk import BulkRunner
from projections.cancellation import retrieve
from projections.catching_up import CatchingUp
from projections.database import Postgres
from projections.errors import PositionConflict, StoreAway
from projections.fold import Batch
from projections.giving_way import GivingWay
from projections.log_watch import LogWatch
from projections.metrics import Metrics
from projections.ports import Database, Store
from projections.projector import Projector
from projections.publisher import Publisher
from projections.retention import Retention, log_ends, retention_days
from projections.standstills import Standstills
from projections.store import PostgresStore
from schemas.kafka import (
    COORDINATOR_AWAY_SECONDS,
    PROMPT_FETCH_SECONDS,
    Kafka,
    KafkaFault,
    Member,
    Membership,
    NameTaken,
    Place,
    clients_of,
)
from schemas.log_integrity import LogFault, follows
from schemas.process_name import ProcessName
from schemas.records import Record
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, MAX_FETCH_BYTES, topic_name

logger = logging.getLogger(__name__)

GROUP: Final = "orchestration-projections"
"""Name of the consumer group, behind the prefix of the topics."""
IDLE_SECONDS: Final = 0.25
"""How long the loop waits for records before it looks after other things, such as an order to stop."""
FIRST_PAUSE_SECONDS: Final = 0.1
"""First pause after a fault; it doubles. Without it an absent service would keep the process busy."""
MAX_PAUSE_SECONDS: Final = 2.0
"""Longest pause: how long a service may be back before we notice."""
CHORES_SECONDS: Final = 5.0
"""Between commits of the group's offsets, updates of the lag and prunings. They cost time that records wait for."""
START_GRACE_SECONDS: Final = 1.0
"""How much longer joining the group may take once it is to stop. The group may hold it up for a minute."""
LIMITS_TIMEOUT_SECONDS: Final = 3.0
"""Deadline of asking Kafka what a partition holds whose records have a hole. The other partitions wait for it."""
COMMIT_TIMEOUT_SECONDS: Final = 5.0
"""Deadline of a commit, which the next one replaces. Without it one that hangs would be the last."""
MAX_IDLE_SECONDS: Final = 24 * 3600.0
"""While Postgres is away no records are taken. Kafka's client must not leave the group for that: see below."""
LEAVE_SECONDS: Final = 15.0
"""After so long without Postgres a process leaves its group until it reaches it again. It may be the only one that does
not, and what it shows would stand still for as long. A restart of Postgres takes less; after it nobody has to join."""


class Projections:
    """Keeps the read model up with the log.

    Args:
        settings: of this process.
        metrics: what is counted; by default in Prometheus' own registry, which holds it once per process.
        kafka: where the log is; as the settings say when not given.
        store: the read model; as the settings say when not given.
        database: the read model, to be queried; as the settings say when neither it nor the store is given. Without it
            no bulk operations are run.
        name: of the process in its groups; as the settings say when not given.
        clock: seconds since 1970, for the public events, and for what is deleted since it ended long ago.
    """

    def __init__(
        self,
        settings: ProjectionsSettings,
        metrics: Metrics | None = None,
        *,
        kafka: Kafka | None = None,
        store: Store | None = None,
        database: Database | None = None,
        name: ProcessName | None = None,
        clock: Callable[[], float] = time.time,
    ):
        self._kafka = kafka or clients_of(settings)
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._topic = topic_name(settings, EVENTS)
        self._store = store or PostgresStore(settings)
        self._projector = Projector(
            self._store,
            self._metrics,
            settings.max_batch_events,
            self._written,
            finds_keys=settings.search_keys,
        )
        self._catching_up = CatchingUp(self._store, self._topic, self._metrics, clock=_now)
        self._standstills = Standstills(self._metrics.registry, clock=_now)
        self._watch = LogWatch(self._kafka, self._topic, clock=_now)
        self._name = name or ProcessName("projections", settings.projections_id, settings)
        self._publisher = Publisher(
            self._kafka,
            settings,
            self._metrics.registry,
            name=self._name,
            watch=self._watch,
            standstills=self._standstills,
            clock=clock,
        )
        self._bulk: BulkRunner | None = None
        if database is not None or store is None:
            self._bulk = self._new_bulk(database or Postgres(settings), clock)
        self._retention_store: Store | None = None
        self._retention: Retention | None = None
        if days := retention_days(settings):
            # A connection of its own: no batch of the projector waits for it.
            self._retention_store = store or PostgresStore(settings, "retention")
            ends = partial(log_ends, self._kafka, self._topic)
            self._retention = Retention(self._retention_store, days, self._metrics, ends, clock)
        self._admission = self._new_admission()
        self._member: Member | None = None
        self._faults_in_a_row = 0
        self._chores_at = 0.0
        self._commit: asyncio.Task[bool] | None = None

    def _new_bulk(self, database: Database, clock: Callable[[], float]) -> BulkRunner:
        return BulkRunner(
            self._kafka,
            database,
            self._settings,
            self._metrics.registry,
            lambda: self._projector.positions.keys(),
            clock,
        )

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned (maybe none, if there are more projectors), and group and Postgres answer.

        A partition that stands still does not count: to start this process again would not help it, and an update of
        the processes, which may be the remedy, must not wait for it.
        """
        return self._joined and self._admission.settled and self._store.connected

    @property
    def _joined(self) -> bool:
        """Whether this is a member of the group and knows its partitions."""
        longest = self._settings.projections_session_timeout_seconds + COORDINATOR_AWAY_SECONDS
        return self._admission.joined and self._member is not None and self._member.silence_seconds <= longest

    @property
    def checks(self) -> dict[str, object]:
        """What is behind `ready`."""
        return {
            "group": self._joined,
            "positions": self._admission.settled,
            "postgres": self._store.connected,
            "standing_still": self.standing_still,
        }

    @property
    def standing_still(self) -> dict[str, str]:
        """Why partitions of the read model stand still, by partition."""
        return self._standstills.of(READER)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; an absent Kafka or Postgres is waited for.

        Raises:
            Exception: a defect of ours.
        """
        self._publisher.start()
        projecting, stopping = asyncio.create_task(self._project_until(stop)), asyncio.create_task(stop.wait())
        beside = [asyncio.create_task(one.run()) for one in (self._bulk, self._retention) if one is not None]
        try:
            await asyncio.wait({projecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # Side by side: each may wait for a service that does not answer.
            await asyncio.gather(self._end(projecting), self._publisher.stop(self._share))
        finally:
            stopping.cancel()
            projecting.cancel()
            self._watch.close()
            await self._let_go(beside)
            if self._retention_store is not None:
                await self._retention_store.close()
            await self._store.close()
        projecting.add_done_callback(retrieve)
        if projecting.done() and not projecting.cancelled():
            projecting.result()

    async def _let_go(self, running: Collection[asyncio.Task[None]]) -> None:
        """Let go of bulk operations and of what is to be deleted. Others go on with it, or this process later."""
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=self._share)
        for task in running:
            task.add_done_callback(retrieve)

    def _written(self, batch: Batch) -> None:
        """A batch is in the read model. Bulk operations wait for what becomes of their commands."""
        if self._bulk is not None and (batch.bulks or batch.bulk_outcomes):
            self._bulk.wake()

    @property
    def _share(self) -> float:
        """Of the deadline, for each of three things that may have to be waited for one after the other."""
        return self._settings.shutdown_timeout_seconds / 4

    async def _end(self, projecting: asyncio.Task[None]) -> None:
        """Let the step under way end, and leave the group."""
        if not (await asyncio.wait({projecting}, timeout=self._share))[0]:
            projecting.cancel()
            await asyncio.wait({projecting}, timeout=2 * self._share)

    async def _project_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._consume(stop)
            except NameTaken as fault:
                self._name.taken(fault.name)
            except KafkaFault as fault:
                await self._pause("Kafka", fault, stop)

    def _new_admission(self) -> Admission:
        return Admission(self._topic, self._watch, self._standstills, GivingWay(_now), clock=_now)

    async def _consume(self, stop: asyncio.Event) -> None:
        self._admission = self._new_admission()
        member = self._member = self._kafka.member(
            self._topic,
            Membership(
                group=self._settings.topic_prefix + GROUP,
                member_id=self._name.current,
                session_timeout_seconds=self._settings.projections_session_timeout_seconds,
                max_idle_seconds=MAX_IDLE_SECONDS,
                fetch_wait_seconds=PROMPT_FETCH_SECONDS,
                fetch_max_bytes=MAX_FETCH_BYTES,
            ),
            assigned=self._admission.assigned,
            revoked=self._admission.revoked,
        )
        gives_up = False
        try:
            if not await _unless(stop, member.start()):
                return
            gives_up = await self._work(member, stop)
        finally:
            await self._leave(member, for_good=stop.is_set() or gives_up)
        if gives_up:
            self._metrics.lag.clear()  # others may have the partitions, and show how far they are
            await self._reach_store(stop)

    async def _work(self, member: Member, stop: asyncio.Event) -> bool:
        """Project until told to stop, or until Postgres was away for so long that others should have the partitions.

        Returns:
            Whether it is the second.
        """
        away_at: float | None = None
        while not stop.is_set():
            try:
                await self._step(member)
                self._faults_in_a_row, away_at = 0, None
            except StoreAway as fault:
                away_at = _now() if away_at is None else away_at
                if _now() - away_at >= LEAVE_SECONDS:
                    logger.warning("Postgres: away for %.0f s; others may have the partitions meanwhile", LEAVE_SECONDS)
                    return True
                self._show_lag(member)  # it grows meanwhile
                self._admission.reload()
                await self._pause("Postgres", fault, stop)
        return False

    async def _reach_store(self, stop: asyncio.Event) -> None:
        """Wait for Postgres, outside of the group."""
        while not stop.is_set():
            try:
                await self._store.not_caught_up(())
            except StoreAway as fault:
                await self._pause("Postgres", fault, stop)
            else:
                return

    async def _step(self, member: Member) -> None:
        await self._load(member)
        await self._catching_up.go_on(member, self._projector.positions)
        # All that is there: Kafka hands out whole record batches, and a limit would cut decisions apart.
        taken = await member.take(IDLE_SECONDS)
        fitting, faults = await self._fitting(member, taken)
        if fitting:
            try:
                await self._project(member, fitting)
            except PositionConflict:
                self._metrics.conflicts.inc()
                await self._give_way(member, fitting)
        for partition, fault in faults.items():
            if self._admission.reads(partition):
                self._admission.stop(member, partition, fault)
        if _now() >= self._chores_at:
            await self._chores(member)

    async def _load(self, member: Member) -> None:
        """Load the positions of partitions that came, and of those that stood still for long enough."""
        due = self._admission.due()
        gone = self._projector.positions.keys() - self._admission.partitions
        if due or gone:
            self._projector.forget(gone)
            await self._projector.load(due)
            if gone or any(due.values()):
                await self._catching_up.begin(self._projector.positions)
            self._admission.loaded(member, {partition: self._projector.positions[partition] for partition in due})
        for topic_id, partitions in self._admission.unnoted():
            await self._projector.note_topic(topic_id, partitions)

    async def _fitting(
        self, member: Member, taken: Mapping[Place, Sequence[Record]]
    ) -> tuple[dict[int, Sequence[Record]], dict[int, LogFault]]:
        """The records that follow on their positions; and, where some don't, why. These partitions stand still then."""
        fitting: dict[int, Sequence[Record]] = {}
        faults: dict[int, LogFault] = {}
        for place, records in taken.items():
            # What was taken away and given again meanwhile is loaded first, and then read from its position.
            if not self._admission.reads(place.partition):
                continue
            position = self._projector.positions[place.partition].next_offset
            if not follows(records, position):
                records, fault = await self._check_holes(member, place, position, records)
                if fault is not None:
                    faults[place.partition] = fault
            if records:
                fitting[place.partition] = records
        return fitting, faults

    async def _check_holes(
        self, member: Member, place: Place, position: int, records: Sequence[Record]
    ) -> tuple[Sequence[Record], LogFault | None]:
        try:
            async with asyncio.timeout(LIMITS_TIMEOUT_SECONDS):
                return await self._watch.check_holes(member, place, position, records)
        except TimeoutError as error:
            raise KafkaFault("Kafka does not tell in time what a partition holds") from error

    async def _project(self, member: Member, records: Mapping[int, Sequence[Record]]) -> None:
        faults = await self._projector.project(records, self._admission.repaired())
        for partition in records:
            if partition in faults:
                self._admission.stop(member, partition, faults[partition])
            else:
                self._admission.passed(partition)

    async def _give_way(self, member: Member, partitions: Collection[int]) -> None:
        """Find out which of these partitions another projector has moved. The others go on at once."""
        believed = {partition: self._projector.positions[partition] for partition in partitions}
        self._admission.reload()
        for partition, position in (await self._store.positions(partitions)).items():
            if position.next_offset != believed[partition].next_offset:
                self._admission.conflict(member, partition, position.next_offset)

    async def _chores(self, member: Member) -> None:
        self._chores_at = _now() + CHORES_SECONDS
        positions = self._projector.positions
        self._show_lag(member)
        if self._commit is None or self._commit.done():
            self._commit = asyncio.create_task(member.commit(self._offsets(member), COMMIT_TIMEOUT_SECONDS))
        self._admission.check(member, positions)
        await self._catching_up.check(positions)
        more = await self._store.prune_rejections(self._settings.rejections_retention_seconds)
        if await self._store.merge_counts() or more:
            self._chores_at = 0.0

    def _show_lag(self, member: Member) -> None:
        self._metrics.lag.clear()  # of partitions that went to another projector
        for partition, position in self._projector.positions.items():
            if end := member.highwater(Place(self._topic, partition)):
                self._metrics.lag.labels(partition).set(max(0, end - position.next_offset))

    def _offsets(self, member: Member) -> dict[Place, int]:
        positions = self._projector.positions
        return {
            place: positions[place.partition].next_offset for place in member.assignment if place.partition in positions
        }

    async def _leave(self, member: Member, *, for_good: bool) -> None:
        # Leaving the group hands the partitions over at once; without an answer they follow by the session timeout.
        commit, self._commit = self._commit, None  # it belongs to this member, and may be cancelled here
        try:
            await self._admission.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._share):
                    if commit is not None:
                        await commit
                    await member.commit(self._offsets(member), COMMIT_TIMEOUT_SECONDS)
        finally:
            await member.close(leave=for_good)

    async def _pause(self, service: str, fault: BaseException, stop: asyncio.Event) -> None:
        seconds = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._faults_in_a_row, 10))
        self._faults_in_a_row += 1
        self._metrics.faults.labels(service).inc()
        logger.warning("%s: %s; next try in %.1f s", service, fault or type(fault).__name__, seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do something that may take long, until told to stop; whether it came to its end."""
    stopping, working = asyncio.create_task(stop.wait()), asyncio.create_task(work)
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        # The client library leaves a connection open that is cancelled while it is made.
        await asyncio.wait({working}, timeout=START_GRACE_SECONDS)
        if working.done():
            working.result()
        return working.done()
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait({working})


def _now() -> float:
    """The event loop's time, which a simulation owns."""
    return asyncio.get_running_loop().time()
