"""What stands between the log and its users: the database, projections with their publishers, the API, and its clients.

A world has one of it, beside its engines. It brings the faults of these processes and of the database, and what must
hold of them.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from projections.publisher.positions import published_position
from schemas.kafka import Place
from schemas.kafka.memory import MemoryCluster, Network
from schemas.settings import ApiSettings, ProjectionsSettings
from schemas.topics import EVENTS, EVENTS_PUBLISHED, public_topic, topic_name
from tests.simulation.answers import Answers
from tests.simulation.apis import HttpFaults, SimulatedApi
from tests.simulation.customers.customers import NOBODY_SENDS, Customers
from tests.simulation.database import DatabaseFaults, SimulatedDatabase
from tests.simulation.loop import VirtualClock
from tests.simulation.processes import SimulatedProcess
from tests.simulation.projectors import simulated_projections
from tests.simulation.publishing import PublicTopicChecker
from tests.simulation.reading import LogReader
from tests.simulation.retention import MAX_WAIT_SECONDS, Retention
from tests.simulation.rows import ReadModelChecker
from tests.simulation.secrecy import Secrecy
from tests.simulation.trace import Trace

REPLICAS: Final = 2
CUSTOMERS: Final = 3
ACTIONS: Final = 7
"""Of each customer."""
LAST_ACTIONS: Final = 4
"""Of one customer, when all is quiet."""
REPEATED: Final = 6
"""How many requests come once more when their instances are deleted."""
WAIT_SECONDS: Final = (2.0, 30.0)
"""How long `wait=true` waits at most."""
MAX_BODY_BYTES: Final = 16 * 1024
"""Larger than the workflows of the clients."""
MAX_WAITING: Final = (8, 4096)
"""How many requests an API takes at once."""
MAX_BATCH_EVENTS: Final = (3, 5000, 5000)
"""About how many events a projector writes at once."""
LIMITS: Final[dict[str, tuple[Any, ...]]] = {
    "projections.announcements.MAX_BYTES": (400, 7_900, 7_900),
    "projections.announcements.MAX_START_BYTES": (0, 250, 1_000),
    "projections.queries.loader.MAX_KEYS": (1, 500),
    "projections.queries.read_model.CHUNK_ROWS": (1, 3, 200),
    "projections.queries.pages.MAX_PAGE_BYTES": (1, 2_000, 2**21),
    "projections.bulk.runner.PAGE_INSTANCES": (1, 2, 100),
    "projections.publisher.partition_publisher.MAX_BATCH_RECORDS": (10, 2000),
    "projections.publisher.partition_publisher.MAX_UNRECORDED": (20, 10_000),
}
"""What limits are set to: small enough to be reached, or so large that they are not."""
RHYTHMS: Final[dict[str, tuple[Any, ...]]] = {
    "projections.queries.caught_up.POLL_SECONDS": (0.05, 0.4, 0.4),
    "projections.process.IDLE_SECONDS": (0.25, 2.5, 2.5),
    "projections.bulk.runner.POLL_SECONDS": (0.05, 1.0, 1.0),
    "projections.bulk.runner.IDLE_SECONDS": (2.0, 30.0, 30.0),
    "projections.publisher.partition_publisher.IDLE_SECONDS": (1.0, 10.0, 10.0),
    "projections.publisher.partition_publisher.PACE_SECONDS": (0.2, 2.0, 2.0),
    "projections.publisher.publisher.WATCH_SECONDS": (1.0, 5.0, 5.0),
}
"""How often is looked at what mostly has not changed."""
AWAY_SECONDS: Final = (0.0, 0.0, 1.0, 10.0)
"""How long the database is away after a crash."""
SLOW: Final = (0.02, 0.02, 0.3)
"""How often a request to it takes seconds."""
SLOW_ANSWERS: Final = (0.02, 0.2)
"""How often an answer of it does."""
SLOW_WHILE_WATCHED: Final = 0.3
"""How often while somebody runs what others watch, when all is quiet else: who shares a read shares a slow one."""
SLOW_WHILE_RETRIED: Final = 0.3
"""How often a request to it takes seconds while an operation retries: by then an instance may have been aborted."""
STANDING_SECONDS: Final = (2.0, 5.0)
"""How long a projector stands still while somebody acts on what it has not written: it keeps its partitions."""
DEAF: Final = (0.0, 0.3, 1.0)
"""How often an announcement is lost when all is quiet. Nobody is told of that."""


class Front:
    """See the module.

    When all is quiet: `settled`, then `act`, then `settled` again, then `look`.

    Args:
        rng: decides all that happens here.
        cluster: with the topics.
        network: the way to it.
        settings: the prefix of the topics, and how many partitions there are.
        stage: makes a stage of a workflow.
        broken: takes what is wrong, as soon as it is found.
        secrecy: opens what is encrypted.
        retention: what is deleted.
        trace: is told what happens to processes.
    """

    def __init__(
        self,
        rng: random.Random,
        cluster: MemoryCluster,
        network: Network,
        settings: ProjectionsSettings,
        stage: Callable[[], dict[str, Any]],
        broken: list[Exception],
        secrecy: Secrecy,
        retention: Retention,
        trace: Trace,
    ):
        self._retention = retention
        self.rng, self._broken = rng, broken
        self.limits = {name: rng.choice(values) for name, values in (*LIMITS.items(), *RHYTHMS.items())}
        """What has to be set to what while this runs."""
        self.limits |= retention.limits
        self._published = [Place(topic_name(settings, EVENTS_PUBLISHED), p) for p in range(settings.partitions)]
        self._events = [Place(topic_name(settings, EVENTS), p) for p in range(settings.partitions)]
        self._cluster = cluster
        log = LogReader(cluster, topic_name(settings, EVENTS), secrecy)
        clock = VirtualClock()
        self.rows = ReadModelChecker(log, broken, retention)
        self.public = PublicTopicChecker(cluster, log, public_topic(settings))
        self.answers = Answers(log, retention)
        self.database = SimulatedDatabase(rng, clock.now, self.rows)
        settings = replace(settings, max_batch_events=rng.choice(MAX_BATCH_EVENTS), **retention.settings)
        api_settings = ApiSettings(
            partitions=settings.partitions,
            topic_prefix=settings.topic_prefix,
            max_body_bytes=MAX_BODY_BYTES,
            wait_timeout_seconds=rng.choice(WAIT_SECONDS),
            max_waiting_requests=rng.choice(MAX_WAITING),
        )
        if retention.is_on:
            api_settings = replace(api_settings, wait_timeout_seconds=MAX_WAIT_SECONDS)
        self.projections = [
            simulated_projections(f"projections-{number}", rng, cluster, network, self.database, settings, trace)
            for number in range(REPLICAS)
        ]
        self.apis = [
            SimulatedApi(f"api-{number}", rng, cluster, network, self.database, api_settings, trace)
            for number in range(REPLICAS)
        ]
        self.database.watch = self._check_alarms
        self._watching: set[asyncio.Task[None]] = set()
        self._stands_until = 0.0
        """Those who look at lists after a crash of the database."""
        self.customers = Customers(rng, self.apis, self.answers, api_settings, stage, broken)

    @property
    def processes(self) -> Sequence[SimulatedProcess[Any]]:
        """All of them."""
        return (*self.projections, *self.apis)

    def start(self) -> None:
        """Start all processes."""
        for process in self.processes:
            process.start()

    async def use(self) -> None:
        """Have the clients do what they do."""
        await self.customers.run(CUSTOMERS, ACTIONS)

    def calls(self, instance_id: str, retries: int) -> None:
        """An engine calls the stack for an instance."""
        try:
            self.answers.calls(instance_id, retries)
        except AssertionError as error:
            self._broken.append(error)

    # Trouble

    def trouble(self) -> None:
        """From now on things go wrong."""
        slow, slow_answer = self.rng.choice(SLOW), self.rng.choice(SLOW_ANSWERS)
        self.database.faults = DatabaseFaults(
            lost=0.02, unanswered=0.02, late=0.03, silent=0.003, slow=slow, slow_answer=slow_answer, deaf=0.2
        )
        for api in self.apis:
            api.faults = HttpFaults(lost=0.05, unanswered=0.05)

    def strike(self) -> None:
        """Let something happen to the database: it crashes, maybe with the projections, or all is written to disk."""
        chance = self.rng.random()
        if chance < 0.3:
            self.database.flush()
        elif chance < 0.6:
            seconds = self.rng.choice(AWAY_SECONDS)
            self.database.crash(seconds)
            self._watching.add(asyncio.create_task(self._watch_lists(seconds)))
            if self.rng.random() < 0.4:
                for process in self.projections:
                    process.kill()
        self._retention.strike(self.projections)

    async def _watch_lists(self, away_seconds: float) -> None:
        """Look what lists show when the database is back."""
        await asyncio.sleep(away_seconds)
        await self.customers.watch_lists()

    def _check_alarms(self) -> None:
        """No projector takes the log for one that was cut, which it never is.

        Where events have expired, one that was stopped for long finds that they are gone which it would read next. And
        one that lacks a key of encryption stands still until it is started again with it.
        """
        whole = {str(p) for p, place in enumerate(self._events) if self._cluster.log(place).limits().oldest == 0}
        for process in self.projections:
            reasons = process.program.standing_still if process.is_alive else {}
            if standing := whole & {partition for partition, reason in reasons.items() if reason != "key"}:
                error = f"{process.name}: partitions {sorted(standing)} stand still, though no event is missing"
                self._broken.append(AssertionError(error))

    def quiet(self) -> None:
        """Nothing goes wrong any more, but that announcements may be lost."""
        self._retention.quiet(self.projections)
        self.database.faults = DatabaseFaults(deaf=self.rng.choice(DEAF))
        for api in self.apis:
            api.faults = HttpFaults()

    # What must hold

    def check(self) -> None:
        """What was published follows from the log, and every process lives.

        Raises:
            AssertionError: it does not.
        """
        self.public.check()
        for process in self.processes:
            assert not process.failures, f"{process.name} has failed: {process.failures[0]!r}"

    def unsettled(self) -> list[str]:
        """What is still to come when nothing goes wrong any more, in words.

        Raises:
            AssertionError: see `check`.
        """
        self.check()
        try:
            self.rows.check_whole(self.database.tables)
        except AssertionError as error:
            return [str(error)]
        behind = [f"partition {partition} is not published" for partition in self.public.behind]
        away = [f"{api.name} does not serve" for api in self.apis if not api.serves or api.program.busy]
        if self.database.is_away:
            away.append("the database is away")
        bulks = self.database.tables.bulks.values()
        behind += [f"bulk operation {row.id} goes on" for row in bulks if row.terminated_at is None]
        return behind + away + ([] if self.database.all_caught_up else ["the read model has not caught up"])

    def needed(self, partition: int) -> int:
        """The first event of a partition that may be read again: by a projector after a crash, or by a publisher."""
        log = self._cluster.log(self._published[partition])
        records = [published_position(partition, record) for record in log.records(committed_only=True)]
        published = [position.next_offset for position in records if position is not None]
        return min(self.database.kept.get(partition, 0), published[-1] if published else 0)

    async def act(self) -> None:
        """A client does some things more, each of which succeeds at once.

        Raises:
            AssertionError: an answer is wrong, or does not come.
        """
        await asyncio.gather(*self._watching)
        self.database.faults.slow_answer = SLOW_WHILE_WATCHED
        await self.customers.run_and_watch()
        self.database.faults.slow_answer = 0.0
        if (flow := await self.customers.let_fail()) is not None:
            self.database.faults.slow = SLOW_WHILE_RETRIED
            await self.customers.retry_failed(flow)
            self.database.faults.slow = 0.0
        await self.customers.abort_runs(self._let_one_stand)
        await asyncio.sleep(max(0.0, self._stands_until - asyncio.get_running_loop().time()))
        self.customers.quiet()
        await self.customers.run(1, LAST_ACTIONS)
        await self.customers.meet_ends()
        if self._retention.is_on:
            await asyncio.sleep(self._retention.longest.total_seconds())
            self.rows.check_deleted(self.database.tables)
            await self.customers.repeat_some(REPEATED)

    def _let_one_stand(self) -> None:
        """Let some projections stand still for a moment."""
        process = self.rng.choice(self.projections)
        process.stop()
        loop = asyncio.get_running_loop()
        self._stands_until = loop.time() + self.rng.uniform(*STANDING_SECONDS)
        loop.call_at(self._stands_until, process.go_on)

    def deleted(self, count: int) -> list[str]:
        """So many instances that are deleted, could be retried, and would come to an end."""
        known = self.answers.known.instances
        ids = [id for id in self.rows.failed_and_deleted if NOBODY_SENDS.encode() not in bytes(known[id].start.stages)]
        return self._retention.some_of(ids, count)

    async def look(self) -> None:
        """Everything is looked at on every replica.

        Raises:
            AssertionError: an answer is wrong, or does not come.
        """
        await self.customers.sweep()
        self.customers.check()
        self.rows.check_whole(self.database.tables)

    @property
    def met(self) -> Counter[str]:
        """How often each situation was met."""
        deleted = Counter(
            {
                "an instance was deleted": self.rows.deleted_instances,
                "an instance came back by a retry": self.rows.came_back,
            }
        )
        return self.customers.met + self.database.met + deleted
