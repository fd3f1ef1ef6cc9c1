"""What every kind of customer is made of."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.simulation.apis import SimulatedApi
from tests.simulation.customers.requests import Outcome, Requests


@dataclass
class Flow:
    """A workflow that a client has made."""

    id: str
    stages: Sequence[Any]
    deleted: bool = False
    """Whether its deletion was asked for."""


@dataclass
class Made:
    """What customers have made so far, as they were answered."""

    flows: list[Flow] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)


class Action(NamedTuple):
    """What customers do now and then."""

    weight: float
    """How often, in comparison with the other actions that are possible."""
    do: Callable[[], Awaitable[None]]
    possible: Callable[[], bool] = lambda: True
    """Whether it can be done by now."""


class Kind:
    """A kind of customer. What it finds wrong it raises as `AssertionError`.

    Args:
        requests: sends its requests.
        made: what all customers have made.
    """

    def __init__(self, requests: Requests, made: Made):
        self.requests, self.made = requests, made
        self.rng, self.answers, self.met = requests.rng, requests.answers, requests.met

    def actions(self) -> Sequence[Action]:
        """What this kind does now and then."""
        return ()

    async def sweep(self, api: SimulatedApi) -> None:
        """When all is quiet: a replica shows everything of this kind as the log has it."""

    def check(self) -> None:
        """At the end: the log holds what was answered, once each."""

    def any_instance(self) -> str:
        """One of the instances."""
        return self.rng.choice(self.made.instances)

    def is_gone(self, id: str, outcome: Outcome) -> bool:
        """Whether an instance was not found, and may be deleted."""
        gone = outcome.status == 404 and self.answers.may_be_gone(id, outcome.promised)
        self.met["an instance was not found any more"] += gone
        return gone

    def any_flow(self) -> Flow:
        """One of the workflows."""
        return self.rng.choice(self.made.flows)

    def has_flows(self) -> bool:
        """Whether there is a workflow."""
        return bool(self.made.flows)

    def has_instances(self) -> bool:
        """Whether there is an instance."""
        return bool(self.made.instances)

    def instance_target(self, id: str, what: str = "") -> Callable[[], str]:
        """What makes the path of an instance, or of something below it, on any surface."""
        flow_id = self.answers.known.instances[id].start.workflow_id
        paths = (f"/instances/{id}", f"/v2/instances/{id}", f"/flows/{flow_id}/runs/{id}")
        return lambda: self.rng.choice(paths) + (f"/{what}" if what else "")
