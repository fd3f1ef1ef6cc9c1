"""Workloads that reach the limits. They are expensive, so a seed has one of them now and then."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from engine.partition import MAX_TURN_BYTES
from schemas.commands import RunWorkflow, SendEvent
from schemas.records import Record
from tests.definitions import definition
from tests.simulation.clients import Clients
from tests.simulation.history import History

SHARE: Final = 0.15
"""How many seeds have one."""
MANY_STAGES: Final = 300
DEEP_STAGES: Final = 25
"""Each waits for an event and is followed by a call, so the history of its instance has hundreds of events."""
LARGE: Final = MAX_TURN_BYTES // 3 + 1
"""Bytes of a variable: three runs fill a turn."""
LARGE_RUNS: Final = 12
FLOOD: Final = 120
"""Events that come to an instance at once, more than the inbox of most seeds takes."""
KEYED: Final = 15
"""Events with a key, each of which comes three times."""
LIMITS: Final = {
    "large runs": {"engine.partition.MAX_TURN_INPUTS": 100},
    "many keyed events": {"engine.core.instance.MAX_REQUESTS": 5, "projections.queries.retryable.MAX_REQUESTS": 5},
}
"""By workload: turns of two commands are never full; an instance forgets some of its requests."""


class Limits:
    """The workload of a seed.

    Args:
        rng: decides which, if any.
        clients: by whom it is sent.
    """

    def __init__(self, rng: random.Random, clients: Clients):
        self._rng, self._clients = rng, clients
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "many stages": self._many_stages,
            "large runs": self._full_turns,
            "an instance was flooded": self._flood,
            "many keyed events": self._keyed,
            "a deep history": self._deep_history,
        }
        self._kind = rng.choice(list(kinds)) if rng.random() < SHARE else ""
        self._do = kinds.get(self._kind)
        self.limits = LIMITS.get(self._kind, {})
        """What limits have to be set to."""
        self.met: Counter[str] = Counter()

    def appended(self, records: Sequence[Record]) -> None:
        """A turn's events stand in the log."""
        self.met["a turn was full"] += sum(len(record.value or b"") for record in records) >= MAX_TURN_BYTES

    def ended(self, histories: Iterable[History]) -> None:
        """Everything has ended."""
        for history in histories:
            self.met["300 stages"] += history.error is None and len(history.stages) == MANY_STAGES

    async def run(self) -> None:
        """Send it, amid all that goes wrong."""
        if self._do is not None:
            await asyncio.sleep(self._rng.uniform(1.0, 10.0))
            await self._do()
            self.met[self._kind] += 1

    async def _many_stages(self) -> None:
        noops: list[dict[str, Any]] = [{"noop": {}}] * (MANY_STAGES - 3)
        self._start([*noops, self._clients.stage("long"), {"delay": {"duration": "1s"}}, {"noop": {}}])

    async def _full_turns(self) -> None:
        partition = self._rng.randrange(self._clients.topics.partitions)
        for _ in range(LARGE_RUNS):
            self._start([{"noop": {}}, {"wait_event": {"event": "approved"}}], {"large": "x" * LARGE}, partition)

    async def _flood(self) -> None:
        instance_id = self._start([{"wait_event": {"event": "approved"}}] * 3)
        for number in range(FLOOD):
            self._clients.send(instance_id, SendEvent(name="approved" if number % 40 == 39 else "else"))
            if number % 30 == 29:
                await asyncio.sleep(self._rng.uniform(0.0, 2.0))

    async def _keyed(self) -> None:
        instance_id = self._start([{"wait_event": {"event": "approved"}}] * KEYED)
        events = [
            SendEvent(name="approved", request_key=self._clients.new_id(), request_digest="digest", seen_requests=0)
            for _ in range(KEYED)
        ]
        for event in self._rng.sample(events * 3, 3 * KEYED):
            self._clients.send(instance_id, event)
            await asyncio.sleep(self._rng.uniform(0.0, 0.5))
        self._clients.send(instance_id, replace(events[0], request_digest="another"))

    async def _deep_history(self) -> None:
        update = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
        stages: list[dict[str, Any]] = [{"wait_event": {"event": "approved"}}, update] * DEEP_STAGES
        instance_id = self._start(stages)
        for _ in range(DEEP_STAGES):
            await asyncio.sleep(self._rng.uniform(0.0, 3.0))
            self._clients.send(instance_id, SendEvent(name="approved"))

    def _start(
        self, stages: list[dict[str, Any]], variables: dict[str, str] | None = None, partition: int | None = None
    ) -> str:
        """Run an instance with these stages, in a partition if one is given; its id."""
        instance_id = self._clients.new_id()
        while partition not in (None, self._clients.partition(instance_id)):
            instance_id = self._clients.new_id()
        run = RunWorkflow(
            workflow_id=self._clients.new_id(),
            stages=definition(stages),
            variables={"who": "ann", **(variables or {})},
        )
        self._clients.runs[instance_id] = run
        self._clients.send(instance_id, run)
        return instance_id
