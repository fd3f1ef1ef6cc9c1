"""Our consumers: aiokafka's, on our client (see `client`)."""

import asyncio
import math
import time
from collections.abc import Collection
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import IllegalStateError, KafkaError, KafkaTimeoutError

from schemas.kafka import header_names  # noqa: F401 - aiokafka reads all header names from here on
from schemas.kafka.client import adopt, retrieve
from schemas.kafka.errors import UnreadableRecords
from schemas.kafka.faults import faults
from schemas.kafka.options import client_options
from schemas.kafka.ports import Limits, Place
from schemas.settings import KafkaSettings


class ConsumerClient(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer. Close it by `closing` or `close`.

    Offsets are committed by hand, if at all, and a partition without a position begins at its start. Whatever fails in
    the client library is an error of Kafka, which everybody tries again: its assertions end no process.

    Args:
        settings: how to reach Kafka.
        topics: to read all partitions of, without a group.
        options: those of `AIOKafkaConsumer`.
    """

    def __init__(self, settings: KafkaSettings, *topics: str, **options: Any):
        defaults = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        super().__init__(*topics, **client_options(settings), **{**defaults, **options})
        adopt(self._client)

    async def getmany(self, *partitions: TopicPartition, **options: Any) -> Any:
        """Records that have come, by partition.

        Raises:
            UnreadableRecords: they can't be decoded.
            KafkaError, OSError: Kafka is away or refuses.
        """
        try:
            return await super().getmany(*partitions, **options)
        except (KafkaError, OSError):
            raise
        except Exception as error:
            raise UnreadableRecords(repr(error)) from error

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """What partitions hold now.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """
        own = [TopicPartition(*place) for place in places]
        async with faults():
            oldest = await self.beginning_offsets(own)
            ends = await self.end_offsets(own)
        return {Place(*place): Limits(oldest[place], ends[place]) for place in own}

    def highwater(self, partition: TopicPartition) -> int | None:
        """The end of a partition when it was last fetched; None before that, and when it is not assigned any more."""
        return super().highwater(partition) if partition in self.assignment() else None

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on at an offset.

        Raises:
            IllegalStateError: the partition is not assigned any more.
        """
        self._check(partition)
        super().seek(partition, offset)

    def pause(self, *partitions: TopicPartition) -> None:
        """Hand nothing over from partitions.

        Raises:
            IllegalStateError: one is not assigned any more.
        """
        self._check(*partitions)
        super().pause(*partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Hand records of partitions over again.

        Raises:
            IllegalStateError: one is not assigned any more.
        """
        self._check(*partitions)
        super().resume(*partitions)

    def lose_patience(self) -> None:
        """Have `getmany` fail, which otherwise waits for the end of a rebalance, however long that takes."""
        self._subscription.abort_waiters(KafkaTimeoutError("the rebalance does not end"))

    def _check(self, *partitions: TopicPartition) -> None:
        # aiokafka asserts it while it has no assignment at all.
        missing = set(partitions) - self.assignment()
        if missing:
            raise IllegalStateError(f"not assigned: {missing}")

    @property
    def _coordinator(self) -> Any:
        return self._group_coordinator

    @_coordinator.setter
    def _coordinator(self, coordinator: Any) -> None:
        # It is made in the middle of `start`, which returns when it has joined the group.
        if isinstance(coordinator, GroupCoordinator):
            coordinator.__class__ = _Coordinator
        self._group_coordinator = coordinator

    @property
    def silence_seconds(self) -> float:
        """How long ago this was a member of the group for certain: since it sent what the group answered last."""
        return time.monotonic() - getattr(self._group_coordinator, "heard_at", -math.inf)


class _Coordinator(GroupCoordinator):  # type: ignore[misc]
    heard_at = -math.inf
    """When the last heartbeat that was answered was sent, or the group was joined."""

    async def _do_heartbeat(self) -> bool:
        sent_at = time.monotonic()
        is_member: bool = await super()._do_heartbeat()
        if is_member:
            self.heard_at = sent_at
        return is_member

    async def _do_rejoin_group(self, subscription: Any) -> bool:
        joined: bool = await super()._do_rejoin_group(subscription)
        if joined:
            self.heard_at = time.monotonic()
        return joined

    async def _do_commit_offsets(self, *arguments: Any) -> None:
        # Runs in a task that is shielded: after whoever commits has given up, nobody would look at its error.
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(retrieve)
        await super()._do_commit_offsets(*arguments)
