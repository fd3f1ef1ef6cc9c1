"""Bulk operations pass over nobody, and retry nothing else than what they are about.

Who was there before an operation that aborts, and is still there behind it, was in one of its pages. It
is told from the log in the order in which all partitions were written, which no process knows.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from projections.states import ended_state
from schemas import events as ev

FOLLOWED: Final = frozenset({"workflowID", "running"})
"""Filters of operations that are followed: who runs is looked at here anyway."""


class BulkReach:
    """Follows the operations that abort, and those that retry what has come to certain ends."""

    def __init__(self) -> None:
        self.reviving: dict[str, list[str]] = {}
        """Operations that retry, by the states that they are about."""
        self._ends: dict[str, str | None] = {}
        """With which error instances have ended."""
        self._workflows: set[str] = set()
        self._starts: dict[str, ev.InstanceStarted] = {}
        self._missing: dict[str, set[str]] = {}
        """By operation, the instances that it has still to come to."""
        self.reached = 0
        """How many were in pages that had to be."""

    def fold(self, id: str, event: object, instances: Iterable[str]) -> None:
        """Take in an event that counts.

        Args:
            id: of its aggregate.
            event: of any kind.
            instances: those that have not ended.

        Raises:
            AssertionError: an operation has come to its end, and not to all instances; or retries another one.
        """
        match event:
            case ev.WorkflowCreated():
                self._workflows.add(id)
            case ev.InstanceStarted():
                self._starts[id] = event
            case ev.InstanceEnded():
                self._ends[id] = event.error
                for missing in self._missing.values():
                    missing.discard(id)
            case ev.BulkStarted() if event.action == "abort":
                self._missing[id] = {instance for instance in instances if self._is_meant(instance, event)}
            case ev.BulkStarted() if event.action == "retry":
                if states := msgspec.json.decode(event.filter).get("state"):
                    self.reviving[id] = states
            case ev.InstanceRetried() if event.bulk_id in self.reviving:
                end, asked = ended_state(self._ends[id]), self.reviving[event.bulk_id]
                assert end in asked, f"bulk operation {event.bulk_id} retries {asked}, and {id} was {end}"
            case ev.BulkAdvanced() if id in self._missing:
                self.reached += len(self._missing[id].intersection(event.instances))
                self._missing[id].difference_update(event.instances)
            case ev.BulkStopped():
                self._missing.pop(id, None)
            case ev.BulkEnded():
                missing = self._missing.pop(id, set())
                assert not missing, f"bulk operation {id} has passed over {sorted(missing)}"

    def _is_meant(self, instance_id: str, started: ev.BulkStarted) -> bool:
        """Whether an operation is about an instance. Those are left out that ask for other things.

        One of a workflow that nobody has made is in no list. One that was started by a clock that is ahead may be left
        out by the operation, if it was in no list yet when somebody asked for that.
        """
        start, asked = self._starts[instance_id], msgspec.json.decode(started.filter)
        is_listed = start.workflow_id in self._workflows and start.at < (started.begin_at or started.at)
        if not is_listed or not asked.keys() <= FOLLOWED:
            return False
        return "workflowID" not in asked or start.workflow_id in asked["workflowID"]
