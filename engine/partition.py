"""The owner of one partition: claims it, restores its state from the log, then works in turns.

Each turn takes what has come in (commands, ends of delays, results of calls), decides it, appends the events as one
batch and proves that the claim still held when they were appended. Only then are its effects started.

The proof: an acknowledged batch starts right behind the last record that the owner knows of, so nobody else has
written. If it starts later, the owner reads what lies between. Records of an older claim are harmless; a newer claim
means that another engine has taken over. If it starts earlier, the log has lost records that it had acknowledged. An
append whose outcome or place is unknown is not argued about: the owner drops everything and claims anew, and whatever
had reached the log before the new claim counts.

A call may start long after its turn: it is a retry, comes from a restore, or waited for others, and the process may
have stood still meanwhile. So right before it starts, its instance must still want it and the claim must have been
proven a moment ago. If it was not, a turn proves it first, by a record of its own if it has no other.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from engine.aggregates import DEFAULT_BOUNDS, Aggregates, Bounds
from engine.core.decisions import ActivityDone, Due
from engine.core.effects import CallActivity, Effect, GoOn, Token, Wake, bounded, effect
from engine.core.evaluation import Evaluated
from engine.core.retries import Failure
from engine.core.trigger import Pending, Requested
from engine.errors import AppendFailed, LogCut, Superseded
from engine.evaluations import Evaluations
from engine.metrics import Metrics
from engine.ports import ActivityCaller, Clock, CommandFeed, EventLog, MessageEvaluator
from engine.timers import Timers
from engine.turn import INTERNAL_FAULT, Turn, Unreadable
from schemas.epochs import EpochFilter, is_claim
from schemas.events import PartitionClaimed
from schemas.records import NewRecord, Record, RecordCodec, UndecodableRecord

logger = logging.getLogger(__name__)

MAX_INBOX = 2000
"""Commands that wait in memory; the feed is paused above. Unbounded, a slow log would fill the memory."""

MAX_INBOX_BYTES = 8 * 1024 * 1024
"""Likewise, their bytes: 2,000 commands with large workflows would be a gigabyte. As much as the largest command."""

MAX_TURN_INPUTS = 100
"""Inputs decided in one turn: more would hold up the event loop for all other partitions."""

MAX_TURN_BYTES = 1024 * 1024
"""A turn is closed above this size, so that its batch stays well under the topic's limit."""

MAX_REQUESTS = 100
"""Run commands of triggers in one batch; each may carry a definition of its own."""

RESEND_SECONDS = 0.5
"""Pause before run commands of triggers are sent again after a fault."""

MAX_UNPROVEN_SECONDS = 3.0
"""How old the latest proof of the claim may be when a call starts. Another engine takes a silent one's partitions over
after the session timeout, of which heartbeats may have used up a quarter: this is less than what is left of Kafka's
shortest session, 6 s. With less, a Kafka that takes its time for an append would keep calls from starting at all."""

MAX_SHOWN_KEY_BYTES = 100
"""What the rejection of a command that can't be decoded keeps of its key. With a large one the batch would not fit into
the log, and the turn would be tried for ever."""

MAX_STEP = timedelta(seconds=1)
"""When the clock was set back by more, timers are set anew: by those that were set before it was put right, an instance
would wait too long by as much."""

MAX_SLEEP_SECONDS = 60.0
"""The wall clock may be set; a timer is looked at again at least this often."""


class Partition:
    """One partition and its owner's state.

    Args:
        number: which partition.
        log: the event log.
        feed: hands the partition's commands to `feed_commands` once it has been opened.
        caller: calls the stack.
        evaluator: evaluates messages that need links.
        clock: the time.
        owner: name of this engine, written into the claim.
        codec: makes and reads records.
        metrics: what the engine counts.
        bounds: how much is remembered of what is over.
    """

    def __init__(
        self,
        number: int,
        *,
        log: EventLog,
        feed: CommandFeed,
        caller: ActivityCaller,
        evaluator: MessageEvaluator,
        clock: Clock,
        owner: str,
        codec: RecordCodec,
        metrics: Metrics,
        bounds: Bounds = DEFAULT_BOUNDS,
    ):
        self.number = number
        self.epoch = -1
        self.end = 0
        self.next_command = 0
        self.restored = False
        self._log, self._feed, self._caller, self._clock = log, feed, caller, clock
        self._owner, self._codec, self._metrics = owner, codec, metrics
        self._aggregates = Aggregates(bounds)
        self._commands: deque[Record] = deque()
        self._inputs: deque[tuple[str, Due | ActivityDone | Requested | Evaluated]] = deque()
        self._inbox_bytes = 0
        self._command_next = True
        self._requests: deque[tuple[str, Pending]] = deque()
        self._requesting: asyncio.Task[None] | None = None
        self._current: dict[str, Token] = {}
        self._timers = Timers(lambda instance_id, token: self._current.get(instance_id) == token)
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._evaluations = Evaluations(evaluator, clock, self._may_evaluate, self._evaluated)
        self._wakeup = asyncio.Event()
        self._held_at = -math.inf
        self._proof_wanted = False
        self._proven = asyncio.Event()
        self._log_begin = 0
        self._last_at: datetime | None = None
        self._clock_said: datetime | None = None
        self._paused = False
        self._stopping = False

    async def run(self) -> None:
        """Own the partition until `stop`.

        Raises:
            Superseded: another engine has claimed it.
            AppendFailed: the outcome of an append is unknown.
            LogCut: the log has lost acknowledged records.
            ReadFailed: the log could not be read.
            UndecodableRecord: the log holds an event that this build can't read.
            IllegalTransition: the log holds an event that does not follow.
        """
        try:
            await self._claim()
            await self._restore()
            await self._feed.open(self.number, self.next_command, expired=self._log_begin > 0)
            while not self._stopping:
                await self._wait()
                await self._turn()
        finally:
            await self._drop_calls()

    def stop(self) -> None:
        """Let the turn under way end, then return from `run`."""
        self._stopping = True
        self._wakeup.set()

    def feed_commands(self, records: Sequence[Record]) -> None:
        """Hand over commands in the order of the topic. Those known already are passed over."""
        for record in records:
            if record.offset >= self.next_command:
                self._commands.append(record)
                self._inbox_bytes += _size(record)
        if self._commands:
            self.next_command = self._commands[-1].offset + 1
        if not self._paused and self._is_full():
            self._paused = True
            self._feed.pause(self.number)
        self._wakeup.set()

    @property
    def instances(self) -> int:
        """How many instances are in memory."""
        return len(self._aggregates)

    @property
    def waiting(self) -> int:
        """How many messages wait for links."""
        return self._aggregates.waiting

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return len(self._timers)

    # Claim and restore

    async def _claim(self) -> None:
        now, begin = self._clock.now(), self._clock.monotonic()
        claim = self._codec.encode(
            "", PartitionClaimed(at=now, owner=self._owner), timestamp_ms=int(now.timestamp() * 1000)
        )
        self.epoch = await self._append_somewhere([claim])
        self.end, self._held_at = self.epoch + 1, begin

    async def _restore(self) -> None:
        admitted, next_command = EpochFilter(), 0
        self._log_begin = self.epoch
        async for records in self._log.read(self.number, 0, self.epoch):
            self._log_begin = min(self._log_begin, records[0].offset)
            for record in records:
                if not admitted.admits(record):
                    continue
                recorded = self._codec.decode_event(record)
                self._aggregates.restore(recorded)
                self._stamp(recorded.event.at)
                if recorded.cause is not None:
                    next_command = max(next_command, recorded.cause + 1)
        self._aggregates.settle()
        self.next_command = next_command
        self._start_all()
        self._request(self._aggregates.pending())
        for trigger in self._aggregates.triggers():
            self._evaluations.follow(trigger)
        self.restored = True
        logger.info(
            "partition restored",
            extra={"partition": self.number, "epoch": self.epoch, "instances": len(self._aggregates)},
        )

    # Turns

    async def _wait(self) -> None:
        """Until there is something to do."""
        while not (self._commands or self._inputs or self._proof_wanted or self._stopping):
            self._wakeup.clear()
            self._take_due()
            if self._inputs:
                return
            at = self._timers.next_at()
            seconds = MAX_SLEEP_SECONDS
            if at is not None:
                seconds = min(max((at - self._clock.now()).total_seconds(), 0.0), MAX_SLEEP_SECONDS)
            handle = asyncio.get_running_loop().call_later(seconds, self._wakeup.set)
            try:
                await self._wakeup.wait()
            finally:
                handle.cancel()

    def _take_due(self) -> None:
        now = self._clock.now()
        if self._clock_said is not None and self._clock_said - now > MAX_STEP:
            logger.warning("the clock was set back by %s", self._clock_said - now, extra={"partition": self.number})
            self._start_all()
        self._clock_said = now
        for instance_id, token in self._timers.due(now):
            if token.kind != "call":
                self._inputs.append((instance_id, Due(token)))
                continue
            pending = effect(self._aggregates.instance(instance_id))
            if isinstance(pending, CallActivity):
                self._call(instance_id, pending)

    async def _turn(self) -> None:
        self._take_due()
        clock = self._clock.now()
        turn = Turn(self._aggregates, self._codec, self.epoch, self._stamp(clock), clock)
        with self._metrics.turn_seconds.time():
            await self._decide(turn)
            if self._proof_wanted:
                turn.confirm()
            if turn.definitions:
                await self._log.define(turn.definitions, turn.timestamp_ms)
            effects = turn.effects()
            self._retract(effects)
            base = await self._append(turn.records) if turn.records else self.end
        turn.commit(base, self._calls.keys())
        for instance_id, pending in effects:
            self._start(instance_id, pending)
        self._request(turn.requests())
        for trigger in turn.triggers():
            self._evaluations.follow(trigger)
        self._metrics.events.inc(len(turn.records))
        if turn.next_command is not None:
            self._feed.done(self.number, turn.next_command)
        if self._paused and not self._is_full(half=True):
            self._paused = False
            self._feed.resume(self.number)

    def _is_full(self, *, half: bool = False) -> bool:
        """Whether enough commands wait, or half of that."""
        parts = 2 if half else 1
        return len(self._commands) > MAX_INBOX // parts or self._inbox_bytes > MAX_INBOX_BYTES // parts

    async def _decide(self, turn: Turn) -> None:
        """Decide inputs and commands, one of each in turn: neither of them waits until there are none of the other."""
        taken = 0
        while (self._inputs or self._commands) and taken < MAX_TURN_INPUTS and turn.size_bytes < MAX_TURN_BYTES:
            taken += 1
            is_command = bool(self._commands) and (self._command_next or not self._inputs)
            self._command_next = not is_command
            if not is_command:
                instance_id, given = self._inputs.popleft()
                if isinstance(given, ActivityDone):
                    self._calls.pop(instance_id, None)
                turn.input(instance_id, given)
                continue
            record = self._commands.popleft()
            self._inbox_bytes -= _size(record)
            try:
                aggregate_id, command = self._codec.decode_command(record)
            except UndecodableRecord as error:
                await self._log.bury(self.number, record, str(error))
                self._metrics.dead_commands.inc()
                logger.error(
                    "command can't be decoded: %s", error, extra={"partition": self.number, "offset": record.offset}
                )
                shown = (record.key or b"")[:MAX_SHOWN_KEY_BYTES].decode(errors="replace")
                turn.command(record.offset, shown, Unreadable(str(error)))
            else:
                turn.command(record.offset, aggregate_id, command)

    async def _append(self, records: Sequence[NewRecord]) -> int:
        """Append a turn's records and prove that the claim held."""
        begin = self._clock.monotonic()
        base = await self._append_somewhere(records)
        if base < self.end:
            raise LogCut(f"partition {self.number} ends at offset {base}, but had records up to {self.end}")
        if base > self.end:
            await self._prove(self.end, base)
        self.end = base + len(records)
        self._held_at, self._proof_wanted = begin, False
        self._proven.set()
        return base

    async def _append_somewhere(self, records: Sequence[NewRecord]) -> int:
        base = await self._log.append(self.number, records)
        if base < 0:  # a broker that has the batch already may not know where
            raise AppendFailed("the batch was acknowledged without its offset")
        return base

    async def _prove(self, start: int, stop: int) -> None:
        async for foreign in self._log.read(self.number, start, stop):
            for record in foreign:
                if is_claim(record):
                    raise Superseded(f"partition {self.number} was claimed at offset {record.offset}")
        logger.warning("records of an older claim came late", extra={"partition": self.number, "epoch": self.epoch})

    # Effects

    def _retract(self, effects: Sequence[tuple[str, Effect | None]]) -> None:
        """Let no call start any more that a turn does without, before its batch is sent.

        Others may read the batch, and answer an abort, before the owner has the acknowledgement.
        """
        for instance_id, pending in effects:
            current = self._current.get(instance_id)
            if current is not None and (pending is None or pending.token != current):
                del self._current[instance_id]

    def _start_all(self) -> None:
        """Start what every instance waits for, unless it is under way; set all timers by the present clock."""
        clock = self._clock.now()
        self._timers.clear()
        for instance in self._aggregates.instances():
            pending = bounded(effect(instance), instance, clock)
            if self._current.get(instance.id) is None:
                self._start(instance.id, pending)
            elif instance.id not in self._calls:
                self._set_timer(instance.id, pending)

    def _set_timer(self, instance_id: str, pending: Effect | None) -> None:
        match pending:
            case Wake():
                self._timers.set(pending.at, instance_id, pending.token)
            case CallActivity(not_before=datetime() as not_before):
                self._timers.set(not_before, instance_id, pending.token)

    def _start(self, instance_id: str, pending: Effect | None) -> None:
        """Start the effect of an instance's new state, if it is another one than before."""
        if pending is None:
            self._current.pop(instance_id, None)
            return
        if self._current.get(instance_id) == pending.token:
            return
        self._current[instance_id] = pending.token
        match pending:
            case GoOn():
                self._inputs.append((instance_id, Due(pending.token)))
            case CallActivity() if pending.not_before is None or pending.not_before <= self._clock.now():
                self._call(instance_id, pending)
            case _:
                self._set_timer(instance_id, pending)

    def _call(self, instance_id: str, pending: CallActivity) -> None:
        self._calls[instance_id] = asyncio.create_task(self._attempt(instance_id, pending))

    async def _attempt(self, instance_id: str, pending: CallActivity) -> None:
        try:
            result = await self._caller.call(pending, partial(self._may_start, instance_id, pending.token))
        except Exception:  # without a result the instance would wait for ever
            logger.exception("an attempt failed", extra={"instance": instance_id, "activity": pending.name})
            result = ActivityDone(pending.token, failure=Failure(INTERNAL_FAULT))
        if result is None:
            self._not_started(instance_id)
            return
        self._inputs.append((instance_id, result))
        self._wakeup.set()

    async def _may_start(self, instance_id: str, token: Token) -> bool:
        """Whether an instance still wants an attempt, once the claim is known to have held a moment ago."""
        await self._claim_held()
        return self._current.get(instance_id) == token

    async def _may_evaluate(self, trigger_id: str, occurrence_id: str, attempt: int) -> bool:
        """Whether a trigger still wants an attempt, once the claim is known to have held a moment ago."""
        await self._claim_held()
        trigger = self._aggregates.trigger(trigger_id)
        waiting = None if trigger is None else trigger.waiting.get(occurrence_id)
        return waiting is not None and waiting.attempt == attempt

    def _evaluated(self, trigger_id: str, result: Evaluated) -> None:
        self._inputs.append((trigger_id, result))
        self._wakeup.set()

    async def _claim_held(self) -> None:
        """Wait until the claim is known to have held a moment ago."""
        while self._clock.monotonic() - self._held_at > MAX_UNPROVEN_SECONDS:
            self._proven.clear()
            self._proof_wanted = True
            self._wakeup.set()
            await self._proven.wait()

    def _not_started(self, instance_id: str) -> None:
        """The instance ended before its call started, so no late result will come that it is kept for."""
        del self._calls[instance_id]
        instance = self._aggregates.instance(instance_id)
        if instance is not None and instance.ended:
            self._aggregates.forget_instance(instance, self.end - 1)

    def _request(self, requests: Sequence[tuple[str, Pending]]) -> None:
        """Send the run commands of triggers. One task sends them in order: their sequence tells repetitions apart."""
        self._requests.extend(requests)
        if self._requests and (self._requesting is None or self._requesting.done()):
            self._requesting = asyncio.create_task(self._send_requests())

    async def _send_requests(self) -> None:
        while self._requests:
            batch = list(islice(self._requests, MAX_REQUESTS))
            commands = [(request.instance_id, request.command(f"events/{self.number}")) for _, request in batch]
            try:
                await self._log.send(commands, int(self._clock.now().timestamp() * 1000))
            except Exception as error:
                # Whatever it is: a task that ends here would leave the instances of all later occurrences unstarted.
                logger.warning("run commands of triggers are sent again: %r", error, extra={"partition": self.number})
                await asyncio.sleep(RESEND_SECONDS)
                continue
            for trigger_id, request in batch:
                self._requests.popleft()
                self._inputs.append((trigger_id, Requested(request.occurrence_id)))
            self._wakeup.set()

    async def _drop_calls(self) -> None:
        calls = [*self._calls.values(), *self._evaluations.tasks]
        if self._requesting is not None:
            calls.append(self._requesting)
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls, timeout=1.0)

    def _stamp(self, at: datetime) -> datetime:
        """The time that an event carries: that of the clock, but never earlier than an earlier event's."""
        if self._last_at is None or at > self._last_at:
            self._last_at = at
        return self._last_at


def _size(record: Record) -> int:
    return len(record.key or b"") + len(record.value or b"")
