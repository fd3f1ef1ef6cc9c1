"""Public events: those of the log that are published, each once, in the order of their partition, with its position."""

from typing import Any

import msgspec

from schemas import events as ev
from schemas.definition.instants import format_instant
from schemas.kafka import Place
from schemas.kafka.memory import MemoryCluster
from schemas.records import Recorded
from tests.simulation.reading import LogReader

NAMES: dict[type[Any], tuple[str, str]] = {
    ev.InstanceStarted: ("STARTED_WORKFLOW", ""),
    ev.InstanceEnded: ("SUCCEEDED_WORKFLOW", "FAILED_WORKFLOW"),
    ev.StageStarted: ("STARTED_WORKFLOW_STAGE", ""),
    ev.StageEnded: ("SUCCEEDED_WORKFLOW_STAGE", "FAILED_WORKFLOW_STAGE"),
    ev.TriggerFired: ("SUCCEEDED_TRIGGER", ""),
    ev.TriggerFailed: ("", "FAILED_TRIGGER"),
    ev.SubmissionRejected: ("", "REJECTED_SUBMISSION"),
}
"""What an event is called in public, without an error and with one."""


class PublicTopicChecker:
    """Holds the public topic against the log.

    Args:
        cluster: where both are.
        log: reads the log.
        topic: name of the public topic.
    """

    def __init__(self, cluster: MemoryCluster, log: LogReader, topic: str):
        self._cluster, self._log, self._topic = cluster, log, topic
        self._next = [0] * log.partitions
        """Index of the next event of each partition, among those that count."""
        self._offsets = [0] * log.partitions
        """How far each partition of the public topic was looked at."""

    def check(self) -> None:
        """What was published since this was called last is what comes next in the log.

        Raises:
            AssertionError: it is not.
        """
        self._log.read()
        for partition in range(self._log.partitions):
            log = self._cluster.log(Place(self._topic, partition))
            start = self._offsets[partition]
            if log.limits(committed_only=True).end <= start:
                continue
            for batch in log.batches(start, committed_only=True):
                if not batch.aborted:
                    for record in batch.records:
                        self._check(partition, record.key, record.value)
                self._offsets[partition] = batch.end

    def _check(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        wanted = self._following(partition)
        shown = msgspec.json.decode(value or b"null")
        assert wanted is not None, f"partition {partition}: published, but not in the log: {shown}"
        place = f"orchestration-{partition}-{wanted.offset}"
        assert shown["idempotency_key"] == place, f"{shown['idempotency_key']} is published, where {place} comes next"
        error = getattr(wanted.event, "error", None)
        assert shown["type"] == NAMES[type(wanted.event)][error is not None], f"{place}: {shown['type']}"
        assert shown["date"] == format_instant(wanted.event.at), place
        assert shown["payload"].get("error") == error, place
        assert key == wanted.aggregate_id.encode(), f"{place} has the key {key!r}"
        self._next[partition] += 1

    def _following(self, partition: int) -> Recorded | None:
        """The next event that has to be published."""
        admitted = self._log.admitted[partition]
        while self._next[partition] < len(admitted):
            recorded = admitted[self._next[partition]].recorded
            if recorded is not None and type(recorded.event) in NAMES:
                return recorded
            self._next[partition] += 1
        return None

    @property
    def behind(self) -> list[int]:
        """Partitions with events that have still to be published."""
        self._log.read()
        return [partition for partition in range(self._log.partitions) if self._following(partition) is not None]
