"""The engine's turns and effects on one shard, as the owner of a partition has them (`engine.partition`).

What an owner does beside that has no place here: there is no log to append to, no claim to prove, and nobody else.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from engine.activities.attempts import service_of
from engine.core.effects import StartInstance
from engine.core.evaluation import Evaluated, Waiting
from engine.core.shard import Input, Shard
from engine.core.trigger import Trigger
from engine.ports import ActivityCaller, Clock, MayStart
from engine.run_commands import RunCommands
from engine.runner import EffectRunner
from engine.slots import CallSlots
from engine.turn import Turn
from engine.workflow_finder import WorkflowFinder
from schemas.commands import Command
from schemas.current import CurrentWorkflow
from schemas.records import Headers, RecordCodec
from schemas.settings import EngineSettings

PARTITION: Final = 0
EPOCH: Final = 0
"""Offset of the claim. Everything that is decided comes behind it."""


class Stored(Struct, frozen=True):
    """A record as it would stand in the log."""

    offset: int
    key: bytes
    value: bytes | None
    headers: Headers


class Owner:
    """Decides what comes in, and carries out effects.

    Args:
        caller: calls the stack.
        clock: the time.
        take: is handed every event, in the order of the log, as whoever reads the log has it.
        wake: is called when there is something to decide.
    """

    def __init__(self, caller: ActivityCaller, clock: Clock, take: Callable[[Any], None], wake: Callable[[], None]):
        self._clock, self._take, self._wake = clock, take, wake
        self._codec, self._shard = RecordCodec(), Shard()
        self._inputs: deque[tuple[str, Input]] = deque()
        self._commands: deque[Stored] = deque()
        self._commands_end, self._end = 0, EPOCH + 1
        self._is_in_turn = False
        self._runner = EffectRunner(
            PARTITION,
            self._shard,
            caller=caller,
            slots=CallSlots(EngineSettings().max_activities_in_flight, service_of),
            evaluator=_NoMessages(),
            run_commands=_NoTriggers(),
            finder=WorkflowFinder(PARTITION, _NoWorkflows(), self._give),
            clock=clock,
            in_turn=lambda: self._is_in_turn,
            claim_held=_held,
            give=self._give,
        )

    def send(self, key: str, command: Command) -> None:
        """Take a command, as a record like any other."""
        record = self._codec.encode(key, command, timestamp_ms=self._timestamp_ms())
        self._commands.append(Stored(self._commands_end, record.key, record.value, record.headers))
        self._commands_end += 1
        self._wake()

    def turn(self) -> bool:
        """Start what is due and decide what has come in; whether there was anything."""
        self._runner.take_due()
        if not self.has_work():
            return False
        turn = Turn(self._shard, self._codec, EPOCH, self._end, self._clock.now())
        self._is_in_turn = True
        while self.has_work():
            if self._inputs:
                turn.input(*self._inputs.popleft())
            if self._commands:
                record = self._commands.popleft()
                turn.command(record.offset, *self._codec.decode_command(record))
        self._runner.retract(turn.changed)
        self._is_in_turn = False
        self._runner.start(turn.changed)
        self._shard.settle()
        for made in turn.records:
            stored = Stored(self._end, made.key, made.value, made.headers)
            self._end += 1
            self._take(self._codec.decode_event(stored).event)
        return True

    def has_work(self) -> bool:
        """Whether something has come in that is not decided."""
        return bool(self._inputs or self._commands)

    def next_at(self) -> datetime | None:
        """When there is something to do next, unless something comes in; None if there is nothing."""
        return self._runner.next_at()

    def _give(self, key: str, given: Input) -> None:
        self._inputs.append((key, given))
        self._wake()

    def _timestamp_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


async def _held() -> None:
    """Nobody else claims the partition."""


class _NoMessages:
    """`engine.ports.MessageEvaluator` where no message comes."""

    async def evaluate(self, trigger: Trigger, waiting: Waiting, may_start: MayStart) -> Evaluated | None:
        raise NotImplementedError


class _NoTriggers(RunCommands):
    """Run commands where no trigger fires."""

    def __init__(self) -> None:
        self.task = None

    def add(self, effect: StartInstance) -> None:
        raise NotImplementedError


class _NoWorkflows:
    """`engine.ports.Workflows` where nobody submits runs."""

    async def catch_up(self) -> None:
        raise NotImplementedError

    def workflow(self, workflow_id: str) -> CurrentWorkflow | None:
        raise NotImplementedError
