"""Submissions: commands that other services append themselves (see `docs/intake.md`).

A submitted run names its workflow and does not carry the definition, which the partition does not have: it is in topic
`definitions`. So the run is held (SubmissionHeld), an effect looks up the definition as it is from then on, and what
follows is decided (SubmissionReleased) with what was found. Meanwhile the partition goes on. What the definition was is
in InstanceStarted, so a restore comes to the same.

Further submissions to an instance that has one held are held behind it: they are decided in the order of their records.

A submission that comes again:

- A run is known by its id, as long as the instance runs, and then with the last `Bounds.max_ended` that have ended. Ids
  say when they were made. A run whose id is not younger than all that is forgotten may be one of these. It is rejected.
- An event or an abort is known by its key (`requests.came_before`). Once its instance has forgotten requests, it may
  be one of these. It is rejected.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from engine.core.errors import IllegalTransition, Rejected
from engine.core.instance import Instance
from engine.core.sections import Table
from schemas import rejections
from schemas.commands import (
    AbortInstance,
    RunWorkflow,
    SendEvent,
    Submission,
    SubmitAbort,
    SubmitEvent,
    SubmitRun,
)
from schemas.current import CurrentWorkflow
from schemas.events import SubmissionHeld
from schemas.idempotency import digest_of, id_for_key
from schemas.ids import made_at_ms
from schemas.late_aborts import submitted_abort
from schemas.redaction import on_one_line

MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""What the submissions of a partition that are held may take together. While `definitions` can't be read they would
fill the memory."""

MAX_AHEAD: Final = timedelta(minutes=5)
"""How far the clock that made an id may be ahead of ours. Once an instance is forgotten, no run with an older id is
taken: one from the far future would keep out all others."""

_SUBJECT: Final = "/held"


class Resolved(Struct, frozen=True):
    """The end of an effect: the definition is known that a held submission needs.

    Attributes:
        offset: of the event that tells that it is held.
        workflow: what its run starts with; None if there is no such workflow, and where none is needed.
    """

    offset: int
    workflow: CurrentWorkflow | None = None


class Held(Struct, frozen=True, array_like=True):
    """A submission that is held, since the event at an offset."""

    key: str
    offset: int
    event: SubmissionHeld

    @property
    def submission(self) -> Submission:
        """The command."""
        found = self.event.run or self.event.event or self.event.abort
        if found is None:
            raise IllegalTransition(f"SubmissionHeld of instance {self.key} has no submission")
        return found


def hold(command: Submission, at: datetime) -> SubmissionHeld:
    """The event that a submission is held."""
    match command:
        case SubmitRun():
            return SubmissionHeld(at=at, run=command)
        case SubmitEvent():
            return SubmissionHeld(at=at, event=command)
        case SubmitAbort():
            return SubmissionHeld(at=at, abort=command)


def subject_of(key: str) -> str:
    """What the effect belongs to that looks up what the first held submission to an instance needs."""
    return key + _SUBJECT


class HeldSubmissions(Table[Held]):
    """Submissions that are held, in the order of the log."""

    def __init__(self) -> None:
        super().__init__("held", Held, order=lambda held: held.offset)
        self._by_key: dict[str, dict[int, int]] = {}
        """Of each instance: the offsets at which submissions are held, in order, with their sizes."""
        self.size_bytes = 0
        """What they take together."""

    def first(self, key: str) -> Held | None:
        """The first one to an instance."""
        offsets = self._by_key.get(key)
        return None if offsets is None else self.states[_id(key, next(iter(offsets)))]

    def first_of(self, subject: str) -> Held | None:
        """The first one that a subject is about."""
        return self.first(subject.removesuffix(_SUBJECT)) if subject.endswith(_SUBJECT) else None

    def subjects(self) -> Iterator[str]:
        """All that have one."""
        return map(subject_of, list(self._by_key))

    def add(self, held: Held) -> None:
        """One more is held.

        Raises:
            IllegalTransition: the event holds none.
        """
        held.submission  # noqa: B018  # it has to be there
        self.put(_id(held.key, held.offset), held)
        self._note(held)

    def release(self, key: str) -> None:
        """The first one to an instance is held no more.

        Raises:
            IllegalTransition: none is.
        """
        first = self.first(key)
        if first is None:
            raise IllegalTransition(f"SubmissionReleased of instance {key}, to which nothing is held")
        self.pop(_id(key, first.offset))
        self.size_bytes -= self._by_key[key].pop(first.offset)
        if not self._by_key[key]:
            del self._by_key[key]

    def remove_all(self, key: str) -> None:
        """None to an instance is held any more."""
        while key in self._by_key:
            self.release(key)

    def insert(self, id: str, state: Held) -> None:
        """Take over the state of one entry."""
        super().insert(id, state)
        self._note(state)

    def check_room(self, command: Submission, at: datetime) -> None:
        """Check that one more can be held.

        Raises:
            Rejected: there is no room.
        """
        if self.size_bytes + _size(hold(command, at)) > MAX_HELD_BYTES:
            raise Rejected(
                rejections.RETRY,
                f"{len(self)} submissions wait until topic definitions can be read: send it again later",
            )

    def _note(self, held: Held) -> None:
        self._by_key.setdefault(held.key, {})[held.offset] = size = _size(held.event)
        self.size_bytes += size


def _id(key: str, offset: int) -> str:
    return f"{key}/{offset}"


def _size(event: SubmissionHeld) -> int:
    return len(msgspec.json.encode(event))


def digest_of_run(command: SubmitRun) -> str:
    """What tells whether two runs of one id are the same."""
    return digest_of({"workflow_id": command.workflow_id, "variables": command.variables})


def check_new_id(id: str, forgotten_until_ms: int, now: datetime) -> None:
    """Check that an id which is not known has not been used before.

    Args:
        id: of the instance that is to be started.
        forgotten_until_ms: when the youngest id was made that is forgotten.
        now: the time of the turn. What has come is not refused because our clock is behind, as far as the log knows it.

    Raises:
        Rejected: it may have been, or it is not one for a new instance.
    """
    made_ms = made_at_ms(id)
    if made_ms is None:
        raise Rejected(rejections.WRONG_ID, "the id of a submitted run must be a UUID of version 7")
    if made_ms > (now + MAX_AHEAD).timestamp() * 1000:
        raise Rejected(rejections.WRONG_ID, "the id says that it was made in the future: look at the sender's clock")
    if made_ms <= forgotten_until_ms:
        raise Rejected(
            rejections.TOO_OLD,
            "the id is so old that the engine can't tell whether it ran before: look for the instance in the API,"
            " and if it is not there, send the run with a new id",
        )


def as_run(command: SubmitRun, workflow: CurrentWorkflow | None) -> RunWorkflow:
    """What a submitted run means, once its definition is known.

    Raises:
        Rejected: there is no such workflow.
    """
    if workflow is None:
        text = f"workflow {command.workflow_id} does not exist, or was deleted"
        raise Rejected(rejections.NO_WORKFLOW, text)
    return RunWorkflow(
        workflow_id=command.workflow_id,
        stages=workflow.stages,
        variables=command.variables,
        request_digest=digest_of_run(command),
        max_attempts=workflow.max_attempts,
        by=_shown(command.by),
        reason=_shown(command.reason),
    )


def as_request(key: str, command: SubmitEvent | SubmitAbort) -> SendEvent | AbortInstance:
    """What a submission to an instance means. The API makes the same of the same idempotency key and content."""
    if isinstance(command, SubmitAbort):
        request_key, request_digest = submitted_abort(key, command.idempotency_key)
        return AbortInstance(
            request_key=request_key,
            request_digest=request_digest,
            by=_shown(command.by),
            reason=_shown(command.reason),
        )
    return SendEvent(
        name=command.name,
        payload=command.payload,
        request_key=str(id_for_key("event", key, command.idempotency_key)),
        request_digest=_digest_of_event(command),
        by=_shown(command.by),
        reason=_shown(command.reason),
    )


def _shown(text: str | None) -> str | None:
    """Who wants something, or why, as it is kept: no text shows as another one. The API refuses such a reason."""
    return None if text is None else on_one_line(text)


def _digest_of_event(command: SubmitEvent) -> str:
    """What tells whether two events of one key are the same: that of the API's body, which has both in one object.

    That has no room for a field `name` beside the event's. A list is the body of no event of the API.
    """
    if "name" in command.payload:
        return digest_of([command.name, command.payload])
    return digest_of({**command.payload, "name": command.name})


def check_alive(state: Instance | None) -> Instance:
    """The instance that a submission is for.

    Raises:
        Rejected: it does not run. Engines forget what has ended, so nobody can say here whether it ever did.
    """
    if state is None or state.ended:
        raise Rejected(rejections.ENDED, "no instance with this id is running: it has ended, or was never started")
    return state


def check_known(state: Instance, request: SendEvent | AbortInstance) -> None:
    """Check that an instance knows whether a request came before.

    Raises:
        Rejected: it has forgotten some, and this may be one of them.
    """
    if state.earlier_requests and request.request_key not in dict(state.requests):
        raise Rejected(
            rejections.TOO_OLD,
            "the instance has had so many requests that the engine can't tell whether this one came before: send it"
            " to the API with the same Idempotency-Key",
        )
