"""The member of a consumer group in memory. See `schemas.kafka.member` for what it is the twin of."""

import asyncio
import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

from schemas.kafka.errors import KafkaFault, NameTaken
from schemas.kafka.memory.group import Assignment, State
from schemas.kafka.memory.network import RequestLost
from schemas.kafka.memory.process import ANSWER_SECONDS, RETRY_SECONDS, NoAnswer, Process, within
from schemas.kafka.memory.reader import OutOfRange, Positions
from schemas.kafka.ports import Assigned, Begin, Limits, Membership, Place, Revoked
from schemas.records import Record

JOIN_SECONDS: Final = 60.0


class MemoryMember:
    """`ports.Member` in memory.

    Args:
        process: whose it is.
        topic: see `ports.Kafka.member`, as all that follows.
        membership: the place in the group.
        begin: decides where partitions begin.
        assigned: called after a rebalance.
        revoked: called after a rebalance that took partitions away.
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
        self._positions = Positions(process, committed_only=membership.committed_only, repeats=True)
        self._assignment: frozenset[Place] = frozenset()
        self._held: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._holds = 0
        self._generation = -1
        self._given_up = False
        self._heard_at = -math.inf
        self._rejoins_since = math.inf
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See `ports.Member.start`."""
        if not self._membership.own_topic and self._membership.member_id is not None:
            await self._leave()
        self._task = self._process.spawn(self._be_member())
        self._task.add_done_callback(lambda _: self._positions.wake())  # for a `take` that waits
        async with within(self._join_seconds):
            joined = asyncio.ensure_future(self._joined.wait())
            try:
                await asyncio.wait({joined, self._task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                joined.cancel()
        self._check()

    async def close(self, timeout_seconds: float = 3.0, *, leave: bool = False) -> None:
        """See `ports.Member.close`."""
        if self._task is None:
            return
        was_member = not self._task.done()
        self._task.cancel()
        await asyncio.wait({self._task})
        self._assignment = frozenset()
        if was_member and (self._membership.member_id is None or (leave and self._group.size > 1)):
            with contextlib.suppress(KafkaFault):
                await self._leave(timeout_seconds, self._incarnation)

    async def _leave(self, timeout_seconds: float = ANSWER_SECONDS, incarnation: int | None = None) -> None:
        await self._process.ask("leave", lambda: self._group.leave(self._name, incarnation), timeout_seconds)

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
            while (state := await self._state()) == "member":
                pass
            if state == "taken":
                raise NameTaken(self._name)
            self._given_up = state == "unknown"
            self._rejoins_since = asyncio.get_running_loop().time()

    async def _join(self) -> Assignment:
        while True:
            with contextlib.suppress(RequestLost):
                return await self._process.ask_once(
                    "join",
                    lambda: self._group.join(self._name, self._incarnation, self._topic, self._membership),
                )
            await asyncio.sleep(RETRY_SECONDS)

    async def _state(self) -> State:
        """What the group says of this member, asked a while later."""
        seconds = self._membership.heartbeat_seconds
        await asyncio.sleep(seconds)
        sent_at = asyncio.get_running_loop().time()
        state: State
        beat = partial(self._group.heartbeat, self._name, self._incarnation, self._generation)
        try:
            state = await self._process.ask_until(sent_at + seconds, "heartbeat", beat)
        except (RequestLost, NoAnswer):
            return "member"  # nobody said the contrary
        if state in ("member", "rebalance"):
            self._heard_at = sent_at
        return state

    def _take_over(self, assignment: Assignment) -> None:
        knows_all = not self._given_up and assignment.generation - self._generation <= 1
        kept = self._assignment & assignment.places if knows_all else frozenset()
        gone, new = self._assignment - kept, assignment.places - kept
        self._generation, self._assignment = assignment
        self._heard_at, self._rejoins_since = asyncio.get_running_loop().time(), math.inf
        for place in gone:
            self._held.pop(place, None)
            self._positions.forget(place)
        for place in new:
            self._hold(place)
        self._paused &= kept
        if gone and self._revoked is not None:
            self._revoked(gone)
        if self._assigned is not None:
            self._assigned(self._assignment)
        self._joined.set()
        self._positions.wake()

    def _check(self) -> None:
        """Raises: KafkaFault: this can't be a member any more."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            error = self._task.exception()
            if isinstance(error, NameTaken):
                raise error
            raise KafkaFault(f"the group can't be joined: {error!r}") from error
        if asyncio.get_running_loop().time() - self._rejoins_since > self._join_seconds:
            raise KafkaFault("the rebalance does not end")

    @property
    def _join_seconds(self) -> float:
        return JOIN_SECONDS + self._membership.session_timeout_seconds

    # Records

    async def take(
        self, timeout_seconds: float, max_records: int | None = None, places: Collection[Place] | None = None
    ) -> dict[Place, Sequence[Record]]:
        """See `ports.Member.take`."""
        self._check()
        if self._begin is not None and self._held:
            await self._decide(self._begin)
        try:
            return await self._positions.take(lambda: self._handed(places), timeout_seconds, max_records)
        except OutOfRange as error:
            if self._begin is not None:
                self._hold(error.place)
            else:
                self.start_at(error.place, self._process.cluster.log(error.place).limits().oldest)
            return {}

    def _handed(self, places: Collection[Place] | None) -> list[Place]:
        """The partitions whose records are handed over, of these or of all."""
        self._check()
        wanted = self._assignment if places is None else self._assignment & set(places)
        return sorted(wanted - self._held.keys() - self._paused)

    async def _decide(self, begin: Begin) -> None:
        asked = dict(self._held)
        begins = await begin(self, list(asked))
        for place, hold in asked.items():
            if self._held.get(place) == hold:
                self.start_at(place, begins[place])

    def _hold(self, place: Place) -> None:
        self._holds += 1
        self._held[place] = self._holds

    def start_at(self, place: Place, offset: int) -> None:
        """See `ports.Member.start_at`."""
        if place in self._assignment:
            self._held.pop(place, None)
            self._paused.discard(place)
            self._positions.offsets[place] = offset
            self._positions.wake()

    def seek(self, place: Place, offset: int) -> None:
        """See `ports.Member.seek`."""
        if self._is_running(place):
            self._positions.offsets[place] = offset
            self._positions.wake()

    def pause(self, place: Place) -> None:
        """See `ports.Member.pause`."""
        if self._is_running(place):
            self._paused.add(place)

    def resume(self, place: Place) -> None:
        """See `ports.Member.resume`."""
        if self._is_running(place):
            self._paused.discard(place)
            self._positions.wake()

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
                partial(self._process.cluster.commit_offsets, *self._seat(), mine),
                timeout_seconds,
            )
        except KafkaFault:
            return False

    def _seat(self) -> tuple[str, str, int, int]:
        """As what this member tells the group something, from now on its way."""
        return self._membership.group, self._name, self._incarnation, self._generation

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
