"""One consumer group in memory: who is in it, and who has which partitions.

    STABLE ── somebody joins, leaves or is silent ──► REBALANCING ── all have joined again, or time is up ──► STABLE

Members learn of a rebalance by the answer to their next heartbeat, and join again. What one had before stays with it as
far as the shares allow. A member with a stable name that comes back gets what it had, without a rebalance; and one that
misses a rebalance keeps its share until its session ends.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from typing import Literal, NamedTuple

from schemas.kafka.errors import KafkaFault, NameTaken
from schemas.kafka.ports import Membership, Place

State = Literal["member", "rebalance", "unknown", "taken"]
"""What a heartbeat is answered: all is well, join again, you were given up (join again), or another has your name."""


class Assignment(NamedTuple):
    """What a member gets by joining."""

    generation: int
    places: frozenset[Place]


class _Seat:
    """A member as the group knows it."""

    def __init__(self, topic: str, membership: Membership):
        self.topic, self.membership = topic, membership
        self.incarnation = -1
        self.places: frozenset[Place] = frozenset()
        self.until = 0.0
        """When its session ends, if nothing is heard of it before."""
        self.timer: asyncio.TimerHandle | None = None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Group:
    """A group and its coordinator.

    Args:
        places: the partitions of a topic.
        context: in which its timers run, which belong to no member.
    """

    def __init__(self, places: Callable[[str], Iterable[Place]], context: Context):
        self.offsets: dict[Place, int] = {}
        self._places, self._context = places, context
        self._seats: dict[str, _Seat] = {}
        self._joined: dict[str, asyncio.Future[Assignment]] = {}
        self._generation = 0
        self._rebalancing = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        """How many members there are."""
        return len(self._seats)

    def join(self, name: str, incarnation: int, topic: str, membership: Membership) -> "asyncio.Future[Assignment]":
        """Be a member from now on.

        Args:
            name: of the member.
            incarnation: tells members apart that have one name, one after the other.
            topic: what it reads.
            membership: its timeouts.

        Returns:
            What it gets, when all members have joined again; `NameTaken` if another takes its name before.
        """
        seat = self._seats.setdefault(name, _Seat(topic, membership))
        is_back = seat.incarnation not in (-1, incarnation)
        seat.incarnation, seat.topic = incarnation, topic
        joined: asyncio.Future[Assignment] = asyncio.get_running_loop().create_future()
        if is_back and not self._rebalancing:
            self._heard(name, seat)
            joined.set_result(Assignment(self._generation, seat.places))
            return joined
        seat.stop_timer()  # it is here, and waits for the others
        self._fail(name, NameTaken(name))
        self._joined[name] = joined
        self.rebalance()
        return joined

    def leave(self, name: str, incarnation: int | None = None) -> None:
        """Be no member any more; fine if it is not one.

        Args:
            name: of the member.
            incarnation: leave the name alone if it is another's by now; take anybody out when not given.
        """
        if name in self._seats and incarnation not in (None, self._seats[name].incarnation):
            return
        seat = self._seats.pop(name, None)
        self._fail(name, KafkaFault(f"{name} was taken out of the group"))
        if seat is not None:
            seat.stop_timer()
            self.rebalance()

    def heartbeat(self, name: str, incarnation: int, generation: int) -> State:
        """A member is alive."""
        seat = self._seats.get(name)
        if seat is None:
            return "unknown"
        if seat.incarnation != incarnation:
            return "taken"
        self._heard(name, seat)
        return "rebalance" if self._rebalancing or generation != self._generation else "member"

    def commit(self, name: str, incarnation: int, generation: int, offsets: Mapping[Place, int]) -> bool:
        """Take offsets from a member of the present generation; False for any other."""
        seat = self._seats.get(name)
        if seat is None or (seat.incarnation, generation) != (incarnation, self._generation):
            return False
        self.offsets.update(offsets)
        return True

    def rebalance(self) -> None:
        """Have all members join again."""
        if not self._rebalancing:
            self._rebalancing = True
            seconds = max((seat.membership.rebalance_seconds for seat in self._seats.values()), default=0.0)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._complete, context=self._context)
        if self._joined.keys() == self._seats.keys():
            self._complete()

    def _complete(self) -> None:
        """Give the partitions to those who have joined. Of the others only those stay that have a stable name."""
        if self._timer is not None:
            self._timer.cancel()
        self._rebalancing = False
        self._generation += 1
        for name in [name for name in self._seats if name not in self._joined]:
            if self._seats[name].membership.member_id is None:
                self._seats.pop(name).stop_timer()
        for topic in dict.fromkeys(seat.topic for seat in self._seats.values()):
            had = {name: seat.places for name, seat in self._seats.items() if seat.topic == topic}
            for name, places in shares(had, sorted(self._places(topic))).items():
                self._seats[name].places = places
        joined, self._joined = self._joined, {}
        for name, future in joined.items():
            self._heard(name, self._seats[name])
            if not future.done():
                future.set_result(Assignment(self._generation, self._seats[name].places))

    def _fail(self, name: str, fault: KafkaFault) -> None:
        joined = self._joined.pop(name, None)
        if joined is not None and not joined.done():
            joined.set_exception(fault)

    def _heard(self, name: str, seat: _Seat) -> None:
        loop = asyncio.get_running_loop()
        seat.until = loop.time() + seat.membership.session_timeout_seconds
        if seat.timer is None:
            seat.timer = loop.call_at(seat.until, self._look_after, name, seat, context=self._context)

    def _look_after(self, name: str, seat: _Seat) -> None:
        """End the session of a member that was not heard of in time."""
        loop = asyncio.get_running_loop()
        if loop.time() < seat.until:
            seat.timer = loop.call_at(seat.until, self._look_after, name, seat, context=self._context)
        else:
            self.leave(name)


def shares(had: Mapping[str, frozenset[Place]], places: Iterable[Place]) -> dict[str, frozenset[Place]]:
    """Partitions by member, as evenly as they go, and as few as possible at another member than before."""
    free = dict.fromkeys(places)
    share, more = divmod(len(free), len(had))
    kept: dict[str, list[Place]] = {}
    quotas: dict[str, int] = {}
    for n, name in enumerate(sorted(had, key=lambda name: (-len(had[name] & free.keys()), name))):
        quotas[name] = share + (n < more)
        kept[name] = sorted(had[name] & free.keys())[: quotas[name]]
        for place in kept[name]:
            del free[place]
    left = iter(free)
    for name, some in kept.items():
        some += [next(left) for _ in range(quotas[name] - len(some))]
    return {name: frozenset(some) for name, some in kept.items()}
