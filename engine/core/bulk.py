"""The bulk operation aggregate: an action on many instances, page by page.

Theory of operation. Whatever runs the operation (see `projections.bulk`) may be killed, stand still and wake up, or run
twice at once. So it decides nothing. What it is to do next is in the log, and every command that comes again is known
as a repetition:

| state | left by |
|---|---|
| started, or after a page | BulkAdvanced: the next page, with its instances; BulkStopped; BulkEnded |
| stopping: no page follows | BulkEnded |
| ended | |

1. A page is the one that the log says: the first `AdvanceBulk` of a number counts. Whoever sends the commands of a page
   sends them to the same instances.
2. A page begins when all commands of the page before it have been decided. So a partition that decides a command of a
   page knows that those of earlier pages are repetitions; within the page, it knows the instances (`Pages`).

Each instance is in one page at most, since pages go on behind each other. Thus it is acted on once at most, however
late a command comes again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, get_args

from msgspec import Struct
from msgspec.structs import replace

from engine.core.decisions import TICK
from engine.core.errors import IllegalTransition, Rejected
from engine.core.requests import check_same_request
from engine.core.sections import Queue, Section, Table
from schemas import events as ev
from schemas import rejections
from schemas.commands import AdvanceBulk, EndBulk, PageCommand, StartBulk, StopBulk

MAX_RUNNING: Final = 5
"""Bulk operations of a partition that may run at once. Each has a page of commands under way: without a limit, other
commands would have to wait behind any number of them."""

MAX_ENDED: Final = 10_000
"""Operations of a partition that have ended whose start is known when it comes again. The read model knows all of them,
so more are needed only for repetitions that come before it has caught up."""

MAX_PAGES: Final = 1000
"""Operations whose last page a partition remembers, the latest ones. A command that comes again after so many others
have sent something would be taken for a new one; without a limit they would fill the memory."""

BulkCommand = StartBulk | AdvanceBulk | StopBulk | EndBulk
PAGE_COMMANDS: Final = get_args(PageCommand)
PAGE_EVENTS: Final = (ev.InstanceEnded, ev.ActivityResumed, ev.InstanceRetried)
"""Events of instances that may follow from such a command."""


class Bulk(Struct, frozen=True, kw_only=True):
    """State of one operation."""

    id: str
    version: int
    request_digest: str | None = None
    pages: int = 0
    sent: int = 0
    """How many instances its pages have."""
    lost: int = 0
    """For how many of them nobody knows what became of their commands."""
    stopping: bool = False
    ended: bool = False


class EndedBulk(NamedTuple):
    """An operation that ended at an offset of the log."""

    request_digest: str | None
    offset: int


class Page(NamedTuple):
    """The last page of an operation of which a partition has decided commands."""

    number: int
    instances: tuple[str, ...]
    """Those whose commands it has decided."""
    offset: int
    """Of the last outcome."""


def decide(state: Bulk | None, command: BulkCommand, now: datetime) -> Sequence[ev.BulkEvent]:
    """The events that follow from a command; none when it comes again, or too late.

    Raises:
        Rejected: the Idempotency-Key was used with another body.
    """
    match command:
        case StartBulk():
            if state is not None:
                check_same_request(state.request_digest, command.request_digest)
                return ()
            started = ev.BulkStarted(
                at=now,
                action=command.action,
                filter=command.filter,
                expected=command.expected,
                begin_at=_begin_at(command, now),
                by=command.by,
                reason=command.reason,
                request_digest=command.request_digest,
            )
            return (started,)
        case _ if state is None:
            return ()
        case AdvanceBulk() if command.page == state.pages and not state.stopping:
            advanced = ev.BulkAdvanced(
                at=now,
                page=command.page,
                instances=command.instances,
                created_at=command.created_at,
                sent=state.sent + len(command.instances),
                lost=state.lost + command.lost,
            )
            return (advanced,)
        case StopBulk() if not state.stopping:
            return (ev.BulkStopped(at=now, by=command.by, reason=command.reason),)
        case EndBulk() if command.pages == state.pages:
            return (ev.BulkEnded(at=now, lost=state.lost + command.lost),)
    return ()


def _begin_at(command: StartBulk, now: datetime) -> datetime | None:
    """Where the pages of an operation begin, if that is not now: behind the newest instance that is known to be there.

    Times of other partitions may be ahead: by a moment, or by as much as a clock once was (see ADR 17).
    """
    newest = command.newest_at
    return None if newest is None or newest < now else newest + TICK


def evolve(state: Bulk | None, event: ev.BulkEvent, bulk_id: str) -> Bulk:
    """The state after an event.

    Raises:
        IllegalTransition: the event does not follow from the state.
    """
    if state is None:
        if isinstance(event, ev.BulkStarted):
            return Bulk(id=bulk_id, version=1, request_digest=event.request_digest)
        raise IllegalTransition(f"{type(event).__name__} of bulk operation {bulk_id}, which has not started")
    after = replace(state, version=state.version + 1)
    match event:
        case ev.BulkAdvanced() if not (state.ended or state.stopping) and event.page == state.pages:
            return replace(after, pages=state.pages + 1, sent=event.sent, lost=event.lost)
        case ev.BulkStopped() if not (state.ended or state.stopping):
            return replace(after, stopping=True)
        case ev.BulkEnded() if not state.ended:
            return replace(after, ended=True)
    raise IllegalTransition(f"{event} does not follow version {state.version} of bulk operation {bulk_id}")


class Bulks:
    """What a partition knows of bulk operations: its own, and what it has decided for any of them."""

    def __init__(self) -> None:
        self._running: Table[Bulk] = Table("bulk", Bulk)
        self._ended: Queue[EndedBulk] = Queue("ended_bulk", EndedBulk, order=_offset)
        self._pages: Queue[Page] = Queue("bulk_page", Page, order=_offset)
        self.sections: Sequence[Section[Any]] = (self._running, self._ended, self._pages)
        """All that it holds by id."""

    def get(self, bulk_id: str) -> Bulk | None:
        """An operation; None when it is unknown or has ended."""
        return self._running.get(bulk_id)

    def decide(self, key: str, command: BulkCommand, at: datetime) -> tuple[int, Sequence[ev.BulkEvent]]:
        """The version of an operation before a command, and the events that follow from it.

        Raises:
            Rejected: it changes nothing, and its sender has to know why.
        """
        state = self._running.get(key)
        if state is None and isinstance(command, StartBulk):
            if (ended := self._ended.get(key)) is not None:
                check_same_request(ended.request_digest, command.request_digest)
                return 0, ()
            if len(self._running) >= MAX_RUNNING:
                raise Rejected(rejections.TOO_MANY, "too many bulk operations are running: wait, or stop one of them")
        return 0 if state is None else state.version, decide(state, command, at)

    def replay(self, key: str, events: Sequence[ev.BulkEvent], offset: int) -> None:
        """Take over events of an operation."""
        state = self._running.get(key)
        for event in events:
            state = evolve(state, event, key)
        if state is None or not state.ended:
            if state is not None:
                self._running.put(key, state)
            return
        self._running.pop(key)
        self._ended.append(key, EndedBulk(state.request_digest, offset + len(events) - 1), MAX_ENDED)

    def is_repeated(self, instance_id: str, command: PageCommand) -> bool:
        """Whether a command that an operation has sent to an instance was decided before."""
        page = None if command.bulk_id is None else self._pages.get(command.bulk_id)
        if page is None or command.bulk_page > page.number:
            return False
        return command.bulk_page < page.number or instance_id in page.instances

    def note_decided(self, instance_id: str, bulk_id: str, number: int, offset: int) -> None:
        """A command that an operation has sent to an instance was decided."""
        page = self._pages.get(bulk_id)
        instances = page.instances if page is not None and page.number == number else ()
        self._pages.append(bulk_id, Page(number, (*instances, instance_id), offset), MAX_PAGES)

    def remove(self, key: str) -> None:
        """Forget an operation."""
        self._running.pop(key)

    def contents(self) -> object:
        """All of it, to be compared."""
        return self._running.states.copy(), list(self._ended.states.items()), list(self._pages.states.items())


def _offset(state: EndedBulk | Page) -> int:
    return state.offset
