"""Events that tests put into the read model: about a workflow, its instances and triggers, at times of their choice."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw

from projections.fold import Batch
from projections.ports import Store
from projections.rows import Advance, ReadPosition
from schemas import events
from schemas.records import Recorded
from tests.definitions import definition

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
WORKFLOW = uuid.UUID(int=1)
CREATED = events.WorkflowCreated(at=START, name="payout", stages=[{"noop": None}])


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def started(seconds: float = 0, workflow_id: uuid.UUID = WORKFLOW, **variables: str) -> events.InstanceStarted:
    return events.InstanceStarted(
        at=at(seconds), workflow_id=str(workflow_id), stages=definition([{"noop": None}]), variables=variables
    )


def run(seconds: float = 0) -> list[Any]:
    """The events of an instance with one noop stage."""
    return [
        started(seconds),
        events.StageStarted(workflow_id=str(WORKFLOW), at=at(seconds + 0.1), number=0, name="RunNoop", input={}),
        events.StageEnded(workflow_id=str(WORKFLOW), at=at(seconds + 0.2), number=0),
        events.InstanceEnded(workflow_id=str(WORKFLOW), at=at(seconds + 0.3)),
    ]


LISTENS = events.TriggerCreated(
    at=START, name="Payouts", event="X", version="v2", workflow_id=str(WORKFLOW), filter="true", vars={"a": "1"}
)


def fired(id: uuid.UUID, seconds: float = 0, instance_id: uuid.UUID = WORKFLOW) -> events.TriggerFired:
    """An occurrence with this id."""
    return events.TriggerFired(
        at=at(seconds),
        occurrence_id=str(id),
        event={"type": "X", "payload": {"n": 10**30, "text": "\0"}},
        source="ledger/0",
        offset=int(seconds),
        workflow_id=str(WORKFLOW),
        instance_id=str(instance_id),
        stages=Raw(b"[]"),
        variables={},
    )


async def next_batch(
    store: Store, happened: Sequence[tuple[uuid.UUID, Any]], partition: int, cause: int | None
) -> tuple[Batch, ReadPosition]:
    """The batch of some events that comes next in a partition, and where the partition is behind it.

    Args:
        store: the read model.
        happened: the ids of the aggregates, with events.
        partition: of the events.
        cause: the offset of their command.
    """
    before = (await store.positions([partition]))[partition]
    after = ReadPosition(before.next_offset + len(happened), 0, max(before.cause, -1 if cause is None else cause))
    batch = Batch()
    for offset, (id, event) in enumerate(happened, before.next_offset):
        batch.add(partition, Recorded(str(id), 1, event, offset, cause))
    batch.advances = [Advance(partition, before.next_offset, after.next_offset, after.epoch, after.cause)]
    return batch, after
