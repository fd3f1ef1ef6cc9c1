"""Keeps the partitions of one engine at work: a task for each one assigned, started again after faults."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from engine.errors import AppendFailed, Displaced, ReadFailed, SnapshotUnusable, Superseded
from engine.log_checks import READER
from engine.partition import Partition
from engine.ports import CommandFeed
from engine.shared import Shared
from schemas.log_integrity import LogFault, Reason
from schemas.records import Record

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 2.0
"""Pauses before a partition is claimed again double up to this; without them a lasting fault would be a busy loop. The
longest is also how long Kafka may be back before we notice."""

MAX_FAULT_PAUSE_SECONDS: Final = 30.0
"""Likewise after a defect of ours, since each try may restore a large partition; and while a log is not what it was, so
how long a partition may stand still after it was repaired."""

CONFIRM_SECONDS: Final = 0.1
"""How often an engine that was superseded looks whether the group has confirmed since that the partition is its own.
Most likely it is about to learn that it lost it. Without the confirmation, two engines could take a partition from each
other again and again, each before the other's restore has come to its end."""


class GroupFeed(CommandFeed, Protocol):
    """A feed that knows which partitions its consumer group has assigned here."""

    def owns(self, partition: int) -> bool:
        """Whether the partition is assigned to this engine, and the group has not been silent for long."""

    def silence_seconds(self) -> float:
        """How long ago this engine was a member of the group for certain."""

    def close(self, partition: int) -> None:
        """The partition's owner is gone: feed nothing before the next `open`."""


class Supervisor:
    """Runs the partitions that the group assigns.

    Args:
        shared: what each of them works with.
        feed: commands and assignment; it calls `assigned`, `received` and `failed`.
    """

    def __init__(self, shared: Shared, feed: GroupFeed):
        self._shared, self._feed = shared, feed
        self._clock, self._metrics = shared.clock, shared.metrics
        self._partitions: dict[int, Partition] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._owning: dict[int, asyncio.Lock] = {}
        self._faults: dict[int, Reason] = {}
        """Not the faults themselves: they would keep what was restored until then in memory."""
        self._stopping = False

    @property
    def partitions(self) -> Sequence[Partition]:
        """The partitions at work or being restored."""
        return list(self._partitions.values())

    @property
    def restored(self) -> bool:
        """Whether every partition assigned here is at work, or stands still until its log is repaired.

        An engine that is started again for that would do no better.
        """
        return all(self._is_at_work(number) or number in self._faults for number in self._tasks)

    @property
    def standing_still(self) -> dict[str, str]:
        """By partition, what is wrong with its log."""
        return {str(n): reason for n, reason in sorted(self._faults.items()) if not self._is_at_work(n)}

    def _is_at_work(self, number: int) -> bool:
        return number in self._partitions and self._partitions[number].restored

    def assigned(self, partitions: set[int]) -> None:
        """Run exactly these partitions. Those that stay go on as they are. Once it is to stop, it takes no more."""
        if self._stopping:
            return
        for number in self._tasks.keys() - partitions:
            self._tasks.pop(number).cancel()
        for number in partitions - self._tasks.keys():
            self._tasks[number] = asyncio.create_task(self._own(number), name=f"partition-{number}")

    def received(self, number: int, records: Sequence[Record]) -> None:
        """Hand commands to their partition."""
        partition = self._partitions.get(number)
        if partition is not None:
            partition.feed_commands(records)

    def failed(self, number: int, fault: LogFault) -> None:
        """What is wrong with the commands of a partition."""
        partition = self._partitions.get(number)
        if partition is not None:
            partition.fail(fault)

    async def stop(self, timeout_seconds: float) -> None:
        """Let the turns under way end, then drop all partitions; by force after the timeout."""
        self._stopping = True
        for number, task in self._tasks.items():
            if self._is_at_work(number):
                self._partitions[number].stop()
            else:  # it has no turn; all others would wait for the end of its pause, or of its restore
                task.cancel()
        tasks = list(self._tasks.values())
        self._tasks.clear()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _own(self, number: int) -> None:
        """Own a partition for as long as it is assigned, claiming it again after faults.

        A partition that is lost and comes back at once waits for its former owner here to end. Otherwise the commands
        that the feed still has for the former would reach the new one before it knows which it has decided.
        """
        async with self._owning.setdefault(number, asyncio.Lock()):
            try:
                await self._own_alone(number)
            finally:
                self._faults.pop(number, None)
                self._metrics.log_faults.clear(READER, number)

    async def _own_alone(self, number: int) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self._feed.owns(number) and not self._stopping:
            partition = self._partitions[number] = Partition(number, self._shared, self._feed)
            longest, superseded, again, began = MAX_PAUSE_SECONDS, False, False, self._clock.monotonic()
            try:
                await partition.run()
                return
            except Superseded as error:
                self._dropped(number, error, "superseded")
                superseded = again = True
            except (AppendFailed, Displaced, ReadFailed) as error:
                self._dropped(number, error, "log")
            except LogFault as fault:
                self._stands_still(partition, fault)
                # What is wrong with commands is found by a partition that is restored, each time.
                longest, again = MAX_FAULT_PAUSE_SECONDS, True
            except SnapshotUnusable as error:
                logger.error("%s", error, extra={"partition": number})
                self._dropped(number, error, "unrestorable")
                longest = MAX_FAULT_PAUSE_SECONDS
            except Exception as error:
                logger.exception("a partition failed", extra={"partition": number})
                self._dropped(number, error, "fault")
                longest = MAX_FAULT_PAUSE_SECONDS
            finally:
                if self._partitions.get(number) is partition:
                    self._feed.close(number)
                    del self._partitions[number]
                partition.let_go()
            if superseded:
                await self._confirmed(number)
            lasted = self._clock.monotonic() - began > MAX_FAULT_PAUSE_SECONDS
            if lasted or (partition.restored and not again):
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _confirmed(self, number: int) -> None:
        """Wait until the group has confirmed, from now on, that the partition is this engine's, or it is not."""
        since = self._clock.monotonic()
        # The client library has no event for it.
        while self._feed.owns(number) and self._feed.silence_seconds() >= self._clock.monotonic() - since:  # noqa: ASYNC110
            await asyncio.sleep(CONFIRM_SECONDS)

    def _stands_still(self, partition: Partition, fault: LogFault) -> None:
        """Tell what is wrong with the log of a partition, once unless it went on in between."""
        number = partition.number
        known = None if partition.restored else self._faults.get(number)
        if known != fault.reason:
            logger.error("%s", fault, extra={"partition": number})
            self._metrics.restarts.labels("cut").inc()
        self._faults[number] = fault.reason
        self._metrics.log_faults.show(READER, number, fault)

    def _dropped(self, number: int, error: Exception, reason: str) -> None:
        self._metrics.restarts.labels(reason).inc()
        logger.warning("partition %d is dropped and claimed again: %s", number, error, extra={"partition": number})
