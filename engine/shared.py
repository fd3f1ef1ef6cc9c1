"""What all partitions of an engine work with."""

import asyncio

from msgspec import Struct, field

from engine.core.duplicates import DEFAULT_BOUNDS, Bounds
from engine.metrics import Metrics
from engine.ports import ActivityCaller, Clock, EventLog, MessageEvaluator, Snapshots, Workflows
from engine.slots import CallSlots
from schemas.records import RecordCodec


class Shared(Struct, frozen=True, kw_only=True, eq=False):
    """What an engine gives each of its partitions."""

    owner: str
    """Name of the engine, written into its claims."""
    log: EventLog
    snapshots: Snapshots
    """What a restore begins with."""
    snapshot_seconds: float
    """When the next snapshot of a partition is due."""
    writing_snapshot: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a snapshot is written."""
    caller: ActivityCaller
    """Calls the stack."""
    slots: CallSlots
    """For these calls."""
    evaluator: MessageEvaluator
    """Evaluates messages that need links."""
    workflows: Workflows
    """The current ones, for submissions."""
    clock: Clock
    codec: RecordCodec
    metrics: Metrics
    bounds: Bounds = DEFAULT_BOUNDS
    """How much a partition remembers of what is over."""
    max_attempts: int | None = None
    """See `Shard`."""
