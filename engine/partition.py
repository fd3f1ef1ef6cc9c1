"""The owner of one partition: claims it, restores its state, then works in turns.

A takeover:

    look ──► claim ──► open the writer of snapshots ──► restore ──► effects ──► commands, turns

An owner looks first whether the log is the one that the newest snapshot knows (see `log_checks`). The writer comes
before the restore, so that nobody changes the snapshot any more that is read (see `snapshot_rounds`).

Each turn takes what has come in (commands, ends of delays, results of calls), decides it, appends the events as one
batch and proves that the claim still held when they were appended. Only then are its effects started.

The proof: an acknowledged batch starts right behind the last record that the owner knows of, so nobody else has
written. If it starts later, the owner reads what lies between: a newer claim means that another engine has taken over.
In these cases, and when the outcome of an append is unknown, the state may not be what the log says: the owner drops it
and claims again, and whatever had reached the log before the new claim counts. If the batch starts earlier, the log has
lost records that it had acknowledged. Then the owner says so in a claim, and nobody goes on before that is repaired.

A call may start long after its turn: it is a retry, comes from a restore, or waited for others, and the process may
have stood still meanwhile. So right before it starts, its instance must still want it and the claim must have been
proven a moment ago. If it was not, a turn proves it first, by a record of its own if it has no other.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from engine.core.shard import Input, Shard
from engine.errors import AppendFailed, Displaced, Superseded
from engine.log_checks import READER, Inspected, Known, inspect, known_by
from engine.pauses import Breather
from engine.ports import CommandFeed
from engine.restore import Restore
from engine.run_commands import RunCommands
from engine.runner import EffectRunner
from engine.shared import Shared
from engine.snapshot_rounds import LogTopics, SnapshotRounds
from engine.turn import Turn
from engine.workflow_finder import WorkflowFinder
from schemas.encryption_marks import KeyMissing
from schemas.epochs import is_claim
from schemas.events import PartitionClaimed
from schemas.fillers import is_filler
from schemas.log_integrity import LogFault, check_end, key_missing
from schemas.records import NewRecord, Record, UndecodableRecord
from schemas.topics import COMMANDS, partition_of

logger = logging.getLogger(__name__)

MAX_INBOX: Final = 2000
"""Commands that wait in memory; the feed is paused above. Unbounded, a slow log would fill the memory."""

MAX_INBOX_BYTES: Final = 8 * 1024 * 1024
"""Likewise, their bytes: 2,000 commands with large workflows would be a gigabyte. As much as the largest command."""

MAX_TURN_INPUTS: Final = 100
"""Inputs decided in one turn: more would hold up the event loop for all other partitions."""

MAX_TURN_BYTES: Final = 1024 * 1024
"""A turn is closed above this size, so that its batch stays well under the topic's limit."""

MAX_UNPROVEN_SECONDS: Final = 2.0
"""How old the latest proof of the claim may be when a call starts. When an engine is cut off while another one comes,
the group gives its partitions away after the rebalance timeout, less one pause between heartbeats: after 2.5 s at the
earliest, since Kafka's shortest session is 6 s. By then the one that is cut off must have stopped to start calls. With
less, a Kafka that takes its time for an append would keep calls from starting at all."""

MAX_SHOWN_KEY_BYTES: Final = 100
"""What the rejection of a command that can't be decoded keeps of its key. With a large one the batch would not fit into
the log, and the turn would be tried for ever."""

MAX_SLEEP_SECONDS: Final = 60.0
"""The wall clock may be set; a timer is looked at again at least this often."""


class Partition:
    """One partition and its owner's state.

    Args:
        number: which partition.
        shared: what it works with.
        feed: hands the partition's commands to `feed_commands` once it has been opened.
    """

    def __init__(self, number: int, shared: Shared, feed: CommandFeed):
        self.number = number
        self.epoch = -1
        self.end = 0
        self.next_command = 0
        self.restored = False
        self.in_turn = False
        """Whether the state may hold more than what is proven to be in the log."""
        self._shared, self._feed = shared, feed
        self._log, self._snapshots, self._clock = shared.log, shared.snapshots, shared.clock
        self._codec, self._metrics = shared.codec, shared.metrics
        self._shard = self._new_shard()
        self._wakeup = asyncio.Event()
        self._decided = 0
        """Behind the last command whose events are in the log."""
        self._commands: deque[Record] = deque()
        self._inputs: deque[tuple[str, Input]] = deque()
        self._inbox_bytes = 0
        self._command_next = True
        self._runner = self._new_runner(self._shard)
        self._rounds = SnapshotRounds(
            number,
            snapshots=shared.snapshots,
            clock=shared.clock,
            metrics=shared.metrics,
            seconds=shared.snapshot_seconds,
            writing=shared.writing_snapshot,
            wake=self._wakeup.set,
            ask_proof=self._ask_proof,
        )
        self._topics = LogTopics()
        self._held_at = -math.inf
        self._proof_wanted = False
        self._proven = asyncio.Event()
        self._paused = False
        self._stopping = False
        self._fault: LogFault | None = None
        self._unreadable: LogFault | None = None
        """Why the command that comes next can't be decided here."""

    async def run(self) -> None:
        """Own the partition until `stop`.

        Raises:
            Superseded: another engine has claimed it.
            Displaced: records of an older claim came between, so the state has to be restored.
            AppendFailed: the outcome of an append is unknown.
            LogFault: the log or `commands` has lost records, is another one, or can't be read by this build.
            ReadFailed: the log or the snapshots could not be read.
            SnapshotUnusable: no snapshot can be used, and the log has lost its oldest events.
            TooManySetAside: the log holds more events that don't follow than aggregates are to blame for.
        """
        try:
            known = known_by(await self._snapshots.last(self.number))
            # One that was added has no snapshot of its own.
            first = known or known_by(await self._snapshots.last(0)) or Known()
            inspected = await inspect(self.number, self._log, known, Breather(self._clock), first.partitions)
            await self._claim(inspected)
            await self._restore(inspected)
            await self._feed.open(self.number, self.next_command)
            while not self._stopping:
                await self._wait()
                await self._turn()
        finally:
            try:
                await self._runner.stop()
            finally:
                await self._rounds.stop()

    def stop(self) -> None:
        """Let the turn under way end, then return from `run`."""
        self._stopping = True
        self._wakeup.set()

    def let_go(self) -> None:
        """Give the state back once `run` has ended, so that there is memory for that of the next owner.

        Owner and effects refer to each other, so Python would find out late.
        """
        self._shard = self._new_shard()
        self._runner = self._new_runner(self._shard)

    def fail(self, fault: LogFault) -> None:
        """Have `run` raise what was found to be wrong with the partition's commands."""
        self._fault = fault
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
    def shard(self) -> Shard:
        """The state."""
        return self._shard

    @property
    def waiting(self) -> int:
        """How many commands wait in memory."""
        return len(self._commands)

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return self._runner.timers

    def _new_shard(self) -> Shard:
        return Shard(self._shared.bounds, self._shared.max_attempts)

    def _new_runner(self, shard: Shard) -> EffectRunner:
        return EffectRunner(
            self.number,
            shard,
            caller=self._shared.caller,
            slots=self._shared.slots,
            evaluator=self._shared.evaluator,
            run_commands=RunCommands(self.number, self._log, self._clock, self._give),
            finder=WorkflowFinder(self.number, self._shared.workflows, self._give),
            clock=self._clock,
            in_turn=lambda: self.in_turn,
            claim_held=self._claim_held,
            give=self._give,
        )

    def _give(self, key: str, given: Input) -> None:
        """Take what an effect has ended with."""
        self._inputs.append((key, given))
        self._wakeup.set()

    # Claim and restore

    async def _claim(self, inspected: Inspected) -> None:
        begin, state = self._clock.monotonic(), inspected.state
        self._topics = LogTopics(state.events_id, state.commands_id, state.partitions)
        self.epoch = await self._append_somewhere([self._claim_record(commands_end=state.commands.end)])
        self.end, self._held_at = self.epoch + 1, begin

    def _claim_record(self, *, commands_end: int = 0, events_end: int = 0) -> NewRecord:
        now = self._clock.now()
        claim = PartitionClaimed(
            at=now,
            owner=self._shared.owner,
            events_id=self._topics.events,
            commands_id=self._topics.commands,
            commands_end=commands_end,
            events_end=events_end,
        )
        return self._codec.encode("", claim, timestamp_ms=int(now.timestamp() * 1000))

    async def _restore(self, inspected: Inspected) -> None:
        fenced = await self._rounds.open()
        restored = await Restore(
            self.number,
            log=self._log,
            snapshots=self._snapshots,
            codec=self._codec,
            clock=self._clock,
            metrics=self._metrics,
            bounds=self._shared.bounds,
            max_attempts=self._shared.max_attempts,
        ).run(self.epoch, inspected)
        self._shard, self._runner = restored.shard, self._new_runner(restored.shard)
        self.next_command = self._decided = restored.next_command
        await self._runner.start_all()
        self._rounds.start(
            restored.shard,
            epoch=self.epoch,
            end=self.end,
            marker=restored.marker if fenced else None,
            snapshot_end=restored.snapshot_end,
            topics=self._topics,
        )
        self.restored = True
        self._metrics.log_faults.clear(READER, self.number)

    # Turns

    async def _wait(self) -> None:
        """Until there is something to do.

        Raises:
            LogFault: see `fail`.
        """
        while not (self._commands or self._inputs or self._proof_wanted or self._rounds.wants_turn or self._stopping):
            if self._fault is not None:
                raise self._fault
            self._wakeup.clear()
            self._runner.take_due()
            if self._inputs:
                return
            at = self._runner.next_at()
            seconds = MAX_SLEEP_SECONDS
            if at is not None:
                seconds = min(max((at - self._clock.now()).total_seconds(), 0.0), MAX_SLEEP_SECONDS)
            handle = asyncio.get_running_loop().call_later(seconds, self._wakeup.set)
            try:
                await self._wakeup.wait()
            finally:
                handle.cancel()

    async def _turn(self) -> None:
        self._runner.take_due()
        self.in_turn = True
        turn = Turn(self._shard, self._codec, self.epoch, self.end, self._clock.now())
        with self._metrics.turn_seconds.time():
            self._decide(turn)
            if self._proof_wanted:
                turn.confirm()
            if turn.dead:
                await self._bury(turn.dead)
            if turn.definitions:
                await self._log.define(turn.definitions, turn.timestamp_ms)
            self._runner.retract(turn.changed)
            if turn.records:
                await self._append(turn.records)
        self.in_turn = False
        self._runner.start(turn.changed)
        self._shard.settle()
        self._metrics.events.inc(len(turn.records))
        for code in turn.submissions:
            self._metrics.count_submission(code)
        if turn.next_command is not None:
            self._decided = turn.next_command
            self._feed.done(self.number, turn.next_command)
        self._rounds.after_turn(self.end, self._decided, self._held_at)
        if self._unreadable is not None:
            raise self._unreadable
        if self._paused and not self._is_full(half=True):
            self._paused = False
            self._feed.resume(self.number)

    def _is_full(self, *, half: bool = False) -> bool:
        """Whether enough commands wait, or half of that."""
        parts = 2 if half else 1
        return len(self._commands) > MAX_INBOX // parts or self._inbox_bytes > MAX_INBOX_BYTES // parts

    def _decide(self, turn: Turn) -> None:
        """Decide inputs and commands, one of each in turn: neither of them waits until there are none of the other."""
        taken = 0
        while (self._inputs or self._commands) and taken < MAX_TURN_INPUTS and turn.size_bytes < MAX_TURN_BYTES:
            taken += 1
            is_command = bool(self._commands) and (self._command_next or not self._inputs)
            self._command_next = not is_command
            if not is_command:
                turn.input(*self._inputs.popleft())
                continue
            record = self._commands.popleft()
            self._inbox_bytes -= _size(record)
            if is_filler(record):
                turn.skip(record.offset)
                continue
            try:
                key, command = self._codec.decode_command(record)
                self._check_place(key)
                turn.command(record.offset, key, command)
                self._metrics.commands.inc()
            except UndecodableRecord as error:
                shown = (record.key or b"")[:MAX_SHOWN_KEY_BYTES].decode(errors="replace")
                turn.refuse(record, shown, str(error))
            except KeyMissing as error:
                # Nothing behind it may be decided, and what was decided before it counts.
                self._unreadable = key_missing(COMMANDS, self.number, error)
                return

    def _check_place(self, key: str) -> None:
        """Check that a command is where all others to its instance are.

        Two with one id in two partitions would both start an instance.

        Raises:
            UndecodableRecord: it is in another partition. Clients of Kafka have more than one partitioner, and an API
                may be told another number of partitions.
        """
        partition = partition_of(key.encode(), self._topics.partitions)
        if partition != self.number:
            raise UndecodableRecord(
                f"it is in partition {self.number}, and its key belongs to {partition}: the producer has to choose one"
                f" of the first {self._topics.partitions} partitions by murmur2, as Java's clients do"
            )

    async def _bury(self, dead: Sequence[tuple[Record, str]]) -> None:
        """Keep commands that can't be decoded, all of a turn at once: one by one, others would wait for hours."""
        await self._log.bury(self.number, dead)
        self._metrics.dead_commands.inc(len(dead))
        for record, reason in dead:
            extra = {"partition": self.number, "offset": record.offset}
            logger.error("command can't be decoded: %s", reason, extra=extra)

    async def _append(self, records: Sequence[NewRecord]) -> None:
        """Append a turn's records and prove that the claim held."""
        begin = self._clock.monotonic()
        base = await self._append_somewhere(records)
        if base < self.end:
            await self._tell_cut()
            check_end(self.number, self.end, base)
        if base > self.end:
            await self._check_superseded()
            raise Displaced(f"records of an older claim came before offset {base} of partition {self.number}")
        self.end = base + len(records)
        self._held_at, self._proof_wanted = begin, False
        self._proven.set()

    async def _tell_cut(self) -> None:
        """Leave in the log where it ended. The newest snapshot may be older than what was lost."""
        try:
            await self._append_somewhere([self._claim_record(events_end=self.end)])
        except AppendFailed as error:
            logger.warning("that partition %d was cut could not be written: %s", self.number, error)

    async def _append_somewhere(self, records: Sequence[NewRecord]) -> int:
        base = await self._log.append(self.number, records)
        if base < 0:  # a broker that has the batch already may not know where
            raise AppendFailed("the batch was acknowledged without its offset")
        return base

    async def _check_superseded(self) -> None:
        """Look for a newer claim, also behind the batch: its owner would claim back what is claimed again here."""
        _, end = (await self._log.look(self.number)).events
        async for foreign in self._log.read(self.number, self.end, end):
            for record in foreign:
                if is_claim(record):
                    raise Superseded(f"partition {self.number} was claimed at offset {record.offset}")

    async def _claim_held(self) -> None:
        """Wait until the claim is known to have held a moment ago."""
        while self._clock.monotonic() - self._held_at > MAX_UNPROVEN_SECONDS:
            self._proven.clear()
            self._ask_proof()
            await self._proven.wait()

    def _ask_proof(self) -> None:
        """Have the next turn prove the claim, also when it has nothing to decide."""
        self._proof_wanted = True
        self._wakeup.set()


def _size(record: Record) -> int:
    return len(record.key or b"") + len(record.value or b"")
