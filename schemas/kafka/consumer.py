"""Our consumers: aiokafka's, on our client (see `client`)."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import GroupCoordinator

from schemas.kafka import header_names  # noqa: F401 - aiokafka reads all header names from here on
from schemas.kafka.client import adopt, retrieve
from schemas.kafka.options import client_options
from schemas.settings import KafkaSettings


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer. Close it by `closing` or `close`.

    Offsets are committed by hand, if at all, and a partition without a position begins at its start.

    Args:
        settings: how to reach Kafka.
        topics: to read all partitions of, without a group.
        options: those of `AIOKafkaConsumer`.
    """

    def __init__(self, settings: KafkaSettings, *topics: str, **options: Any):
        defaults = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        super().__init__(*topics, **client_options(settings), **{**defaults, **options})
        adopt(self._client)

    @property
    def _coordinator(self) -> Any:
        return self._group_coordinator

    @_coordinator.setter
    def _coordinator(self, coordinator: Any) -> None:
        # It is made in the middle of `start`, which returns when it has joined the group.
        if isinstance(coordinator, GroupCoordinator):
            coordinator.__class__ = _Coordinator
        self._group_coordinator = coordinator


class _Coordinator(GroupCoordinator):  # type: ignore[misc]
    async def _do_commit_offsets(self, *arguments: Any) -> None:
        # Runs in a task that is shielded: after whoever commits has given up, nobody would look at its error.
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(retrieve)
        await super()._do_commit_offsets(*arguments)
