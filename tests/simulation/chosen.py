"""What a seed sets in the product: limits that are reached, how often is looked, how long work goes on at once."""

import random
from typing import Any, Final

from engine.core.duplicates import DEFAULT_BOUNDS, Bounds

LIMITS: Final[dict[str, tuple[Any, ...]]] = {
    "engine.partition.MAX_INBOX": (3, 2000),
    "engine.partition.MAX_TURN_INPUTS": (2, 100),
    "engine.run_commands.MAX_BATCH": (1, 2, 100),
    "engine.runner.MAX_PORTION": (1, 50),
    "engine.slots.MIN_SWEPT": (0, 1000),
    "engine.triggers.evaluator.MAX_OF_TRIGGER": (2, 8),
    "engine.timers.MIN_SWEPT": (0, 1000),
    "engine.core.duplicates.MAX_UNKEYED": (0, 1000),
    "engine.core.instance.MAX_REQUESTS": (2, 3, 100),
    "engine.core.shard.MAX_WAITING": (2, 1000, 1000),
    "engine.snapshot_rounds.SNAPSHOT_EVENTS": (1, 10, 20_000),
    "engine.snapshot_rounds.BYTES_PER_SECOND": (5000, 50_000, 2**23),
    "engine.snapshot_rounds.FIRST_PAUSE_SECONDS": (0.1, 1.0),
    "engine.snapshot_rounds.MAX_PAUSE_SECONDS": (0.1, 60.0),
    "engine.snapshot_records.SLICE_ENTRIES": (1, 20, 500),
    "engine.core.shard.MAX_WAITING_BYTES": (10, 2**25, 2**25),
}
"""What limits are set to: small enough to be reached, or so large that they are not."""

RHYTHMS: Final[dict[str, tuple[Any, ...]]] = {
    "schemas.kafka.ports.HEARTBEAT_SECONDS": (0.5, 2.0, 2.0, 2.0, 2.0, 2.0),
    "schemas.kafka.table.TAKE_SECONDS": (10.0,),
    "schemas.kafka.table.RECONNECT_SECONDS": (1.0, 1.0, 8.0),
    "engine.command_feed.POLL_SECONDS": (1.0, 5.0, 5.0),
    "engine.command_feed.WATCH_SECONDS": (0.5, 3.0, 3.0, 3.0, 3.0, 3.0),
    "engine.triggers.listener.TAKE_SECONDS": (1.0, 5.0, 5.0),
}
"""How often is looked at what mostly has not changed. With what is right in real time, hours of virtual time would be
spent on nothing else."""

PAUSES: Final = {"engine.pauses.MAX_SLICE_SECONDS": (0.0, 1.0), "engine.pauses.PAUSE_SECONDS": (0.0, 0.0, 0.002)}
"""Long work pauses after each step or never, since it takes no virtual time; others run meanwhile, or for longer."""

BEGINS: Final = {"schemas.expressions.turns._steps_here": 0}
"""What a process counts from its start on. Else a seed would be another one behind others."""

BOUNDS: Final = (
    DEFAULT_BOUNDS,
    Bounds(max_ended=1, identity_seconds=3.0),
    Bounds(max_ended=3, max_identities=2, max_late_aborts=1),
)
"""How much engines remember of what is over: so little that it is forgotten, or so much that it is not."""


def chosen(rng: random.Random) -> dict[str, Any]:
    """What is set to what, by its name."""
    some = {name: rng.choice(values) for name, values in (*LIMITS.items(), *PAUSES.items(), *RHYTHMS.items())}
    some["projections.queries.retryable.MAX_REQUESTS"] = some["engine.core.instance.MAX_REQUESTS"]
    return {**BEGINS, **some}
