"""The clients of a simulation: they run instances, send events and messages, and repeat themselves, honestly or not."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Raw
from msgspec.structs import asdict, replace

from engine.core.stages import MAX_STAGES_PER_DECISION
from schemas.commands import (
    AbortInstance,
    CreateTrigger,
    CreateWorkflow,
    DeleteTrigger,
    DeleteWorkflow,
    EvaluateTrigger,
    FireTrigger,
    ResumeActivity,
    RunWorkflow,
    SendEvent,
)
from schemas.kafka import Place
from schemas.kafka.memory import StoredRecord
from schemas.records import NewRecord
from schemas.topics import COMMANDS
from tests.definitions import definition
from tests.simulation.intake import Intake
from tests.simulation.producing import Transaction
from tests.simulation.retrying import Retrying
from tests.simulation.sending import Sending
from tests.simulation.sends import Sends
from tests.simulation.sources import Sources, payload

EVENT_NAMES = ["approved", "paid", "${who}"]
SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)
REPEATED = 0.3
"""How many commands of bulk operations come again."""
REPEATED_SECONDS = 5.0
"""How much later, at most."""
PACES = (10.0, 10.0, 1.5)
"""How many things they do a second: all at once at the beginning, or as long as there is trouble."""
LONG = (MAX_STAGES_PER_DECISION, 2 * MAX_STAGES_PER_DECISION)
"""Numbers of `noop` stages that one decision runs, and two, so that every kind of stage begins a turn of its own."""


@dataclass
class Clients(Sending):
    """Everybody who sends commands.

    Args:
        rng: see `Sending`, as all up to `append`.
        sends: makes their `send` stages.
        sources: topics of other services.
        queued: instances whose call has not started yet, which are aborted more often than others.
        calling: instances whose call is under way.
        append_in_transactions: appends each in a transaction of its own.
    """

    sends: Sends
    sources: Sources
    queued: Callable[[], Sequence[str]]
    calling: Callable[[], Sequence[str]]
    append_in_transactions: Callable[[Sequence[Transaction]], None]
    resumes: list[tuple[str, ResumeActivity]] = field(default_factory=list)
    """Those that were sent."""
    trigger: str | None = None
    idle_trigger: str = ""
    workflows: list[str] = field(default_factory=list)
    """What triggers and other services start."""
    messages: int = 0
    marks: int = 0

    def __post_init__(self) -> None:
        self.messages = self.rng.randrange(40)
        self.retrying = Retrying(self, self.calling)
        self.intake = Intake(self, self.workflows, self.append_in_transactions)

    async def run(self, count: int) -> None:
        """Do so many things."""
        pace = self.rng.choice(PACES)
        for _ in range(count):
            await asyncio.sleep(self.rng.expovariate(pace))
            if (queued := self.queued()) and self.rng.random() < 0.15:
                self.send(self.rng.choice(queued), AbortInstance())  # whose call must not begin any more
            chance = self.rng.random()
            if chance < 0.45 or not self.runs:
                self.start()
            elif chance < 0.665:
                self._send_event()
            elif chance < 0.69:
                await self.retrying.retry_what_is_called()
            elif chance < 0.7:
                await self.retrying.repeat_behind_a_retry()
            elif chance < 0.78:
                queued = self.queued() if self.rng.random() < 0.7 else ()
                self.send(self.rng.choice(queued or list(self.runs)), AbortInstance(by="bob"))
            elif chance < 0.785:
                self._resume_any()
            elif chance < 0.85:
                self.retrying.retry_any()
            elif chance < 0.86:
                self._garbage()
            elif chance < 0.867:
                await self.retrying.retry_what_fails_again()
            elif chance < 0.885:
                self._fire()
            elif chance < 0.905:
                self.publish()
            elif chance < 0.925:
                self._define()
            elif chance < 0.945:
                self.intake.submit()
            elif chance < 0.975:
                await self.intake.submit_new()
            elif self.keyed:
                self._repeat()

    def repeat(self, place: Place, records: Sequence[StoredRecord]) -> None:
        """Commands of bulk operations come again, as they do when whoever sends them is killed."""
        for record in records:
            if place.topic == COMMANDS and b'"bulk_id"' in (record.value or b"") and self.rng.random() < REPEATED:
                headers = [(name, value or b"") for name, value in record.headers]
                again = NewRecord(record.key or b"", record.value, headers, 0)
                seconds = self.rng.uniform(0.0, REPEATED_SECONDS)
                asyncio.get_running_loop().call_later(seconds, self.append, place, again, context=Context())

    def start(self, *first: dict[str, Any], long_chance: float = 0.02) -> None:
        """Run an instance, which begins with these stages."""
        instance_id = self.new_id()
        stages = [*first, *(self.stage() for _ in range(self.rng.randint(0, 3)))]
        if self.rng.random() < 0.1:
            stages += [{"wait_event": {"event": "approved"}}] * 2
        if self.rng.random() < long_chance:
            stages[:0] = [{"noop": {}}] * self.rng.choice(LONG)
        run = RunWorkflow(workflow_id=self.new_id(), stages=definition(stages), variables={"who": "ann"})
        if self.rng.random() < 0.3:
            run = replace(run, max_attempts=self.rng.choice((1, 1, 2, 3)))
        if self.rng.random() < 0.4:
            run = replace(run, request_digest=f"digest-{instance_id}", seen_offset=self._seen(instance_id))
        self.runs[instance_id] = run
        self.send_keyed(instance_id, run, run.request_digest is not None)

    def start_refused(self) -> None:
        """Run again what was answered with `RETRY`, as the API tells its clients to."""
        for instance_id, run in self.runs.items():
            if instance_id not in self.observer.instances and run.request_digest is not None:
                end = len(self.topics.events[self.partition(instance_id)])
                self.send(instance_id, replace(run, seen_offset=end))

    def _seen(self, instance_id: str) -> int:
        """How far the read model was when a client looked for an instance there and found none."""
        partition = self.partition(instance_id)
        end = self.observer.outcomes[partition].started_at.get(instance_id, len(self.topics.events[partition]))
        return self.rng.choice((end, end, self.rng.randint(0, end)))

    def _send_event(self) -> None:
        event, is_keyed = SendEvent(name=self.rng.choice(["approved", "paid", "else", "ann"])), self.rng.random() < 0.4
        key = self.new_id() if is_keyed else None
        instance_id = self.rng.choice(list(self.runs))
        if key is not None:
            event = replace(event, **self.request(instance_id, key))
        self.send_keyed(instance_id, event, is_keyed)
        if self.rng.random() < 0.2:
            self.send(instance_id, SendEvent(name=event.name))

    def resume(self, instance_id: str) -> None:
        """Resume what is paused, also twice at once and once more; some mean a pause that is over, or none at all."""
        instance = self.observer.instances[instance_id]
        if not instance.running or not instance.activities:
            return
        index = len(instance.activities) - 1
        paused_at = instance.activities[index].paused_at
        if paused_at is None:
            return
        earlier = [resume for id, resume in self.resumes if id == instance_id]
        if earlier and self.rng.random() < 0.5:
            self.send(instance_id, self.rng.choice(earlier))
        resume = ResumeActivity(stage=instance.stage, index=index, paused_at=paused_at, by="anna")
        is_keyed = self.rng.random() < 0.4
        if is_keyed:
            resume = replace(resume, **self.request(instance_id, self.new_id()))
        self.send_keyed(instance_id, resume, is_keyed)
        self.resumes.append((instance_id, resume))
        if self.rng.random() < 0.3:
            self.send(instance_id, replace(resume, request_key=None, request_digest=None))

    def _resume_any(self) -> None:
        """Resume something, whether it is paused or not."""
        instance_id = self.rng.choice(list(self.observer.instances) or list(self.runs))
        if self.resumes and self.rng.random() < 0.5:
            self.send(*self.rng.choice(self.resumes[-10:]))
        elif self.rng.random() < 0.3:
            wrong = ResumeActivity(stage=self.rng.randint(0, 2), index=self.rng.randint(0, 1), paused_at=SOME_TIME)
            self.send(instance_id, wrong)
        elif instance_id in self.observer.instances:
            self.resume(instance_id)

    def _repeat(self) -> None:
        """Who had no answer sends the same again; who is careless uses the key for something else."""
        aggregate_id, command = self.rng.choice(self.keyed[-20:])
        if isinstance(command, RunWorkflow):
            command = replace(command, seen_offset=self._seen(aggregate_id))
        if self.rng.random() < 0.4:
            command = replace(command, request_digest="another")
        self.send(aggregate_id, command)

    def _define(self) -> None:
        workflow_id = self.new_id()
        self.send_keyed(workflow_id, CreateWorkflow(name="", stages=[], request_digest="digest"), True)
        if self.rng.random() < 0.5:
            self.send(workflow_id, DeleteWorkflow())

    def _fire(self) -> None:
        """Messages for a trigger; who listens may deliver them again, with what follows them."""
        if self.trigger is None or self.rng.random() < 0.2:
            self.trigger = self.new_id()
            create = CreateTrigger(
                name="",
                event="X",
                workflow_id=self.rng.choice(self.workflows),
                filter="link(event, 'a').ok",
                vars={"owner": "link(event, 'b').name"},
                request_digest="digest",
            )
            self.send_keyed(self.trigger, create, True)
        first = self.messages + 1 if self.rng.random() < 0.5 else max(1, self.messages - 3)
        self.messages += self.rng.randint(1, 6)
        for offset in range(first, self.messages + 1):
            self.send(self.trigger, _message(self.trigger, offset))
        if self.rng.random() < 0.1:
            self.send(self.trigger, DeleteTrigger())

    def listen(self) -> None:
        """Have messages of other services start workflows."""
        noop: list[dict[str, Any]] = [{"noop": {}}]
        for stages in ([], noop, [*noop, {"wait_event": {"event": "approved"}}]):
            self.workflows.append(workflow_id := self.new_id())
            self.send_keyed(workflow_id, CreateWorkflow(name="", stages=stages, request_digest="digest"), True)
        for trigger in self.sources.triggers:
            create = CreateTrigger(
                name="",
                event=trigger.event,
                workflow_id=self.workflows[trigger.workflow],
                filter=trigger.filter,
                vars=trigger.vars,
                request_digest="d",
            )
            self.send_keyed(self.new_id(), create, True)
        self.idle_trigger = self.new_id()
        self.send(self.idle_trigger, CreateTrigger(name="", event="X", workflow_id=self.workflows[0]))
        self.fire_idle(1)

    def fire_idle(self, offset: int) -> None:
        """A message for a trigger that hears of nothing else. They all are the same to their producer."""
        message = FireTrigger(
            occurrence_id=str(uuid5(UUID(self.idle_trigger), f"idle/{offset}")),
            event=Raw(msgspec.json.encode({"type": "X", "payload": payload(offset)})),
            source="idle/0",
            offset=offset,
            identity="the same",
            stages=Raw(b"[]"),
        )
        self.send(self.idle_trigger, message)

    def publish(self) -> None:
        """Messages of other services."""
        for place, record in self.sources.messages():
            self.append(place, record)

    def stage(self, mark: str = "m") -> dict[str, Any]:
        """Any stage. Its mark, if it has one, begins like this, and nothing else has it."""
        kind = self.rng.randrange(7)
        if kind == 0:
            return {"delay": {"duration": f"{self.rng.randint(0, 20_000)}ms"}}
        if kind == 1:
            return {"wait_event": {"event": self.rng.choice(EVENT_NAMES)}}
        if kind == 2:
            return {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
        if kind in (3, 4, 5):
            self.marks += 1
            return self.sends.stage(f"{mark}{self.marks}")
        return {"noop": {}}

    def _garbage(self) -> None:
        place = Place(COMMANDS, self.rng.randrange(self.topics.partitions))
        self.append(place, NewRecord(b"k", b"{not json", [("type", b"RunWorkflow")], 0))


def _message(trigger_id: str, offset: int) -> FireTrigger | EvaluateTrigger:
    """The message at an offset, the same each time; some are about what the one before was about, or are the same."""
    rng = random.Random(f"{trigger_id}/{offset}")
    message = EvaluateTrigger(
        occurrence_id=str(uuid5(UUID(trigger_id), f"topic/0/{offset}")),
        event=Raw(msgspec.json.encode({"type": "X", "payload": payload(offset)})),
        source="topic/0",
        offset=offset,
        once_key=f"payment-{offset // 3}" if rng.random() < 0.6 else None,
        identity=f"k{offset // 2}" if rng.random() < 0.4 else None,
        stages=Raw(b"[]"),
    )
    return FireTrigger(**asdict(message)) if rng.random() < 0.5 else message
