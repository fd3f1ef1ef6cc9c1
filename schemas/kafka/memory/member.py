"""The member of a consumer group in memory. See `schemas.kafka.member` for what it is the twin of."""

import asyncio
import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from schemas.kafka.errors import KafkaFault
from schemas.kafka.memory.group import Assignment
from schemas.kafka.memory.network import RequestLost
from schemas.kafka.memory.process import RETRY_SECONDS, Process, within
from schemas.kafka.memory.reader import OutOfRange, Positions
from schemas.kafka.ports import Assigned, Begin, Limits, Membership, Place, Revoked
from schemas.records import Record

JOIN_SECONDS: Final = 60.0
HEARTBEATS_PER_SESSION: Final = 4


class MemoryMember:
    """`ports.Member` in memory.

    Args:
        process: whose it is.
        topic: see `ports.Kafka.member`, as all that follows.
        membership: the place in the group.
        begin: decides where partitions begin.
        assigned: called after a rebalance.
        revoked: called before a rebalance.
    """

    def __init__(
        self,
        process: Process,
        topic: str,
        membership: Membership,
        *,
        begin: Begin | None = None,
        assigned: Assigned | None = None,
        revoked: Revoked | None = None,
    ):
        self._process, self._topic, self._membership = process, topic, membership
        self._begin, self._assigned, self._revoked = begin, assigned, revoked
        self._group = process.cluster.group(membership.group)
        self._incarnation = process.cluster.number()
        self._name = membership.member_id or f"member-{self._incarnation}"
        self._positions = Positions(process, committed_only=membership.committed_only)
        self._assignment: frozenset[Place] = frozenset()
        self._held: set[Place] = set()
        self._paused: set[Place] = set()
        self._generation = self._rebalances = 0
        self._rebalancing = False
        self._heard_at = -math.inf
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See `ports.Member.start`."""
        if not self._membership.own_topic and self._membership.member_id is not None:
            await self._process.ask("leave", lambda: self._group.leave(self._name))
        self._task = self._process.spawn(self._be_member())
        self._task.add_done_callback(lambda _: self._process.cluster.tell())  # for a `take` that waits for a rebalance
        async with within(JOIN_SECONDS + self._membership.session_timeout_seconds):
            joined = asyncio.ensure_future(self._joined.wait())
            try:
                await asyncio.wait({joined, self._task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                joined.cancel()
        self._check()

    async def close(self, timeout_seconds: float = 3.0) -> None:
        """See `ports.Member.close`."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        self._assignment = frozenset()
        if self._membership.member_id is None:
            with contextlib.suppress(KafkaFault):
                await self._process.ask("leave", lambda: self._group.leave(self._name), timeout_seconds)

    @property
    def assignment(self) -> frozenset[Place]:
        """See `ports.Member.assignment`."""
        return self._assignment

    @property
    def silence_seconds(self) -> float:
        """See `ports.Member.silence_seconds`."""
        return asyncio.get_running_loop().time() - self._heard_at

    # Being in the group

    async def _be_member(self) -> None:
        while True:
            self._take_over(await self._join())
            while await self._is_confirmed():
                pass
            self._rebalances += 1
            self._rebalancing = True
            if self._revoked is not None and self._assignment:
                await self._revoked()

    async def _join(self) -> Assignment:
        network, client = self._process.network, self._process.name
        while True:
            with contextlib.suppress(RequestLost):
                await network.request("join", client)
                assignment = await self._group.join(self._name, self._incarnation, self._topic, self._membership)
                await network.answer("join", client)
                return assignment
            await asyncio.sleep(RETRY_SECONDS)

    async def _is_confirmed(self) -> bool:
        """Whether this is still a member of the same generation, asked a while later."""
        seconds = self._membership.session_timeout_seconds / HEARTBEATS_PER_SESSION
        await asyncio.sleep(seconds)
        sent_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                state = await self._process.ask_once(
                    "heartbeat", lambda: self._group.heartbeat(self._name, self._incarnation, self._generation)
                )
        except (RequestLost, TimeoutError):
            return True  # nobody said the contrary
        if state != "unknown":
            self._heard_at = sent_at
        return state == "member"

    def _take_over(self, assignment: Assignment) -> None:
        self._generation, self._assignment = assignment
        self._rebalances += 1
        self._rebalancing = False
        self._heard_at = asyncio.get_running_loop().time()
        self._positions.offsets, self._paused = {}, set()
        self._held = set(self._assignment)
        if self._assigned is not None:
            self._assigned(self._assignment)
        self._joined.set()
        self._process.cluster.tell()

    def _check(self) -> None:
        """Raises: KafkaFault: this can't be a member any more."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            error = self._task.exception()
            raise KafkaFault(f"the group can't be joined: {error!r}") from error

    # Records

    async def take(
        self, timeout_seconds: float, max_records: int | None = None, places: Collection[Place] | None = None
    ) -> dict[Place, Sequence[Record]]:
        """See `ports.Member.take`."""
        self._check()
        if self._begin is not None and self._held and not self._rebalancing:
            await self._decide(self._begin)
        await self._rebalance_ended()
        try:
            return await self._positions.take(lambda: self._handed(places), timeout_seconds, max_records)
        except OutOfRange as error:
            del self._positions.offsets[error.place]
            if self._begin is not None:
                self._held.add(error.place)
            else:
                self.start_at(error.place, self._process.cluster.log(error.place).limits().oldest)
            return {}

    async def _rebalance_ended(self) -> None:
        if self._rebalancing:
            async with within(JOIN_SECONDS + self._membership.session_timeout_seconds):
                while self._rebalancing:
                    await self._process.cluster.news()
                    self._check()

    def _handed(self, places: Collection[Place] | None) -> list[Place]:
        """The partitions whose records are handed over, of these or of all."""
        if self._rebalancing:
            return []
        wanted = self._assignment if places is None else self._assignment & set(places)
        return sorted(wanted - self._held - self._paused)

    async def _decide(self, begin: Begin) -> None:
        rebalances, places = self._rebalances, frozenset(self._held)
        begins = await begin(self, places)
        if rebalances == self._rebalances:
            for place in places:
                self.start_at(place, begins[place])

    def start_at(self, place: Place, offset: int) -> None:
        """See `ports.Member.start_at`."""
        if place in self._assignment:
            self._held.discard(place)
            self._paused.discard(place)
            self._positions.offsets[place] = offset
            self._process.cluster.tell()

    def seek(self, place: Place, offset: int) -> None:
        """See `ports.Member.seek`."""
        if self._is_running(place):
            self._positions.offsets[place] = offset
            self._process.cluster.tell()

    def pause(self, place: Place) -> None:
        """See `ports.Member.pause`."""
        if self._is_running(place):
            self._paused.add(place)

    def resume(self, place: Place) -> None:
        """See `ports.Member.resume`."""
        if self._is_running(place):
            self._paused.discard(place)
            self._process.cluster.tell()

    def _is_running(self, place: Place) -> bool:
        return place in self._assignment and place not in self._held

    # Offsets

    async def commit(self, offsets: Mapping[Place, int], timeout_seconds: float = 2.0) -> bool:
        """See `ports.Member.commit`."""
        mine = {place: offset for place, offset in offsets.items() if place in self._assignment}
        if not mine:
            return True
        try:
            return await self._process.ask(
                "commit",
                lambda: self._group.commit(self._name, self._incarnation, self._generation, mine),
                timeout_seconds,
            )
        except KafkaFault:
            return False

    async def committed(self, place: Place) -> int:
        """See `ports.Member.committed`."""
        return await self._process.ask("committed", lambda: self._group.offsets.get(place, 0))

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """See `ports.Member.limits`."""
        return await self._positions.limits(places)

    def partitions(self) -> int:
        """See `ports.Member.partitions`."""
        return sum(1 for _ in self._process.cluster.places(self._topic))

    def highwater(self, place: Place) -> int | None:
        """See `ports.Member.highwater`."""
        return self._positions.highwater.get(place) if place in self._assignment else None
