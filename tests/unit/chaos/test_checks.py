"""Every check of a campaign notices what it is for, on a small history that is right in all its parts."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.core.send import next_activity
from schemas import events as ev
from schemas.definition import Send, resolve_stage
from tests.chaos.answers import Answers, Probe, Request, Run
from tests.chaos.checks import CHECKS, findings
from tests.chaos.evidence import Evidence, View
from tests.chaos.falsify import FALSIFICATIONS, Falsification, unnoticed
from tests.chaos.faults import Mark
from tests.chaos.fold import Fold, LogRecord, Published
from tests.chaos.recovery import recoveries, works_again
from tests.simulation.history import History
from tests.simulation.money import Books

WORKFLOW, BANK = "workflow-1", "workflow-2"
AT = datetime(2026, 3, 1, tzinfo=UTC)
MARK = "m.1"
SEND = {
    "send": {
        "source": {"account": {"id": "world", "ledger": "default"}},
        "destination": {"account": {"id": "users:1", "ledger": "default"}},
        "amount": {"amount": 5, "asset": "EUR/2"},
        "metadata": {"mark": MARK},
    }
}


class World:
    """Writes a log of one partition, and what clients know of it."""

    def __init__(self) -> None:
        self.evidence = Evidence(Answers(), Fold(1), viewed=frozenset({WORKFLOW, BANK}), is_final=True)
        self._versions: dict[str, int] = {}
        self._epoch = -1

    @property
    def fold(self) -> Fold:
        return self.evidence.fold

    def claim(self) -> None:
        self._epoch = self.fold.events_end[0]
        self._append("", {"owner": "engine-1"}, {"type": "PartitionClaimed"})

    def decide(self, id: str, *events: tuple[str, dict[str, Any]], cause: bool = True) -> None:
        """Events that a command leads to, or nobody's."""
        number = self.fold.commands_end[0]
        if cause:
            self.fold.command(0, LogRecord(number, id, {}, {}))
        for kind, value in events:
            self._versions[id] = self._versions.get(id, 0) + 1
            headers = {"type": kind, "epoch": str(self._epoch), "version": str(self._versions[id])}
            self._append(id, value, {**headers, **({"cause": str(number)} if cause else {})})

    def _append(self, id: str, value: dict[str, Any], headers: dict[str, str]) -> None:
        self.fold.event(0, LogRecord(self.fold.events_end[0], id, value, headers))

    def start(self, run: Run, stages: int) -> None:
        assert run.id
        value = {"workflow_id": run.workflow, "stages": [{}] * stages, "variables": {"run": run.mark}}
        self.decide(run.id, ("InstanceStarted", value), ("StageStarted", {"number": 0}))
        run.acknowledged = True
        self.evidence.answers.runs.append(run)

    def end(self, run: Run, **error: str) -> None:
        assert run.id
        self.decide(run.id, ("StageEnded", {"number": 0, **error}), ("InstanceEnded", error), cause=False)


@pytest.fixture
def evidence() -> Evidence:
    world = World()
    world.claim()
    noop = Run("m.0", "noop", WORKFLOW, True, "noop-1")
    world.start(noop, 1)
    world.end(noop)
    waits = Run("m.2", "event", WORKFLOW, True, "event-1", events_sent=1, events_acknowledged=1)
    world.start(waits, 1)
    world.decide("event-1", ("EventReceived", {"payload": {"marker": "m.2/1"}}))
    world.end(waits)
    aborted = Run("m.3", "abort", WORKFLOW, True, "abort-1", abort_sent=True, abort_acknowledged=True)
    world.start(aborted, 1)
    world.end(aborted, error="canceled")
    retried = Run("m.4", "retry", WORKFLOW, True, "retry-1", abort_sent=True, abort_acknowledged=True)
    world.start(retried, 1)
    world.end(retried, error="canceled")
    world.decide("bulk-1", ("BulkStarted", {}))
    world.decide("bulk-1", ("BulkAdvanced", {"instances": ["retry-1"]}))
    again = {"stage": 0, "kept": [], "bulk_id": "bulk-1"}
    world.decide("retry-1", ("InstanceRetried", again), ("StageStarted", {"number": 0}))
    world.decide("bulk-1", ("BulkEnded", {}))
    world.decide("retry-1", ("EventReceived", {"payload": {"marker": "m.4/1"}}))
    world.end(retried)
    retried.retry_sent = retried.retry_acknowledged = True
    retried.events_sent = retried.events_acknowledged = 1
    paying = Run(MARK, "money", BANK, True, "money-1")
    world.start(paying, 1)
    world.decide("money-1", ("ActivityStarted", {}), ("ActivityEnded", {"stage": 0, "index": 0}), cause=False)
    world.end(paying)
    fired = Run("m.m1", "noop", WORKFLOW, False, "fired-1")
    world.start(fired, 1)
    world.end(fired)
    found = world.evidence
    found.answers.runs.pop()
    found.answers.messages = {"m.m1": True, "m.m2": False}
    found.fold.public = [list(found.fold.expected[0])]
    found.answers.requests.append(Request(0.0, 1.0, "run", "v1", 0, 201))
    found.histories, found.books = {"money-1": history()}, books()
    view = {id: View(instance.ended, instance.error) for id, instance in found.fold.instances.items()}
    found.views = {"postgres": view, "api-1 v1": dict(view), "api-2 v2": dict(view)}
    found.positions = {0: found.fold.events_end[0]}
    found.recovered = {"a fault": {0: 1.0}}
    return found


def history() -> History:
    """Of the instance that moves money."""
    history = History([SEND], {})
    resolved = resolve_stage(SEND, {})
    assert isinstance(resolved, Send)
    call = next_activity(resolved, [])
    assert call
    for event in (
        ev.StageStarted(at=AT, workflow_id=BANK, number=0, name="RunSend", input=resolved.shown()),
        ev.ActivityStarted(at=AT, stage=0, index=0, name=call.name, input=json.loads(json.dumps(call.input))),
        ev.ActivityEnded(at=AT, stage=0, index=0, attempt=1, output={"data": [{}]}),
        ev.StageEnded(at=AT, workflow_id=BANK, number=0),
        ev.InstanceEnded(at=AT, workflow_id=BANK),
    ):
        history.fold(event)
    return history


def books() -> Books:
    """Of a stack that has moved it."""
    books = Books()
    posting = {"source": "world", "destination": "users:1", "amount": 5, "asset": "EUR/2"}
    books.add_transaction("default", {"postings": [posting], "metadata": {"mark": MARK}})
    books.balances = {(("default", "world"), "EUR/2"): -5, (("default", "users:1"), "EUR/2"): 5}
    return books


def test_nothing_is_found_in_what_is_right(evidence: Evidence) -> None:
    assert findings(evidence) == []


@pytest.mark.parametrize("falsification", FALSIFICATIONS, ids=lambda falsification: falsification.what)
def test_a_falsified_finding_is_noticed(evidence: Evidence, falsification: Falsification) -> None:
    found = findings(falsification.apply(evidence))
    assert [text for text in found if text.startswith(f"{falsification.notices.__name__}: ")]
    assert findings(evidence) == [], "the evidence itself is not spoilt"


def test_every_check_has_a_falsification() -> None:
    assert {falsification.notices for falsification in FALSIFICATIONS} == set(CHECKS)


def test_a_check_that_is_blind_is_betrayed(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(unnoticed(evidence)) == []
    seeing = [check for check in CHECKS if check.__name__ != "money_moves_once"]
    monkeypatch.setattr("tests.chaos.checks.CHECKS", seeing)
    assert len(list(unnoticed(evidence))) == 3


# The fold


def event(fold: Fold, kind: str, value: dict[str, Any], headers: dict[str, int]) -> None:
    """Append an event, of the first claim if not told otherwise."""
    texts = {name: str(number) for name, number in {"epoch": 0, **headers}.items()}
    fold.event(0, LogRecord(fold.events_end[0], "i", value, {"type": kind, **texts}))


@pytest.fixture
def fold() -> Fold:
    fold = Fold(1)
    fold.event(0, LogRecord(0, "", {"owner": "engine-1"}, {"type": "PartitionClaimed"}))
    started = {"workflow_id": "w", "stages": [{}], "variables": {"run": "m"}}
    event(fold, "InstanceStarted", started, {"version": 1, "cause": 0})
    assert fold.broken == []
    return fold


def test_what_a_superseded_owner_writes_does_not_count(fold: Fold) -> None:
    fold.event(0, LogRecord(2, "", {"owner": "engine-2"}, {"type": "PartitionClaimed"}))
    event(fold, "InstanceEnded", {}, {"version": 2})
    assert (fold.stale, fold.instances["i"].ended, fold.broken) == (1, False, [])
    assert [published.type for published in fold.expected[0]] == ["STARTED_WORKFLOW"]


def test_what_is_published_of_an_event(fold: Fold) -> None:
    event(fold, "StageStarted", {"number": 0}, {"version": 2})
    event(fold, "StageEnded", {"number": 0, "error": "no"}, {"version": 3})
    event(fold, "InstanceEnded", {"error": "no"}, {"version": 4})
    assert fold.expected[0] == [
        Published("orchestration-0-1", "STARTED_WORKFLOW", "i"),
        Published("orchestration-0-2", "STARTED_WORKFLOW_STAGE", "i"),
        Published("orchestration-0-3", "FAILED_WORKFLOW_STAGE", "i"),
        Published("orchestration-0-4", "FAILED_WORKFLOW", "i"),
    ]
    assert fold.broken == []


@pytest.mark.parametrize(
    ("kind", "value", "headers", "rule"),
    [
        ("StageStarted", {"number": 0}, {"version": 3}, "version 3"),
        ("StageStarted", {"number": 1}, {"version": 2}, "stage 1"),
        ("StageEnded", {"number": 0}, {"version": 2}, "but None runs"),
        ("InstanceEnded", {}, {"version": 2}, "succeeds with 0 of 1"),
        ("InstanceStarted", {"workflow_id": "w", "stages": [], "variables": {}}, {"version": 2}, "started twice"),
        ("StageStarted", {"number": 0}, {"version": 2, "cause": 2}, "command 2 is decided behind 0"),
        ("CommandRejected", {"code": "FAULT"}, {"cause": 1}, "rejected as"),
        ("BulkAdvanced", {"instances": ["a", "b", "a"]}, {"version": 2}, "a is in two pages"),
    ],
)
def test_a_broken_rule_of_the_log_is_noted(
    fold: Fold, kind: str, value: dict[str, Any], headers: dict[str, int], rule: str
) -> None:
    event(fold, kind, value, headers)
    (broken,) = fold.broken
    assert rule in broken


def test_a_command_of_two_owners_is_noted(fold: Fold) -> None:
    fold.event(0, LogRecord(2, "", {"owner": "engine-2"}, {"type": "PartitionClaimed"}))
    event(fold, "CommandSkipped", {}, {"epoch": 2, "cause": 0})
    assert ["twice" in broken for broken in fold.broken] == [True]


def test_a_gap_is_noted(fold: Fold) -> None:
    fold.event(0, LogRecord(3, "i", {}, {"type": "ClaimConfirmed", "epoch": "0"}))
    fold.command(0, LogRecord(1, "i", {}, {}))
    assert fold.broken == ["events/0: a gap before 3", "commands/0: a gap before 1"]


# Recovery


def test_recovery_is_told_by_what_was_asked_since() -> None:
    probes = [
        Probe(0, 9.0, 11.0, True),  # asked before the fault
        Probe(0, 10.5, 12.0, False),
        Probe(0, 11.0, 14.0, True),
        Probe(0, 15.0, 15.5, True),
        *(Probe(partition, begin, begin + 0.5, True) for partition in (1, 2, 3) for begin in range(5, 40)),
    ]
    mark = Mark("a fault", frozenset({"engine-1"}), frozenset({0}), began=10.0, ended=13.0)
    (recovery,) = recoveries([mark], probes)
    assert (recovery.after_begin[0], recovery.after_end[0], recovery.healthy_gap) == (4.0, 2.5, 1.0)
    assert works_again(probes, 15.0)
    assert not works_again(probes, 16.0)
    (never,) = recoveries([mark], [probe for probe in probes if probe.partition])
    assert never.after_end[0] is None


def test_a_gap_that_others_explain_is_not_told() -> None:
    mark = Mark("a fault", frozenset({"engine-1"}), frozenset({0}), began=10.0, ended=13.0)
    other = Mark("another one", frozenset({"kafka-1"}), frozenset({1}), began=12.0, ended=13.0)
    assert [recovery.healthy_gap for recovery in recoveries([mark, other], [])] == [None, None]


def again(**more: Any) -> Run:
    return Run("", "retry", "", True, abort_sent=True, abort_acknowledged=True, retry_sent=True, **more)


@pytest.mark.parametrize(
    ("run", "must_end"),
    [
        (Run("", "noop", "", True), True),
        (Run("", "money", "", True), True),
        (Run("", "event", "", True), False),
        (Run("", "event", "", True, events_sent=1), None),
        (Run("", "event", "", True, events_sent=1, events_acknowledged=1), True),
        (Run("", "twice", "", True, events_sent=1, events_acknowledged=1), False),
        (Run("", "never", "", True, abort_sent=True), None),
        (Run("", "abort", "", True), False),
        (Run("", "abort", "", True, abort_sent=True), None),
        (Run("", "abort", "", True, abort_sent=True, abort_acknowledged=True), True),
        (again(), None),
        (again(retry_acknowledged=True), False),
        (again(retry_acknowledged=True, events_sent=1), None),
        (again(retry_acknowledged=True, events_sent=1, events_acknowledged=1), True),
    ],
)
def test_what_must_end(run: Run, must_end: bool | None) -> None:
    assert run.must_end is must_end
