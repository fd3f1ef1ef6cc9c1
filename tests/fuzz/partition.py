"""The owner of a partition between a damaged command and two good ones, in virtual time."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from prometheus_client import CollectorRegistry

from engine.activities import service_of
from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.metrics import Metrics
from engine.partition import Partition
from engine.ports import MayStart
from engine.shared import Shared
from engine.slots import CallSlots
from projections.event_reader import EventReader
from projections.metrics import Metrics as ProjectionsMetrics
from projections.publisher.public_events import public_event
from projections.rows import ReadPosition
from schemas.commands import RunWorkflow
from schemas.current import CurrentWorkflow
from schemas.epochs import EpochFilter, header
from schemas.events import InstanceEnded
from schemas.records import NewRecord, RecordCodec, read_number
from schemas.topics import MAX_RECORD_BATCH_BYTES
from tests.definitions import definition
from tests.ports.log import Log, MemoryEventLog, MemoryFeed, StoredRecord
from tests.ports.snapshots import MemorySnapshots
from tests.ports.workflows import MemoryWorkflows
from tests.simulation.checkers import Observer
from tests.simulation.links import LinkFaults, MemoryLinks
from tests.simulation.loop import VirtualClock, simulate

CODEC: Final = RecordCodec()
WORKFLOW: Final = str(UUID(int=1))
GOOD: Final = RunWorkflow(workflow_id=WORKFLOW, stages=definition([{"noop": {}}]), variables={})
FIRST, LAST = str(UUID(int=2)), str(UUID(int=3))
SECONDS: Final = 5.0
"""Of virtual time, plenty for three commands."""


class _Caller:
    """A stack that answers every call with an object that fits none."""

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        return ActivityDone(activity.token, output={})


def decide(record: StoredRecord) -> str:
    """Have an owner decide a damaged command, and read what it made of it.

    Returns:
        The type of the first event that it left.
    """
    return simulate(_decide(record))


async def _decide(record: StoredRecord) -> str:
    log = Log(1)
    for command in (
        CODEC.encode(FIRST, GOOD, timestamp_ms=0),
        NewRecord(record.key, record.value, list(record.headers), 0),  # type: ignore[arg-type]
        CODEC.encode(LAST, GOOD, timestamp_ms=0),
    ):
        log.append_command(0, command)
    assert await _own(log) == 3
    left = {cause: types for cause, types in _outcomes(log.events[0]).items() if cause >= 0}
    assert sorted(left) == [0, 1, 2]
    assert InstanceEnded.__name__ in left[2], "the command behind it was not decided"
    assert await _own(log) == 3, "a restored owner would go on somewhere else"
    return left[1][0]


def _workflows() -> MemoryWorkflows:
    known = MemoryWorkflows()
    known.known[WORKFLOW] = CurrentWorkflow(stages=GOOD.stages)
    return known


async def _own(log: Log) -> int:
    """Own the partition for a while; returns the next command that it would read."""
    shared = Shared(
        log=MemoryEventLog(log),
        snapshots=MemorySnapshots(),
        snapshot_seconds=10.0,
        caller=_Caller(),
        slots=CallSlots(100, service_of),
        evaluator=MemoryLinks(random.Random(1), LinkFaults(), Observer(1, CODEC), dict),
        workflows=_workflows(),
        clock=VirtualClock(),
        owner="engine",
        codec=CODEC,
        metrics=Metrics(CollectorRegistry()),
    )
    feed = MemoryFeed(log, lambda _, records: partition.feed_commands(records))
    partition = Partition(0, shared, feed)
    feed.assigned = {0}
    feeding = asyncio.create_task(feed.run())
    owner = asyncio.create_task(partition.run())
    await asyncio.wait({owner}, timeout=SECONDS)
    feeding.cancel()
    partition.stop()
    await owner
    return partition.next_command


def _outcomes(records: Sequence[StoredRecord]) -> dict[int, list[str]]:
    """Types of the events in the log by their cause, when everybody who reads the log has managed."""
    reading = EventReader(ProjectionsMetrics(CollectorRegistry())).read({0: records}, {0: ReadPosition(0, -1, -1)})
    assert reading.positions[0].next_offset == len(records)
    epochs, outcomes = EpochFilter(), dict[int, list[str]]()
    size = 0
    for record in records:
        size += len(record.key or b"") + len(record.value or b"")
        if epochs.admits(record):
            recorded = CODEC.decode_event(record)
            public_event(0, recorded)
            cause = read_number(header(record.headers, "cause"))
            outcomes.setdefault(-1 if cause is None else cause, []).append(type(recorded.event).__name__)
    assert size < MAX_RECORD_BATCH_BYTES
    return outcomes
