"""One turn of a partition: inputs are decided one after another, and their events become one batch of records.

Each decision is encoded and replayed at once, so the next one sees it. Until the batch is proven to be in the log, no
effect of it starts; if it can't be proven, the state is thrown away with its owner.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from engine.core.bulk import PAGE_COMMANDS
from engine.core.errors import Rejected
from engine.core.shard import Decision, Input, Shard
from engine.core.submissions import Resolved
from engine.errors import DecisionTooLarge
from schemas import rejections
from schemas.commands import AbortInstance, Command, Submission, SubmitRun
from schemas.current import Current, CurrentTrigger, CurrentWorkflow
from schemas.error_texts import INTERNAL_FAULT, cut_error
from schemas.events import (
    ClaimConfirmed,
    CommandRejected,
    CommandSkipped,
    Event,
    SubmissionEvent,
    SubmissionHeld,
    SubmissionRejected,
    SubmissionReleased,
    TriggerCreated,
    TriggerDeleted,
    WorkflowCreated,
    WorkflowDeleted,
)
from schemas.records import NewRecord, Record, RecordCodec, UndecodableRecord

logger = logging.getLogger(__name__)

MAX_DECISION_BYTES: Final = 4 * 1024 * 1024
"""Most bytes of the events of one decision. Two such decisions fit into what the topic takes as one batch."""

RECORD_OVERHEAD_BYTES: Final = 200
"""Room for key, headers and framing of a record, counted beside its value."""

Unversioned = CommandRejected | CommandSkipped | ClaimConfirmed | SubmissionEvent
"""Events that are outcomes, and none of an aggregate's versions."""

DEFINING: Final = (WorkflowCreated, WorkflowDeleted, TriggerCreated, TriggerDeleted)
"""Events that change what topic `definitions` says."""


class Turn:
    """Decides inputs on a partition's state.

    Args:
        shard: the state.
        codec: makes the records.
        epoch: the owner's claim, written into every record.
        end: the offset that the first record of the batch will get.
        now: what the clock says.
    """

    def __init__(self, shard: Shard, codec: RecordCodec, epoch: int, end: int, now: datetime):
        self._shard, self._codec, self._epoch, self._end, self._now = shard, codec, epoch, end, now
        self.timestamp_ms = int(self._at.timestamp() * 1000)
        self.records: list[NewRecord] = []
        self.size_bytes = 0
        self.next_command: int | None = None
        """Behind the last command that was decided; None before the first."""
        self.changed: dict[str, None] = {}
        """Subjects whose effect may be another one after this turn, in the order of their last events: run commands of
        triggers have to be in the order of the log."""
        self.submissions: list[str | None] = []
        """Of each submission that was decided, the code of its rejection; None if it was not rejected."""
        self.definitions: list[Current] = []
        """What engines that listen for triggers have to know, before the events that make it so."""
        self.dead: list[tuple[Record, str]] = []
        """Commands that can't be decoded, and why: to be kept before the events that reject them."""

    @property
    def _at(self) -> datetime:
        """The time of what comes next. Events of this turn may be later than the clock says (see `decisions.TICK`)."""
        return self._shard.stamp(self._now)

    def command(self, offset: int, key: str, command: Command) -> None:
        """Decide a command. It leaves at least one record with its offset as cause, whatever happens.

        Raises:
            UndecodableRecord: it carries what can't be decoded; nothing was changed. See `refuse`.
        """
        self.next_command = offset + 1
        try:
            decision = self._shard.decide(key, command, self._now)
            if decision.events and isinstance(decision.events[0], SubmissionHeld):
                self._outcome(key, decision.events[0], offset)
                return
            if not self._take(key, decision, offset):
                self._outcome(key, CommandSkipped(at=self._at), offset)
            if isinstance(command, Submission):
                self.submissions.append(None)
        except Rejected as rejected:
            self._reject(offset, key, rejected.code, rejected.message, command)
        except UndecodableRecord:
            raise
        except DecisionTooLarge as error:
            self._fail_command(offset, key, command, rejections.TOO_LARGE, str(error))
        except Exception:
            # A bug in the decision about one aggregate must not stop all others of the partition.
            logger.exception("deciding a command failed", extra={"offset": offset, "aggregate": key})
            self._fail_command(offset, key, command, rejections.FAULT, INTERNAL_FAULT)

    def skip(self, offset: int) -> None:
        """Pass over a filler. It leaves a record like any command, which says how far the commands are decided."""
        self.next_command = offset + 1
        self._outcome("", CommandSkipped(at=self._at), offset)

    def refuse(self, command: Record, key: str, reason: str) -> None:
        """Reject a command that can't be decoded."""
        self.next_command = command.offset + 1
        self.dead.append((command, reason))
        self.size_bytes += len(command.value or b"")
        self._reject(command.offset, key, rejections.UNDECODABLE, cut_error(f"the command can't be decoded: {reason}"))

    def input(self, key: str, given: Input) -> None:
        """Decide about what an effect has ended with: what is due, an answer, a run command that was sent."""
        if isinstance(given, Resolved):
            self._release(key, given)
            return
        try:
            self._take(key, self._shard.decide(key, given, self._now), None)
        except DecisionTooLarge as error:
            self._fail_input(key, given, str(error))
        except Exception:
            logger.exception("deciding an input failed", extra={"aggregate": key, "input": type(given).__name__})
            self._fail_input(key, given, INTERNAL_FAULT)

    def _release(self, key: str, given: Resolved) -> None:
        """Decide a submission that was held, unless that was done before."""
        held = self._shard.first_held(key)
        if held is None or held.offset != given.offset:
            return
        refusal: tuple[str, str] | None = None
        try:
            decision = self._shard.decide(key, given, self._now)
        except Exception as error:
            refusal = _refusal(key, error)
        self._outcome(key, SubmissionReleased(at=self._at), None)
        if refusal is None:
            try:
                self._take(key, decision, None)
            except Exception as error:
                refusal = _refusal(key, error)
        if refusal is None:
            self.submissions.append(None)
        else:
            self._reject(None, key, *refusal, held.submission)

    def confirm(self) -> None:
        """Have the batch prove the claim, also when nothing was decided."""
        if not self.records:
            self._outcome("", ClaimConfirmed(at=self._at), None)

    def _fail_command(self, offset: int, key: str, command: Command, code: str, message: str) -> None:
        """Leave something that failed, or tell the sender."""
        if not self._fail(key, command, message, offset, bare=False):
            self._reject(offset, key, code, message, command)

    def _fail_input(self, key: str, given: Input, error: str) -> None:
        """Let what waits for the input end: it does not come again."""
        if not self._fail(key, given, error, None, bare=False):
            self._fail(key, given, error, None, bare=True)

    def _fail(self, key: str, given: Input, error: str, cause: int | None, *, bare: bool) -> bool:
        """Whether there was something to leave as failed."""
        try:
            return self._take(key, self._shard.fail(key, given, self._now, error, bare=bare), cause)
        except Exception:
            logger.exception("what failed could not be recorded", extra={"aggregate": key})
            return False

    def _take(self, key: str, decision: Decision, cause: int | None) -> bool:
        """Add a decision to the batch and to the state, or to neither; whether it has events.

        Raises:
            DecisionTooLarge: its records would not fit.
            IllegalTransition: its events do not follow from the state, by a defect of ours.
            UndecodableRecord: it has a definition that can't be decoded.
        """
        version, events = decision
        if not events:
            return False
        records = self._codec.encode_decision(
            key,
            events,
            timestamp_ms=self.timestamp_ms,
            first_version=version + 1,
            cause=cause,
            epoch=self._epoch,
        )
        size = sum(len(record.value or b"") for record in records) + RECORD_OVERHEAD_BYTES * len(records)
        if size > MAX_DECISION_BYTES:
            raise DecisionTooLarge(f"the events of one decision take {size} bytes; at most {MAX_DECISION_BYTES} fit")
        definitions = [current(key, event, version + 1) for event in events if isinstance(event, DEFINING)]
        changed = self._shard.replay(key, events, self._end + len(self.records))
        self._note_changed(changed)
        self.definitions += definitions
        self.records += records
        self.size_bytes += size
        return True

    def _reject(self, offset: int | None, key: str, code: str, message: str, command: Command | None = None) -> None:
        if isinstance(command, Submission):
            self._reject_submission(offset, key, code, message, command)
            return
        rejected = CommandRejected(at=self._at, code=code, message=message)
        if isinstance(command, PAGE_COMMANDS) and command.bulk_id is not None:
            rejected = replace(rejected, bulk_id=command.bulk_id, bulk_page=command.bulk_page)
        elif isinstance(command, AbortInstance) and code == rejections.ENDED:
            # Its sender has what it wants, and is told so. That is an answer, and a repetition gets the same.
            rejected = replace(rejected, request_key=command.request_key, request_digest=command.request_digest)
        self._outcome(key, rejected, offset)

    def _reject_submission(self, offset: int | None, key: str, code: str, error: str, command: Submission) -> None:
        self.submissions.append(code)
        logger.warning("a submission is rejected: %s", error, extra={"aggregate": key, "code": code})
        rejected = SubmissionRejected(
            at=self._at,
            code=code,
            error=error,
            type=type(command).__name__,
            idempotency_key=None if isinstance(command, SubmitRun) else command.idempotency_key,
        )
        self._outcome(key, rejected, offset)

    def _outcome(self, key: str, outcome: Unversioned, cause: int | None) -> None:
        """Add an outcome, see `Unversioned`."""
        record = self._codec.encode(key, outcome, timestamp_ms=self.timestamp_ms, cause=cause, epoch=self._epoch)
        self._note_changed(self._shard.replay(key, (outcome,), self._end + len(self.records)))
        self.records.append(record)
        self.size_bytes += len(record.value or b"") + RECORD_OVERHEAD_BYTES

    def _note_changed(self, changed: Sequence[str]) -> None:
        for subject in changed:
            self.changed.pop(subject, None)
            self.changed[subject] = None


def _refusal(key: str, error: Exception) -> tuple[str, str]:
    """Why a submission is rejected that led to an error: the code, and the text."""
    match error:
        case Rejected():
            return error.code, error.message
        case DecisionTooLarge():
            return rejections.TOO_LARGE, str(error)
        case _:
            logger.error("deciding a submission failed", exc_info=error, extra={"aggregate": key})
            return rejections.FAULT, INTERNAL_FAULT


def current(key: str, event: Event, version: int) -> Current:
    """What topic `definitions` says after one of the events that change it."""
    match event:
        case WorkflowCreated():
            stages = Raw(msgspec.json.encode(event.stages))
            return Current(key, version, CurrentWorkflow(stages=stages, max_attempts=event.max_attempts))
        case TriggerCreated():
            trigger = CurrentTrigger(
                event=event.event,
                version=event.version,
                workflow_id=event.workflow_id,
                filter=event.filter,
                vars=event.vars,
            )
            return Current(key, version, trigger)
        case _:
            return Current(key, version, None)
