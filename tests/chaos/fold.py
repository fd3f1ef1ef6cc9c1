"""The log folded without any code of the engine or the projections, and the rules that it must follow by itself.

It reads records as any consumer would, knows claims, epochs, causes and versions, and what each event means to the
instance it belongs to. What breaks a rule is noted in words; the fold goes on.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

PUBLISHED: Final = {
    "InstanceStarted": ("STARTED_WORKFLOW", "STARTED_WORKFLOW"),
    "InstanceEnded": ("SUCCEEDED_WORKFLOW", "FAILED_WORKFLOW"),
    "StageStarted": ("STARTED_WORKFLOW_STAGE", "STARTED_WORKFLOW_STAGE"),
    "StageEnded": ("SUCCEEDED_WORKFLOW_STAGE", "FAILED_WORKFLOW_STAGE"),
    "TriggerFired": ("SUCCEEDED_TRIGGER", "SUCCEEDED_TRIGGER"),
    "TriggerFailed": ("FAILED_TRIGGER", "FAILED_TRIGGER"),
}
"""As what an event is published, without and with an error."""
BESIDE: Final = ("CommandRejected", "CommandSkipped", "ClaimConfirmed")
"""Events that belong to no aggregate's history."""
FAULTS: Final = ("FAULT", "UNDECODABLE", "TOO_LARGE")
"""Rejections that no command of these clients can deserve."""
MAX_NOTES: Final = 200


class LogRecord(NamedTuple):
    """A record of a topic."""

    offset: int
    key: str
    value: dict[str, Any]
    headers: dict[str, str]


class Published(NamedTuple):
    """A public event, as far as the log decides it."""

    idempotency_key: str
    type: str
    key: str


@dataclass
class Instance:
    """An instance, as the log tells it."""

    id: str
    partition: int
    mark: str
    """What its client calls it."""
    workflow: str
    stages: int
    stage: int | None = None
    done: int = 0
    failed_stage: int | None = None
    """The last one, if it has failed."""
    ended: bool = False
    error: str | None = None
    last: str = "InstanceStarted"
    activities: set[tuple[int, int]] = field(default_factory=set)
    """Those that have ended."""


@dataclass
class Fold:
    """What three topics say.

    Args:
        partitions: how many each of them has.
        first_offsets: where `events` is read from, by partition; from the beginning if not given.
    """

    partitions: int
    first_offsets: Sequence[int] = ()
    broken: list[str] = field(default_factory=list)
    """Rules that were broken, in words."""
    instances: dict[str, Instance] = field(default_factory=dict)
    by_mark: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    received: Counter[str] = field(default_factory=Counter)
    """How often each event, known by its marker, was taken in."""
    reached: set[tuple[str, str]] = field(default_factory=set)
    """Bulk operations with the instances for which a command of theirs was decided, whatever came of it."""
    paged: set[tuple[str, str]] = field(default_factory=set)
    """Bulk operations with the instances of their pages."""
    rejected: Counter[str] = field(default_factory=Counter)
    stale: int = 0
    """Records of owners that had been superseded."""
    claims: int = 0

    def __post_init__(self) -> None:
        each = range(self.partitions)
        self.first_offsets = self.first_offsets or [0 for _ in each]
        self.events_end = list(self.first_offsets)
        self.commands_end = [0 for _ in each]
        self.cause = [-1 for _ in each]
        """The newest command that was decided, by partition."""
        self.owners = ["" for _ in each]
        self.expected: list[list[Published]] = [[] for _ in each]
        self.public: list[list[Published]] = [[] for _ in each]
        self._epoch = [-1 for _ in each]
        self._cause_epoch = [-1 for _ in each]
        self._versions: dict[str, int] = {}

    @property
    def undecided(self) -> int:
        """Commands without an outcome."""
        return sum(end - 1 - cause for end, cause in zip(self.commands_end, self.cause, strict=True))

    @property
    def unpublished(self) -> int:
        """Events that are not public yet."""
        return sum(map(len, self.expected)) - sum(map(len, self.public))

    def command(self, partition: int, record: LogRecord) -> None:
        """A record of `commands`."""
        if record.offset != self.commands_end[partition]:
            self._note(f"commands/{partition}: a gap before {record.offset}")
        self.commands_end[partition] = record.offset + 1

    def published(self, partition: int, record: LogRecord) -> None:
        """A record of the public topic, as consumers see it that read what is committed."""
        value = record.value
        if int(value["idempotency_key"].rpartition("-")[2]) < self.first_offsets[partition]:
            return
        self.public[partition].append(Published(value["idempotency_key"], value["type"], record.key))

    def event(self, partition: int, record: LogRecord) -> None:
        """A record of `events`."""
        if record.offset != self.events_end[partition]:
            self._note(f"events/{partition}: a gap before {record.offset}")
        self.events_end[partition] = record.offset + 1
        kind, headers, value = record.headers["type"], record.headers, record.value
        if kind == "PartitionClaimed":
            self._epoch[partition], self.owners[partition] = record.offset, value["owner"]
            self.claims += 1
            return
        epoch = int(headers.get("epoch", "-1"))
        if epoch != self._epoch[partition]:
            self.stale += 1
            return
        where = f"events/{partition}/{record.offset} {kind}"
        if "cause" in headers:
            self._decided(partition, int(headers["cause"]), epoch, where)
        if (operation := value.get("bulk_id")) is not None:
            self._reached(operation, record.key, where)
        if kind in BESIDE:
            if kind == "CommandRejected":
                self._rejection(value["code"], value, where)
            return
        version = int(headers["version"])
        if version != self._versions.get(record.key, 0) + 1:
            self._note(f"{where}: version {version} of {record.key} after {self._versions.get(record.key, 0)}")
        self._versions[record.key] = version
        if kind in PUBLISHED:
            type_ = PUBLISHED[kind][value.get("error") is not None]
            self.expected[partition].append(Published(f"orchestration-{partition}-{record.offset}", type_, record.key))
        if kind == "BulkAdvanced":
            self._paged(record.key, value["instances"], where)
        if not kind.startswith(("Bulk", "Workflow", "Trigger", "Evaluation", "InstanceRequested")):
            self._instance(partition, record.key, kind, value, where)

    def _decided(self, partition: int, cause: int, epoch: int, where: str) -> None:
        """Every command is decided once, in order."""
        last = self.cause[partition]
        if cause == last and epoch != self._cause_epoch[partition]:
            self._note(f"{where}: command {cause} is decided twice, by two owners")
        elif cause not in (last, last + 1):
            self._note(f"{where}: command {cause} is decided behind {last}")
        self.cause[partition], self._cause_epoch[partition] = max(cause, last), epoch

    def _reached(self, operation: str, id: str, where: str) -> None:
        """A bulk operation acts on each instance at most once."""
        if (operation, id) in self.reached:
            self._note(f"{where}: operation {operation} acts on {id} for the second time")
        self.reached.add((operation, id))

    def _paged(self, operation: str, ids: list[str], where: str) -> None:
        """Each instance is in one page of an operation at most."""
        for id in ids:
            if (operation, id) in self.paged:
                self._note(f"{where}: {id} is in two pages of operation {operation}")
            self.paged.add((operation, id))

    def _rejection(self, code: str, value: dict[str, Any], where: str) -> None:
        self.rejected[code] += 1
        if code in FAULTS:
            self._note(f"{where}: rejected as {value}")

    def _instance(self, partition: int, id: str, kind: str, value: dict[str, Any], where: str) -> None:
        known = self.instances.get(id)
        if kind == "InstanceStarted":
            if known is not None:
                self._note(f"{where}: {id} is started twice")
            mark = value["variables"].get("run", "")
            self.instances[id] = Instance(id, partition, mark, value["workflow_id"], len(value["stages"]))
            self.by_mark[mark].append(id)
        elif known is None:
            self._note(f"{where}: {id} was never started")
        else:
            if known.ended and kind not in ("LateResultRecorded", "InstanceRetried"):
                self._note(f"{where}: behind the end of {id}")
            known.last = kind
            self._evolve(known, kind, value, where)

    def _evolve(self, instance: Instance, kind: str, value: dict[str, Any], where: str) -> None:
        if kind == "StageStarted":
            if value["number"] != instance.done or instance.stage is not None:
                self._note(f"{where}: stage {value['number']} of {instance.id} behind {instance.done}")
            instance.stage = value["number"]
        elif kind == "StageEnded":
            if value["number"] != instance.stage:
                self._note(f"{where}: stage {value['number']} of {instance.id}, but {instance.stage} runs")
            instance.stage, instance.done = None, instance.done + 1
            instance.failed_stage = value["number"] if value.get("error") is not None else None
        elif kind == "EventReceived":
            self.received[value.get("payload", {}).get("marker", "")] += 1
        elif kind == "ActivityEnded":
            place = (value["stage"], value["index"])
            if place in instance.activities:
                self._note(f"{where}: activity {place} of {instance.id} ends twice")
            instance.activities.add(place)
        elif kind == "InstanceRetried":
            self._retried(instance, value, where)
        elif kind == "InstanceEnded":
            instance.ended, instance.error = True, value.get("error")
            if instance.error is None and instance.done != instance.stages:
                self._note(f"{where}: {instance.id} succeeds with {instance.done} of {instance.stages} stages")

    def _retried(self, instance: Instance, value: dict[str, Any], where: str) -> None:
        """It goes on with the stage that has failed, and with what was done there."""
        begins, kept = value.get("stage", 0), value.get("kept", ())
        if not instance.ended or instance.error is None:
            self._note(f"{where}: {instance.id} is retried, and has not failed")
        if begins != instance.done - (instance.failed_stage is not None):
            self._note(f"{where}: {instance.id} goes on with stage {begins} behind {instance.done}")
        instance.ended, instance.error, instance.stage, instance.failed_stage = False, None, None, None
        instance.done = begins
        earlier = {place for place in instance.activities if place[0] < begins}
        instance.activities = earlier | {(begins, index) for index in range(len(kept))}

    def _note(self, text: str) -> None:
        if len(self.broken) < MAX_NOTES:
            self.broken.append(text)


def log_record(record: Any) -> LogRecord:
    """A record as Kafka's client hands it out."""
    headers = {name: (value or b"").decode() for name, value in record.headers}
    return LogRecord(record.offset, (record.key or b"").decode(), json.loads(record.value or b"{}"), headers)
