"""Room for calls of the stack: who may call now, and who waits.

    CallSlots       of an engine: so many calls to each service at once
      ServiceSlots    of one service, which all partitions share
        CallQueue       the calls of one partition that wait for a slot of one service

A call that waits is an entry in a queue, not a task, so a million of them may wait. A service that hangs uses up
its own slots, and none of the others.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from engine.wanted import Wanted

MIN_SWEPT: Final = 1000
"""From how many stale entries of a queue on they are swept out. Sweeping for fewer would cost more than they do."""


class CallSlots:
    """The slots of one engine.

    Args:
        per_service: how many calls to one service may be under way at once.
        service_of: the service that an activity calls, by its name.
    """

    def __init__(self, per_service: int, service_of: Callable[[str], str]):
        self._per_service, self._service_of = per_service, service_of
        self._services: dict[str, ServiceSlots] = {}

    def of(self, activity: str) -> "ServiceSlots":
        """The slots of the service that an activity calls."""
        service = self._service_of(activity)
        slots = self._services.get(service)
        if slots is None:
            slots = self._services[service] = ServiceSlots(service, self._per_service)
        return slots

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return sum(slots.waiting for slots in self._services.values())


class ServiceSlots:
    """The slots of one service. One that becomes free goes to the queues in turn.

    Args:
        service: its name.
        free: how many slots there are.
    """

    def __init__(self, service: str, free: int):
        self.service = service
        self._free = free
        self._asking: dict[CallQueue, None] = {}
        """The queues whose next call may start, in turn."""
        self.waiting = 0
        """How many calls wait in all queues."""

    def take(self) -> bool:
        """Take a slot, if one is free. Whoever takes it gives it back."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """A call is over."""
        self._free += 1
        self._give()

    def ask(self, queue: "CallQueue") -> None:
        """Let a queue have slots, from now on, until it does not use one that it was given."""
        self._asking.setdefault(queue)
        self._give()

    def withdraw(self, queue: "CallQueue") -> None:
        """Give a queue nothing any more."""
        self._asking.pop(queue, None)

    def _give(self) -> None:
        while self._free and self._asking:
            queue = next(iter(self._asking))
            del self._asking[queue]
            self._free -= 1
            if queue.start_next():
                self._asking[queue] = None  # at the end
            else:
                self._free += 1


class CallQueue:
    """The calls of one partition to one service that wait, first come first served.

    Args:
        slots: of the service.
        start: starts a call, which gives the slot back. False if the call is not wanted.
        may_start: whether any call may start now. If not, `ask` has to be called when one may.
    """

    def __init__(
        self, slots: ServiceSlots, start: "Callable[[Wanted, ServiceSlots], bool]", may_start: Callable[[], bool]
    ):
        self._slots, self._start, self._may_start = slots, start, may_start
        self._waiting: deque[Wanted] = deque()
        self._stale = 0

    def __len__(self) -> int:
        return len(self._waiting) - self._stale

    @property
    def entries(self) -> int:
        """How many entries it holds, stale ones included."""
        return len(self._waiting)

    def add(self, wanted: Wanted) -> None:
        """Let a call wait behind the others."""
        wanted.place, wanted.service = "queued", self._slots.service
        self._waiting.append(wanted)
        self._slots.waiting += 1
        self.ask()

    def ask(self) -> None:
        """Let calls start as far as there are slots."""
        if self._waiting:
            self._slots.ask(self)

    def drop(self, wanted: Wanted) -> None:
        """Do not start a call that waits here."""
        wanted.place = "gone"
        self._stale += 1
        self._slots.waiting -= 1
        if self._stale >= MIN_SWEPT and self._stale > len(self):
            self._waiting = deque(entry for entry in self._waiting if entry.place == "queued")
            self._stale = 0

    def start_next(self) -> bool:
        """Start the first call that is still wanted, with a slot that was taken for it; whether there was one."""
        while self._waiting and self._may_start():
            wanted = self._waiting.popleft()
            if wanted.place != "queued":
                self._stale -= 1
                continue
            self._slots.waiting -= 1
            wanted.place = "started"
            if self._start(wanted, self._slots):
                return True
        return False

    def close(self) -> None:
        """Start nothing any more."""
        self._slots.withdraw(self)
        self._slots.waiting -= len(self)
        self._waiting.clear()
        self._stale = 0
