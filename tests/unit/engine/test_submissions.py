"""Submissions at the owner of a partition: they wait for definitions, and nobody else waits for them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec import Raw
from msgspec.structs import replace

from engine.core import submissions
from engine.core.duplicates import Bounds
from engine.core.errors import Rejected
from engine.core.shard import Shard
from engine.core.submissions import Resolved
from schemas import events as ev
from schemas import rejections
from schemas.commands import Command, RunWorkflow, Submission, SubmitAbort, SubmitEvent, SubmitRun
from schemas.current import CurrentWorkflow
from schemas.events import SubmissionRejected
from schemas.kafka import KafkaFault
from schemas.records import RecordCodec
from schemas.topics import partition_of
from tests.definitions import definition
from tests.ports.log import Log
from tests.simulation.loop import START, simulate
from tests.unit.engine.test_partition import Owner

CODEC = RecordCodec()
WORKFLOW = str(UUID(int=1))
WAIT: dict[str, Any] = {"wait_event": {"event": "approved"}}
RUN = SubmitRun(workflow_id=WORKFLOW, variables={"a": "b"}, by="shop")
EVENT = SubmitEvent(name="approved", idempotency_key="k-1")
FOUND = CurrentWorkflow(stages=Raw(b'[{"wait_event":{"event":"approved"}}]'), max_attempts=3)


def made(milliseconds: int = 0) -> str:
    """An id that was made so long after the beginning."""
    return str(UUID(int=int(START.timestamp() * 1000) + milliseconds << 80 | 7 << 76 | 2 << 62))


async def give(owner: Owner, key: str, *commands: Command) -> None:
    """Have commands decided."""
    for command in commands:
        owner.log.append_command(0, CODEC.encode(key, command, timestamp_ms=0))
    owner.partition.feed_commands(owner.log.commands[0][owner.commands :])
    owner.commands = len(owner.log.commands[0])
    await asyncio.sleep(0.1)


def happened(log: Log, key: str) -> list[Any]:
    """What is in the log of an instance."""
    decoded = [CODEC.decode_event(record) for record in log.events[0]]
    return [one.event for one in decoded if one.aggregate_id == key]


def names(log: Log, key: str) -> list[str]:
    return [type(event).__name__ for event in happened(log, key)]


def test_a_run_waits_for_its_definition_and_nobody_else_does() -> None:
    async def scenario() -> None:
        owner = Owner()
        owner.workflows.read.clear()
        await asyncio.sleep(0.1)
        await give(owner, made(), RUN, EVENT)
        await give(owner, made(1), RunWorkflow(workflow_id=WORKFLOW, stages=definition([WAIT]), variables={}))
        assert names(owner.log, made()) == ["SubmissionHeld", "SubmissionHeld"]
        assert names(owner.log, made(1)) == ["InstanceStarted", "StageStarted"]
        assert owner.partition.shard.held == 2
        owner.workflows.known[WORKFLOW] = FOUND
        owner.workflows.read.set()
        await asyncio.sleep(0.1)
        _, _, released, started, _, again, received, *_ = happened(owner.log, made())
        assert {type(released), type(again)} == {ev.SubmissionReleased}
        assert (started.stages, started.variables, started.max_attempts) == (FOUND.stages, {"a": "b"}, 3)
        assert (started.by, received.name) == ("shop", "approved")
        assert names(owner.log, made())[-1] == "InstanceEnded"
        assert owner.partition.shard.held == 0

    simulate(scenario())


def test_what_is_held_goes_on_under_the_next_owner() -> None:
    async def scenario() -> None:
        owner = Owner()
        owner.workflows.read.clear()
        await asyncio.sleep(0.1)
        await give(owner, made(), RUN, RUN, EVENT)
        owner.partition.stop()
        await owner.task
        following = Owner(owner.log)
        following.workflows.known[WORKFLOW] = FOUND
        await asyncio.sleep(0.2)
        happens = names(owner.log, made())
        assert [happens.count(name) for name in ("SubmissionReleased", "InstanceStarted", "InstanceEnded")] == [3, 1, 1]

    simulate(scenario())


def test_a_fault_of_definitions_is_met_by_patience(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        owner, faults = Owner(), [KafkaFault("away"), RuntimeError("a defect")]
        read = owner.workflows.catch_up

        async def fail() -> None:
            if faults:
                raise faults.pop()
            await read()

        owner.workflows.catch_up = fail  # type: ignore[method-assign]
        owner.workflows.known[WORKFLOW] = FOUND
        await asyncio.sleep(0.1)
        await give(owner, made(), RUN)
        assert names(owner.log, made()) == ["SubmissionHeld"]
        await asyncio.sleep(1.5)
        assert "InstanceStarted" in names(owner.log, made())

    simulate(scenario())
    assert "submissions wait for topic definitions: KafkaFault('away')" in caplog.text


@pytest.mark.parametrize(
    "command", [RUN, RunWorkflow(workflow_id=WORKFLOW, stages=definition([WAIT]), variables={})], ids=["other", "api"]
)
def test_one_in_another_partition_is_a_dead_letter(command: Submission | RunWorkflow) -> None:
    async def scenario() -> None:
        owner = Owner(Log(2))
        await asyncio.sleep(0.1)
        key = next(made(number) for number in range(100) if partition_of(made(number).encode(), 2) == 1)
        await give(owner, key, command)
        (reason,) = [reason for *_, reason in owner.log.dead]
        assert reason.startswith("it is in partition 0, and its key belongs to 1: the producer has to choose")
        assert not {"SubmissionHeld", "InstanceStarted"} & {*names(owner.log, key)}

    simulate(scenario())


# Decisions


class Live:
    """A shard at work."""

    def __init__(self, bounds: Bounds | None = None):
        self.shard, self.log, self.now = Shard(bounds or Bounds()), list[Any](), START

    def submit(self, key: str, command: Submission, workflow: CurrentWorkflow | None = FOUND) -> str:
        """Decide one, and at once what is held; the code of its rejection, or what came of it."""
        try:
            decision = self.shard.decide(key, command, self.now)
            self._replay(key, decision.events)
            if decision.events and isinstance(decision.events[0], ev.SubmissionHeld):
                held = self.shard.first_held(key)
                assert held is not None
                try:
                    decision = self.shard.decide(key, Resolved(held.offset, workflow), self.now)
                finally:
                    self._replay(key, [ev.SubmissionReleased(at=self.now)])
                self._replay(key, decision.events)
        except Rejected as rejected:
            return rejected.code
        return "decided" if decision.events else "skipped"

    def _replay(self, key: str, events: Sequence[Any]) -> None:
        for event in events:
            self.shard.replay(key, [event], len(self.log))
            self.log.append(event)


def test_a_run_is_known_by_its_id_until_it_is_too_old() -> None:
    live = Live(Bounds(max_ended=2))
    assert live.submit(made(), RUN) == "decided"
    assert live.submit(made(), RUN) == "skipped"
    assert live.submit(made(), SubmitRun(workflow_id=WORKFLOW)) == rejections.CONFLICT
    assert live.submit(made(), EVENT) == "decided"
    assert live.submit(made(), RUN) == "skipped"
    for number in (3, 4):
        assert live.submit(made(number), RUN) == "decided"
        assert live.submit(made(number), EVENT) == "decided"
    assert live.submit(made(), RUN) == rejections.TOO_OLD
    assert live.submit(made(1), RUN) == "decided", "it is younger than all that is forgotten"
    assert live.submit(made(-1), RUN) == rejections.TOO_OLD
    assert live.submit(made(3), RUN) == "skipped"


def test_an_id_has_to_say_when_it_was_made() -> None:
    live = Live()
    assert live.submit(str(UUID(int=4 << 76)), RUN) == rejections.WRONG_ID
    ahead = submissions.MAX_AHEAD // timedelta(milliseconds=1)
    assert live.submit(made(ahead + 1), RUN) == rejections.WRONG_ID
    assert live.submit(made(ahead), RUN) == "decided"


def test_a_run_is_not_refused_because_the_clock_of_the_engine_is_behind() -> None:
    """Its sender would be told that the id was made in the future, and the order would be lost."""
    live = Live()
    assert live.submit(made(), RUN) == "decided"
    live.now -= 2 * submissions.MAX_AHEAD
    assert live.submit(made(1), RUN) == "decided"


def test_the_id_of_a_workflow_is_not_that_of_an_instance() -> None:
    """Who takes it for each run would have all of them taken for repetitions of the first."""
    live = Live()
    live.shard.replay(made(), [ev.WorkflowCreated(at=START, name="", stages=[])], 0)
    assert live.submit(made(), RUN) == rejections.WRONG_ID
    assert live.submit(made(1), RUN) == "decided"


def test_without_a_workflow_a_run_can_be_sent_again() -> None:
    live = Live()
    assert live.submit(made(), RUN, None) == rejections.NO_WORKFLOW
    assert live.submit(made(), RUN) == "decided"


def test_an_event_is_known_by_its_key_until_the_instance_has_forgotten() -> None:
    live = Live()
    never = CurrentWorkflow(stages=Raw(b'[{"wait_event":{"event":"never"}}]'))
    assert live.submit(made(), RUN, never) == "decided"
    assert live.submit(made(), EVENT) == "decided"
    assert live.submit(made(), EVENT) == "skipped"
    assert live.submit(made(), SubmitEvent(name="other", idempotency_key="k-1")) == rejections.CONFLICT
    for number in range(100):
        assert live.submit(made(), SubmitEvent(name="more", idempotency_key=f"more-{number}")) == "decided"
    assert live.submit(made(), EVENT) == rejections.TOO_OLD
    assert live.submit(made(), SubmitEvent(name="more", idempotency_key="more-99")) == "skipped"
    assert live.submit(made(1), EVENT) == rejections.ENDED
    assert live.submit(made(1), SubmitAbort(idempotency_key="k")) == rejections.ENDED


def test_a_field_name_of_the_payload_tells_two_events_apart() -> None:
    given = [
        SubmitEvent(name="approved", payload=payload, idempotency_key="k-1")
        for payload in ({"name": "alice"}, {"name": "bob"}, {}, {"payload": {"name": "alice"}})
    ]
    digests = {submissions.as_request(made(), one).request_digest for one in given}
    assert len(digests) == 4
    same = SubmitEvent(name="approved", payload={"name": "alice"}, idempotency_key="k-1", by="another")
    assert submissions.as_request(made(), same) == replace(submissions.as_request(made(), given[0]), by="another")


def test_who_and_why_show_as_no_other_text() -> None:
    given: dict[str, Any] = {"by": "shop\u202e", "reason": "a\nb\u2066"}
    run = submissions.as_run(SubmitRun(workflow_id=WORKFLOW, **given), FOUND)
    event = submissions.as_request(made(), SubmitEvent(name="e", idempotency_key="k", **given))
    abort = submissions.as_request(made(), SubmitAbort(idempotency_key="k", **given))
    assert {(one.by, one.reason) for one in (run, event, abort)} == {(r"shop\u202e", r"a\nb\u2066")}


def test_what_waits_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "MAX_HELD_BYTES", 300)
    shard = Shard()
    for number in range(2):
        (event,) = shard.decide(made(number), RUN, START).events
        shard.replay(made(number), [event], number)
    with pytest.raises(Rejected, match="2 submissions wait until topic definitions can be read"):
        shard.decide(made(2), RUN, START)
    assert shard.held == 2
    shard.set_aside(made(), "boom")
    assert shard.held == 1
    assert len(shard.decide(made(2), RUN, START).events) == 1


def test_the_rejection_of_one_that_was_held_is_told() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        await give(owner, made(), RUN, EVENT)
        rejected = [event for event in happened(owner.log, made()) if isinstance(event, SubmissionRejected)]
        assert [(one.code, one.type, one.idempotency_key) for one in rejected] == [
            ("NO_WORKFLOW", "SubmitRun", None),
            ("ENDED", "SubmitEvent", "k-1"),
        ]

    simulate(scenario())
