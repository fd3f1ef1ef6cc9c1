"""Histories of a partition: a shard with the log that its decisions make, and random inputs for it."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Raw

from engine.core.decisions import ActivityDone, Due
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds
from engine.core.effects import Token
from engine.core.errors import Rejected
from engine.core.evaluation import Evaluated
from engine.core.shard import Input, Shard
from engine.core.trigger import Requested
from schemas import events as ev
from schemas import rejections
from schemas.commands import (
    AbortInstance,
    CreateTrigger,
    CreateWorkflow,
    DeleteTrigger,
    DeleteWorkflow,
    EvaluateTrigger,
    FireTrigger,
    RunWorkflow,
    SendEvent,
)
from tests.definitions import definition
from tests.retryable import retry_of

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WAIT: dict[str, Any] = {"wait_event": {"event": "go"}}
UPDATE: dict[str, Any] = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
DELAY: dict[str, Any] = {"delay": {"duration": "60s"}}
CALL = Token("call", 0, 0, 1)

STAGES: Sequence[list[dict[str, Any]]] = (
    [WAIT],
    [UPDATE],
    [DELAY],
    [UPDATE, WAIT, DELAY],
    [{"noop": {}}] * 101,
    [],
)
TIGHT = Bounds(max_ended=3, max_identities=2)
"""So little is remembered that most of it is forgotten soon."""


class Live:
    """A shard with the log that its decisions make."""

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS):
        self.bounds = bounds
        self.shard = Shard(bounds)
        self.log: list[tuple[str, ev.Event]] = []

    def give(self, key: str, given: Input, now: datetime = NOW) -> list[str]:
        """Decide an input and replay its events; their types.

        Raises:
            Rejected: as `Shard.decide`. Of a keyed abort that came too late, the rejection is in the log.
        """
        try:
            events = self.shard.decide(key, given, now).events
        except Rejected as rejected:
            if isinstance(given, AbortInstance) and rejected.code == rejections.ENDED:
                self._add(key, late_abort(given, rejected, self.shard.stamp(now)))
            raise
        for event in events:
            self._add(key, event)
        return [type(event).__name__ for event in events]

    def _add(self, key: str, event: ev.Event) -> None:
        self.shard.replay(key, [event], len(self.log))
        self.log.append((key, event))

    def give_any(self, rng: random.Random, step: int) -> None:
        """Decide a random input, and now and then settle."""
        key, given = any_input(rng, step)
        if rng.random() < 0.05 and any(id == key and isinstance(event, ev.InstanceStarted) for id, event in self.log):
            given = retry_of(self.log, key)
        try:
            self.give(key, given, NOW + SECOND * rng.randrange(-5, step + 1))
        except Rejected:
            return
        if rng.random() < 0.2:
            self.shard.settle()

    def restored(self) -> Shard:
        """A shard that has read the log."""
        return restored(self.log, self.bounds)


def late_abort(command: AbortInstance, rejected: Rejected, at: datetime) -> ev.CommandRejected:
    """The rejection of an abort whose instance has ended, as a turn writes it."""
    request: dict[str, Any] = {"request_key": command.request_key, "request_digest": command.request_digest}
    return ev.CommandRejected(at=at, code=rejected.code, message=rejected.message, **request)


def restored(log: Sequence[tuple[str, ev.Event]], bounds: Bounds = DEFAULT_BOUNDS) -> Shard:
    """A shard that has read a log."""
    shard = Shard(bounds)
    replay(shard, log, 0)
    return shard


def replay(shard: Shard, log: Sequence[tuple[str, ev.Event]], start: int) -> None:
    """Let a shard read a log from an offset on."""
    for offset, (key, event) in enumerate(log[start:], start):
        shard.replay(key, [event], offset)
        if offset % 7 == 0:
            shard.settle()


def run(*stages: dict[str, Any], **fields: Any) -> RunWorkflow:
    """A run command."""
    return RunWorkflow(workflow_id="w", stages=definition(stages), variables={}, **fields)


def occurrence(number: int) -> str:
    """An id of an occurrence."""
    return str(UUID(int=number + 1000))


def any_input(rng: random.Random, step: int) -> tuple[str, Input]:
    """One of the inputs that a partition gets, for one of a few aggregates."""
    id, trigger = f"i{rng.randrange(30)}", rng.choice("ttttu")
    message: dict[str, Any] = {"occurrence_id": occurrence(step), "event": Raw(b"{}"), "source": "x/0", "offset": step}
    about: dict[str, Any] = {"once_key": f"P:{step % 5}" if step % 2 else None, "identity": f"k{step % 9}"}
    given: list[tuple[str, Input]] = [
        (id, run(*rng.choice(STAGES), request_digest=rng.choice((None, "a")), seen_offset=2**62)),
        (id, run(*rng.choice(STAGES), source="events/0", sequence=step)),
        (id, SendEvent(name="go", request_key=f"k{step % 3}", request_digest="a")),
        (id, AbortInstance()),
        (id, AbortInstance(request_key=f"a{step % 3}", request_digest="a", seen_requests=2**62)),
        (id, Due(Token("wake", rng.randrange(3)))),
        (id, Due(Token("go_on", 100))),
        (id, ActivityDone(CALL, output={"n": step})),
        (trigger, FireTrigger(**message, **about, stages=Raw(b"[]"))),
        (trigger, FireTrigger(**message, **about, stages=definition(rng.choice(STAGES)))),
        (trigger, EvaluateTrigger(**message, **about, stages=Raw(b"[]"))),
        (trigger, Evaluated(occurrence(step - rng.randrange(15)), 1, matches=step % 2 == 0)),
        (trigger, Evaluated(occurrence(step - rng.randrange(15)), 1, may_pass=True)),
        (trigger, Requested(occurrence(step - rng.randrange(15)))),
        (trigger, CreateTrigger(name="", event="X", workflow_id="w")),
        ("w", CreateWorkflow(name="", stages=[])),
    ]
    rare: list[tuple[str, Input]] = [("u", DeleteTrigger()), ("w", DeleteWorkflow())]
    return rng.choice(rare if rng.random() < 0.01 else given)
