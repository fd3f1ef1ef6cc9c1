"""What everybody does who sends commands to engines: makes ids, appends, remembers what was sent with a key."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from schemas.commands import (
    Command,
    CreateTrigger,
    CreateWorkflow,
    ResumeActivity,
    RetryInstance,
    RunWorkflow,
    SendEvent,
)
from schemas.kafka import Place
from schemas.records import NewRecord, RecordCodec
from schemas.topics import COMMANDS, partition_of
from tests.simulation.checkers import Observer
from tests.simulation.topics import Topics

Append = Callable[[Place, NewRecord], None]
Keyed = RunWorkflow | SendEvent | ResumeActivity | RetryInstance | CreateWorkflow | CreateTrigger


@dataclass
class Sending:
    """Sends commands.

    Args:
        rng: decides all that is done.
        codec: makes the records.
        topics: where they are appended.
        observer: the read model that is looked at.
        append: appends a record to a partition.
    """

    rng: random.Random
    codec: RecordCodec
    topics: Topics
    observer: Observer
    append: Append
    runs: dict[str, RunWorkflow] = field(default_factory=dict, init=False)
    """Those that must start."""
    keyed: list[tuple[str, Keyed]] = field(default_factory=list, init=False)
    """What was sent with an `Idempotency-Key`."""

    def new_id(self) -> str:
        """An id that nobody has."""
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def partition(self, aggregate_id: str) -> int:
        """Where the commands of an aggregate go."""
        return partition_of(aggregate_id.encode(), self.topics.partitions)

    def send(self, aggregate_id: str, command: Command) -> None:
        """Append a command."""
        self.append(*self.record(aggregate_id, command))

    def record(self, aggregate_id: str, command: Command) -> tuple[Place, NewRecord]:
        """A command as a record, and where it goes."""
        return Place(COMMANDS, self.partition(aggregate_id)), self.codec.encode(aggregate_id, command, timestamp_ms=0)

    def send_keyed(self, aggregate_id: str, command: Keyed, is_keyed: bool) -> None:
        """Append a command, now and then twice if it has a key."""
        self.send(aggregate_id, command)
        if is_keyed:
            self.keyed.append((aggregate_id, command))
            if self.rng.random() < 0.3:
                self.send(aggregate_id, command)

    def request(self, instance_id: str, key: str) -> dict[str, Any]:
        """What tells a request to an instance that has not come before, and is not in the read model."""
        run = self.observer.outcomes[self.partition(instance_id)].runs.get(instance_id)
        return {"request_key": key, "request_digest": "digest", "seen_requests": 0 if run is None else run.count}
