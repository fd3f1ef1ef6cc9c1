"""Writes a log of many instances straight into topic `events`, as an engine would have written it.

The core decides one run of each kind; the events of the others differ by their ids alone. They name no commands as
their causes, so topic `commands` may be empty.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from engine.core.shard import Shard
from schemas.commands import Command, CreateWorkflow, RunWorkflow
from schemas.events import PartitionClaimed
from schemas.kafka import Kafka
from schemas.kafka.ports import Producer
from schemas.records import NewRecord, RecordCodec
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS, MAX_RECORD_BATCH_BYTES, partition_of, topic_name
from tests.definitions import definition

EVENT: Final = "approved"

Stages = Sequence[dict[str, Any]]

WORKFLOW_ID: Final = str(UUID(int=1))
"""The workflow of all instances. Only lists use its definition."""

WAITING: Final[dict[str, Stages]] = {
    "event": ({"wait_event": {"event": EVENT}},),
    "delay": ({"delay": {"duration": "720h"}},),
}
"""Stages of an instance that waits, by what it waits for."""

FINISHED: Final[Stages] = ({"noop": {}},)
"""Stages of one that has ended at once."""

VARIABLES: Final = {"customer": "users:1234", "order": "2026-03-0001", "amount": "EUR/2 1250"}

KEPT_IDS: Final = 100
BATCH_INSTANCES: Final = 1000
APPEND_SECONDS: Final = 60.0


class WrittenLog:
    """One owner's log of each partition, whose claim is its first record.

    Args:
        kafka: where it is written.
        settings: the installation's.
        at: when all of it has happened; now when not given.
    """

    def __init__(self, kafka: Kafka, settings: KafkaSettings, at: datetime | None = None):
        self._kafka, self._settings = kafka, settings
        self._topic = topic_name(settings, EVENTS)
        self._codec, self._now = RecordCodec(), at or datetime.now(UTC)
        self.events = 0
        """How many were written."""
        self.waiting: dict[int, list[str]] = {partition: [] for partition in range(settings.partitions)}
        """Some instances of each partition that wait."""

    async def write(self, *, waiting: int, finished: int, waits_for: str = "event") -> None:
        """Write so many instances, those that have finished first."""
        producer = self._kafka.producer(
            self._topic,
            max_batch_bytes=MAX_RECORD_BATCH_BYTES,
            max_request_bytes=4 * MAX_RECORD_BATCH_BYTES,
            waits=True,
        )
        partitions = range(self._settings.partitions)
        try:
            for partition in partitions:
                await self._append(producer, partition, [self._claim()])
            workflow = self._workflow()
            await self._append(producer, partition_of(WORKFLOW_ID.encode(), len(partitions)), workflow)
            for stages, count in ((FINISHED, finished), (WAITING[waits_for], waiting)):
                run = self._run(stages)
                for ids in _dealt(count, self._settings.partitions):
                    await asyncio.gather(
                        *(self._append(producer, partition, _of(run, ids[partition])) for partition in partitions)
                    )
                    if stages is not FINISHED:
                        for partition in partitions:
                            self.waiting[partition] = (self.waiting[partition] + ids[partition])[-KEPT_IDS:]
        finally:
            await producer.close()

    def _claim(self) -> NewRecord:
        claim = PartitionClaimed(at=self._now, owner="tests.performance")
        return self._codec.encode("", claim, timestamp_ms=self._timestamp_ms)

    def _workflow(self) -> list[NewRecord]:
        """The records of the workflow's creation."""
        return self._decide(WORKFLOW_ID, CreateWorkflow(name="old", stages=list(FINISHED)))

    def _run(self, stages: Stages) -> list[NewRecord]:
        """The records of a run."""
        command = RunWorkflow(workflow_id=WORKFLOW_ID, stages=definition(stages), variables=VARIABLES)
        return self._decide(str(UUID(int=0)), command)

    def _decide(self, id: str, command: Command) -> list[NewRecord]:
        events = Shard().decide(id, command, self._now).events
        return self._codec.encode_decision(
            id, events, timestamp_ms=self._timestamp_ms, first_version=1, cause=None, epoch=0
        )

    @property
    def _timestamp_ms(self) -> int:
        return int(self._now.timestamp() * 1000)

    async def _append(self, producer: Producer, partition: int, records: Sequence[NewRecord]) -> None:
        if records:
            deadline = asyncio.get_running_loop().time() + APPEND_SECONDS
            await producer.append_batch(self._topic, partition, records, deadline)
            self.events += len(records)


def _dealt(count: int, partitions: int) -> Iterator[dict[int, list[str]]]:
    """New ids of instances in portions, by their partition."""
    for begin in range(0, count, BATCH_INSTANCES * partitions):
        ids: dict[int, list[str]] = {partition: [] for partition in range(partitions)}
        for _ in range(min(BATCH_INSTANCES * partitions, count - begin)):
            id = str(UUID(bytes=os.urandom(16), version=4))
            ids[partition_of(id.encode(), partitions)].append(id)
        yield ids


def _of(run: Sequence[NewRecord], ids: Sequence[str]) -> list[NewRecord]:
    """The records of instances that all run like one."""
    return [NewRecord(id.encode(), r.value, r.headers, r.timestamp_ms) for id in ids for r in run]
