"""What is kept for one stream until its client takes it. Bounded: a client that reads slowly costs no more than that.

Of one instance there is only the newest state. Of a list there are messages up to a limit; past it they are thrown
away, and the client is told to read the list again.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar, Final
from uuid import UUID

from api.streams.messages import NOTHING, Event, State, error_data, id_data, message
from projections.queries.instance_filters import InstanceFilters
from projections.queries.passing import may_have_passed, passes

MAX_MESSAGES: Final = 1_000
MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""What waits for the client of a list at most, beside one message. Texts are shared between streams, so many slow
clients cost little more than one; each with a list of its own could take this much."""
UNAVAILABLE: Final = "the read model is unavailable; the stream goes on when it is back"


class Follower(ABC):
    """One stream, as the hub sees it."""

    kind: ClassVar[str]
    """What it follows, for metrics."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._is_away = self._told_away = False
        self.has_ended = False
        """Whether nothing comes any more."""

    @abstractmethod
    def show(self, state: State) -> None:
        """Take in the state of an instance that has changed."""

    def lost(self) -> None:  # noqa: B027 - a list tells of changes alone
        """The instance that is followed is deleted."""

    @abstractmethod
    def take(self) -> list[bytes]:
        """What the client has to be sent now."""

    def away(self) -> None:
        """The read model can't be read; `show` ends it."""
        if not self._is_away:
            self._is_away, self._told_away = True, False
            self.wake()

    def back(self) -> None:
        """It can be read again."""
        self._is_away = False

    def stop(self) -> None:
        """End: the process is stopping."""
        self.has_ended = True
        self.wake()

    def wake(self) -> None:
        """Let `wait` return."""
        self._news.set()

    async def wait(self) -> None:
        """Wait until there may be something to take."""
        await self._news.wait()
        self._news.clear()

    @property
    def heartbeat(self) -> bytes:
        """What is sent while there is nothing else."""
        return message("heartbeat")

    def _outage(self) -> list[bytes]:
        if not self._is_away or self._told_away:
            return []
        self._told_away = True
        return [message("unavailable", error_data(UNAVAILABLE))]


class InstanceFollower(Follower):
    """Follows one instance until its end.

    Args:
        instance_id: the instance.
        seen: id of the last message that the client has, if it comes back.
    """

    kind = "instance"

    def __init__(self, instance_id: UUID, seen: str = ""):
        super().__init__()
        self.instance_id = instance_id
        self._seen = seen
        self._state: State | None = None
        self._is_deleted = False

    def lost(self) -> None:
        """See `Follower.lost`."""
        self._is_deleted = True
        self.wake()

    def show(self, state: State) -> None:
        """See `Follower.show`."""
        self._state = state
        self.wake()

    def take(self) -> list[bytes]:
        """See `Follower.take`."""
        state, self._state = self._state, None
        if state is None and self._is_deleted:
            self.has_ended = True
            return [message("end", id_data(self.instance_id))]
        if state is None:
            return self._outage()
        messages = []
        if state.digest != self._seen:
            messages.append(message("instance", state.content, state.digest))
            self._seen = state.digest
        if state.row.terminated_at is not None:
            messages.append(message("end", id_data(self.instance_id), state.end_id))
            self.has_ended = True
        return messages


class ListFollower(Follower):
    """Follows the instances that pass some filters.

    Args:
        filters: what passes.
        seen: how far the client was, if it comes back.
    """

    kind = "list"

    def __init__(self, filters: InstanceFilters, seen: str = ""):
        super().__init__()
        self.seen = seen
        self._filters = filters
        self._messages: list[tuple[Event, str]] = []
        self._bytes = 0
        self._mark = seen

    @property
    def key(self) -> str | None:
        """The key that its instances have to have."""
        return self._filters.key

    def begin(self, mark: str) -> None:
        """Begin here, not where the client was: it is new, or nobody knows what has changed since.

        Args:
            mark: how far the process is.
        """
        self._mark = mark
        self._messages.append(("reset" if self.seen else "open", NOTHING))
        self.wake()

    def show(self, state: State) -> None:
        """See `Follower.show`."""
        if passes(self._filters, state.row, state.keys):
            self._add("instance", state.content)
        elif may_have_passed(self._filters, state.row, state.keys):
            self._add("left", id_data(state.row.id))

    def _add(self, event: Event, data: str) -> None:
        self._messages.append((event, data))
        self._bytes += len(data)
        if len(self._messages) > MAX_MESSAGES or (self._bytes > MAX_MESSAGE_BYTES and len(self._messages) > 1):
            self.missed()
        self.wake()

    def missed(self) -> None:
        """Changes may have been missed: the client must read the list again."""
        self._messages, self._bytes = [("reset", NOTHING)], 0
        self.wake()

    def moved(self, mark: str) -> None:
        """All changes until here have been shown."""
        self._mark = mark

    def take(self) -> list[bytes]:
        """See `Follower.take`. Only the last message says how far the stream is: those before it are not enough."""
        taken, self._messages, self._bytes = self._messages, [], 0
        if not taken:
            return self._outage()
        last = len(taken) - 1
        return [message(*one, self._mark or None if n == last else None) for n, one in enumerate(taken)]

    @property
    def heartbeat(self) -> bytes:
        """See `Follower.heartbeat`. Nothing waits, so all changes until the mark were told."""
        return message("heartbeat", id=self._mark or None)
