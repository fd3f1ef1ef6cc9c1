"""Runs the bulk operations of the partitions that this process has.

One loop: read all operations that have not ended, and do the next step of each. It looks again as soon as the projector
has written something of an operation, and every moment while one is under way.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry

from projections.bulk.actions import UnknownAction, action, commands
from projections.bulk.metrics import Metrics
from projections.bulk.reads import Reads
from projections.bulk.sending import Sender
from projections.bulk.steps import Memory, next_step
from projections.database import FAULTS
from projections.log_watch import whole_log
from projections.ports import Database
from projections.queries.bulks import BulkRow, Running
from projections.queries.errors import RowUnreadable
from projections.read_rows import RowPosition
from schemas.commands import AdvanceBulk, EndBulk
from schemas.error_texts import INTERNAL_FAULT
from schemas.kafka import Kafka, KafkaFault, KeptReader
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS, topic_name

logger = logging.getLogger(__name__)

PAGE_INSTANCES: Final = 100
"""Instances of a page: so many commands of an operation are under way at once. Those of others wait behind them."""
POLL_SECONDS: Final = 0.05
"""Between looks while an operation is under way. What another process has written is noticed by looking alone."""
IDLE_SECONDS: Final = 2.0
"""Between looks while there is none: how late one is begun that another process has written."""
FIRST_PAUSE_SECONDS: Final = 0.1
"""First pause after a fault; it doubles. Without it an absent service would keep the process busy."""
MAX_PAUSE_SECONDS: Final = 2.0
"""Longest pause: how long a service may be back before we notice."""
LIMITS_TIMEOUT_SECONDS: Final = 3.0
"""Deadline of asking Kafka where the partitions end. The other operations wait for it."""
SLOW_SECONDS: Final = 60.0
"""After so long without progress an operation is told of in the log, once until it goes on."""


class Operation(msgspec.Struct):
    """What this process knows of an operation that is under way."""

    progress_at: float
    """When it was seen to have come further."""
    memory: Memory = msgspec.field(default_factory=Memory)
    progress: tuple[int, int] = (-1, -1)
    """Pages and outcomes, when it was looked at last."""
    ends: dict[int, int] | None = None
    """By partition, the end of the log after the operation was started. The read model must have come so far before the
    first page: it would miss instances that were there before the operation."""
    searched: tuple[int, RowPosition] | None = None
    """The page that is looked for, and up to where nothing was found for it."""
    pause_until: float = 0.0
    """After a failure: nothing is done for it before this."""
    failures: int = 0
    told: bool = False


class BulkRunner:
    """Runs operations until cancelled. Whatever fails is logged, counted and tried again.

    Args:
        kafka: where the topics are.
        database: with the read model.
        settings: the prefix of the topics.
        registry: where its metrics are registered.
        partitions: those of this process now.
        clock: seconds since 1970, for the records.
    """

    def __init__(
        self,
        kafka: Kafka,
        database: Database,
        settings: KafkaSettings,
        registry: CollectorRegistry,
        partitions: Callable[[], Collection[int]],
        clock: Callable[[], float] = time.time,
    ):
        self._reads, self._reader = Reads(database), KeptReader(kafka)
        self._sender = Sender(kafka, settings, clock)
        self._events = topic_name(settings, EVENTS)
        self._metrics = Metrics(registry)
        self._partitions = partitions
        self._operations: dict[str, Operation] = {}
        self._woken = asyncio.Event()
        self._faults_in_a_row = 0

    def wake(self) -> None:
        """Something of an operation was written: look at once."""
        self._woken.set()

    async def run(self) -> None:
        """Run operations until cancelled."""
        try:
            while True:
                seconds = await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._woken.wait()
        finally:
            await asyncio.gather(self._sender.close(), self._reader.close(), self._reads.close())

    async def _look(self) -> float:
        """Do the next step of each operation; how long to wait before the next look."""
        self._woken.clear()
        partitions = self._partitions()
        try:
            found = await self._reads.running(partitions) if partitions else Running([], {}, {})
        except FAULTS as fault:
            return self._away("Postgres", fault)
        except Exception:
            logger.exception("bulk operations can't be read")
            return self._away("defect", None)
        self._faults_in_a_row = 0
        self._show(found)
        # Side by side: one may wait for what others don't need.
        await asyncio.gather(*(self._try(row, found) for row in found.rows))
        return POLL_SECONDS if found.rows else IDLE_SECONDS

    def _away(self, service: str, fault: BaseException | None) -> float:
        self._metrics.failures.labels(service).inc()
        pause = _pause(self._faults_in_a_row)
        if self._operations and not self._faults_in_a_row and fault is not None:
            logger.warning("bulk operations wait for %s: %s", service, fault or type(fault).__name__)
        self._faults_in_a_row += 1
        return pause

    def _show(self, found: Running) -> None:
        """Note which operations there are, and whether they go on."""
        now = _now()
        ids = {str(row.id) for row in found.rows}
        self._operations = {id: known for id, known in self._operations.items() if id in ids}
        for row in found.rows:
            known = self._operations.setdefault(str(row.id), Operation(now))
            progress = row.pages, sum(row.outcomes.values())
            if progress != known.progress:
                known.progress, known.progress_at, known.told = progress, now, False
            elif now - known.progress_at >= SLOW_SECONDS and not known.told:
                known.told = True
                logger.warning(
                    "bulk operation %s has made no progress for %.0f s: page %d, outcomes of %d commands are missing",
                    row.id,
                    now - known.progress_at,
                    row.pages,
                    row.missing,
                )
        self._metrics.operations.set(len(found.rows))
        self._metrics.idle_seconds.set(max((now - known.progress_at for known in self._operations.values()), default=0))

    async def _try(self, row: BulkRow, found: Running) -> None:
        """Do the next step of an operation; after a failure, not before some time has passed."""
        known = self._operations[str(row.id)]
        if _now() < known.pause_until:
            return
        try:
            await self._step(row, known, found)
        except (*FAULTS, KafkaFault) as fault:
            self._failed(row, known, "Kafka" if isinstance(fault, KafkaFault) else "Postgres", str(fault))
        except (UnknownAction, RowUnreadable, msgspec.MsgspecError) as error:
            self._failed(row, known, "unknown", str(error))
        except Exception:
            logger.exception("a step of bulk operation %s failed", row.id)
            self._failed(row, known, "defect", INTERNAL_FAULT)
        else:
            known.failures = 0

    def _failed(self, row: BulkRow, known: Operation, reason: str, text: str) -> None:
        self._metrics.failures.labels(reason).inc()
        if not known.failures:
            logger.warning("bulk operation %s: %s; it is tried again until that works", row.id, text or reason)
        known.pause_until = _now() + _pause(known.failures)
        known.failures += 1

    async def _step(self, row: BulkRow, known: Operation, found: Running) -> None:
        step = next_step(row, known.memory, found.causes)
        if step.action == "send":
            await self._send(row, known.memory)
        elif step.action == "advance":
            await self._advance(row, known, found, step.lost)

    async def _send(self, row: BulkRow, memory: Memory) -> None:
        """Send the commands of the last page, as the log says which instances it has."""
        match action(row).reads:
            case "instances":
                page = commands(row, await self._reads.instances(row.page))
            case "retryable":
                page = commands(row, await self._reads.retryable(row.page, await self._sender.partitions()))
        memory.tries += 1
        self._metrics.commands.labels(row.action).inc(len(page))
        memory.sent = await self._sender.send(row.pages - 1, page)

    async def _advance(self, row: BulkRow, known: Operation, found: Running, lost: int) -> None:
        """Propose the next page; the end, if there is none."""
        if lost:
            self._metrics.lost.inc(lost)
            logger.error("bulk operation %s: nobody knows what became of %d commands; it goes on", row.id, lost)
        command: AdvanceBulk | EndBulk = EndBulk(pages=row.pages, lost=lost)
        if row.stopped_at is None:
            if not row.pages and not await self._is_complete(known, found):
                return
            places = await self._places(row, known)
            if places is None:
                return
            if places:
                instances = [str(place.id) for place in places]
                command = AdvanceBulk(page=row.pages, instances=instances, created_at=places[-1].created_at, lost=lost)
        known.memory.proposed = await self._sender.send(row.pages, {str(row.id): command})

    async def _places(self, row: BulkRow, known: Operation) -> Sequence[RowPosition] | None:
        """The instances of the next page, none at the end; None if none were found yet, but there are others."""
        begin = known.searched[1] if known.searched is not None and known.searched[0] == row.pages else None
        found = await self._reads.next_page(row, begin, PAGE_INSTANCES)
        if found.places or found.behind is None:
            return found.places
        # Many may not fit one after another. In between, other operations have their turn.
        known.searched = row.pages, found.behind
        known.progress_at = _now()
        self._woken.set()
        return None

    async def _is_complete(self, known: Operation, found: Running) -> bool:
        """Whether the read model has all that was in the log when the operation was begun."""
        if known.ends is None:
            known.ends = await self._ends()
            return False  # `found` is older
        return all(found.offsets.get(partition, 0) >= end for partition, end in known.ends.items())

    async def _ends(self) -> dict[int, int]:
        try:
            async with asyncio.timeout(LIMITS_TIMEOUT_SECONDS), self._reader.use() as reader:
                return await whole_log(reader, self._events)
        except TimeoutError as error:
            raise KafkaFault("Kafka does not tell in time where the events end") from error


def _pause(failures: int) -> float:
    """How long to wait after so many failures in a row before this one."""
    return min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10))


def _now() -> float:
    """The event loop's time, which a simulation owns."""
    return asyncio.get_running_loop().time()
