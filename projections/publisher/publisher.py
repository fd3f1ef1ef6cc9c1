"""The consumer group of the publishers: a task for each partition that it gives to this process."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry

from projections.cancellation import retrieve, to_its_end
from projections.log_watch import LOOK_SECONDS, LogWatch
from projections.publisher.errors import LogUnknown, PublisherError
from projections.publisher.metrics import Metrics
from projections.publisher.partition_publisher import PartitionPublisher
from projections.publisher.public_writer import PublicWriter
from projections.standstills import Standstills
from schemas.kafka import Fenced, Kafka, KafkaFault, Member, Membership, NameTaken, Place, TransactionFailed, staying
from schemas.log_integrity import LogFault
from schemas.process_name import ProcessName
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, MAX_FETCH_BYTES, topic_name

logger = logging.getLogger(__name__)

READER: Final = "the publisher"
"""What stands still, as operators are told."""
GROUP: Final = "orchestration-publisher"
"""Name of the consumer group, behind the prefix of the topics."""
WATCH_SECONDS: Final = 1.0
"""Pause between looks at the group and at the partitions' tasks: how late a fault of the consumer may be noticed."""
RECONNECT_SECONDS: Final = 1.0
"""Pause before the group is joined again. Without it a broker that is away would be asked in a tight loop."""
FIRST_PAUSE_SECONDS: Final = 0.1
"""First pause before a partition is opened again; it doubles. Without it a lasting fault would be a busy loop."""
MAX_PAUSE_SECONDS: Final = 10.0
"""Longest of these pauses: how long a partition may wait after its fault is gone."""
MAX_AWAY_SECONDS: Final = 2.0
"""The same while transactions fail: how long Kafka may be back before we notice. Each try takes its time, so
this is not a busy loop."""
FENCED_PAUSE_SECONDS: Final = 1.0
"""More than a heartbeat: who was fenced is most likely about to learn that the partition went to another publisher, and
would take it back for a moment."""
START_SECONDS: Final = 8.0
"""Deadline of joining the group, which an order to stop waits for."""
RELEASE_SECONDS: Final = 8.0
"""How long transactions under way may take to end when the group is left."""
LEAVE_TIMEOUT_SECONDS: Final = 2.0
"""Leaving the group hands the partitions over at once; without an answer they follow by the session timeout."""
FETCH_MIN_BYTES: Final = 64 * 1024
FETCH_WAIT_SECONDS: Final = 0.2
"""The broker gathers as much, for as long. A fetch for each record would take the processor from requests."""
MAX_IDLE_SECONDS: Final = 24 * 3600.0
"""While transactions fail no records are taken. To give the partitions to another publisher then would not help."""


class Publisher:
    """Publishes its share of the partitions until stopped. Whatever fails is logged, counted and tried again.

    Args:
        kafka: where the topics are.
        settings: their names, and the place in the group.
        registry: where its metrics are registered.
        name: of the process in the group; released here.
        watch: looks at the log; closed here.
        standstills: told of partitions that stand still.
        clock: seconds since 1970, for the records.
    """

    def __init__(
        self,
        kafka: Kafka,
        settings: ProjectionsSettings,
        registry: CollectorRegistry = REGISTRY,
        *,
        name: ProcessName | None = None,
        watch: LogWatch | None = None,
        standstills: Standstills | None = None,
        clock: Callable[[], float] = time.time,
    ):
        self._kafka = kafka
        self._settings = settings
        self._name = name or ProcessName("projections", settings.projections_id, settings)
        self._metrics = Metrics(registry)
        self._topic = topic_name(settings, EVENTS)
        self._log_watch = watch or LogWatch(kafka, self._topic, _now)
        self._standstills = standstills or Standstills(registry, _now)
        self._clock = clock
        self._member: Member | None = None
        self._owners: dict[int, asyncio.Task[None]] = {}
        self._owning: dict[int, asyncio.Lock] = {}
        self._ending: set[asyncio.Task[None]] = set()
        """Owners that were let go, until they have ended."""
        self._run: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; an absent Kafka is waited for."""
        self._run = asyncio.create_task(self._join_again())

    async def stop(self, timeout_seconds: float) -> None:
        """End the transactions under way and leave the group, as far as that is done in time."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait({self._run}, timeout=timeout_seconds)
        self._log_watch.close()
        self._name.release()

    async def _join_again(self) -> None:
        """Be a member of the group until cancelled, joining again after faults."""
        while True:
            try:
                await self._join()
            except NameTaken as fault:
                self._name.taken(fault.name)
            except KafkaFault as fault:
                self._failed("consumer", f"the log of events can't be read: {fault!r}", RECONNECT_SECONDS)
            except Exception:
                logger.exception("the publisher failed")
                self._failed("defect", "the group is joined again", RECONNECT_SECONDS)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _join(self) -> None:
        member = self._member = self._kafka.member(
            self._topic,
            Membership(
                group=self._settings.topic_prefix + GROUP,
                member_id=self._name.current,
                session_timeout_seconds=self._settings.projections_session_timeout_seconds,
                max_idle_seconds=MAX_IDLE_SECONDS,
                fetch_wait_seconds=FETCH_WAIT_SECONDS,
                fetch_min_bytes=FETCH_MIN_BYTES,
                fetch_max_bytes=MAX_FETCH_BYTES,
            ),
            assigned=self._assigned,
            revoked=self._revoked,
        )
        async with staying(member, self._end, timeout_seconds=LEAVE_TIMEOUT_SECONDS):
            await to_its_end(_start(member))
            while True:
                await self._watch(member)

    async def _end(self) -> None:
        self._member = None
        await self._release()

    async def _watch(self, member: Member) -> None:
        """Notice what is wrong with the member."""
        if not self._owners:
            # This raises if the group can't be joined. It must not take any records: a partition that is assigned
            # meanwhile would miss them.
            await member.take(WATCH_SECONDS, places=())
            return
        ended, _ = await asyncio.wait(self._owners.values(), timeout=WATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for owner in ended:
            if not owner.cancelled():  # by a rebalance
                owner.result()

    async def _own(self, member: Member, place: Place) -> None:
        """Publish a partition until cancelled, opening it again after failures.

        Raises:
            KafkaFault: the member can't go on.
        """
        pause = FIRST_PAUSE_SECONDS
        fault: LogFault | None = None

        def advanced() -> None:
            nonlocal pause, fault
            pause, fault = FIRST_PAUSE_SECONDS, None
            self._standstills.goes_on(READER, place.partition)

        while True:
            writer = PublicWriter(self._kafka, self._settings, place.partition, clock=self._clock)
            owned = PartitionPublisher(
                place, member, writer, self._log_watch, self._metrics, advanced=advanced, fault=fault
            )
            try:
                await owned.run()
            except LogFault as found:
                fault = found
                self._standstills.stopped(READER, place.partition, found)
                await asyncio.sleep(LOOK_SECONDS)
                continue
            except Exception as failure:
                if isinstance(failure, KafkaFault) and not isinstance(failure, TransactionFailed):
                    raise
                if isinstance(failure, Fenced):
                    pause = max(pause, FENCED_PAUSE_SECONDS)
                if not isinstance(failure, PublisherError | TransactionFailed):
                    logger.exception("publishing partition %d failed", place.partition)
                self._failed(_reason(failure), f"partition {place.partition}: {failure}", pause)
                longest = MAX_AWAY_SECONDS if isinstance(failure, TransactionFailed) else MAX_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    def _failed(self, reason: str, message: str, pause: float) -> None:
        self._metrics.failures.labels(reason).inc()
        logger.warning("%s; next try in %.1f s", message, pause)

    def _assigned(self, places: frozenset[Place]) -> None:
        """Own what the group gives. What is kept goes on."""
        member = self._member
        if member is None:  # it is leaving the group
            return
        for place in sorted(places):
            if place.partition not in self._owners:
                self._owners[place.partition] = asyncio.create_task(
                    self._own_alone(member, place), name=f"publish-{place.partition}"
                )

    async def _own_alone(self, member: Member, place: Place) -> None:
        """Own a partition, once all its former owners here have ended.

        At its end, each of them has the member pause the partition. Later, that would stop this owner for ever.
        """
        async with self._owning.setdefault(place.partition, asyncio.Lock()):
            await self._own(member, place)

    def _revoked(self, places: frozenset[Place]) -> None:
        """Let go of partitions; transactions under way end. Who opens such a partition next waits for that, or ends it.

        Others may have the partition by now: its transactions shut the earlier ones out.
        """
        for place in sorted(places):
            owner = self._owners.pop(place.partition, None)
            if owner is not None:
                self._let_go(owner)
            self._forget(place.partition)

    async def _release(self) -> None:
        """Let go of all partitions, once their transactions under way have ended."""
        for partition, owner in self._owners.items():
            self._forget(partition)
            self._let_go(owner)
        self._owners = {}
        if self._ending:
            await asyncio.wait(self._ending, timeout=RELEASE_SECONDS)

    def _let_go(self, owner: asyncio.Task[None]) -> None:
        """Have an owner end, whose errors nobody waits for: what the first one failed with has been told."""
        owner.cancel()
        owner.add_done_callback(retrieve)
        self._ending.add(owner)
        owner.add_done_callback(self._ending.discard)

    def _forget(self, partition: int) -> None:
        """Show nothing of a partition that is somebody else's."""
        self._metrics.lag.remove(partition)
        self._standstills.given_away(READER, partition)


async def _start(member: Member) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            await member.start()
    except TimeoutError as error:
        raise KafkaFault("the group of publishers can't be joined in time") from error


def _reason(failure: Exception) -> str:
    """As the metric has it."""
    for kind, reason in ((Fenced, "fenced"), (TransactionFailed, "transaction"), (LogUnknown, "log")):
        if isinstance(failure, kind):
            return reason
    return "defect"


def _now() -> float:
    """The event loop's time, which a simulation owns."""
    return asyncio.get_running_loop().time()
