"""A member of a consumer group: a seat in the group, and a reader of what the seat has.

    group ──► seat: which partitions are ours ──► member: what is kept, new, gone ──► reader: its partitions by hand

So a rebalance stops nothing: the reader goes on with what it has until the seat tells the new assignment, and then only
the difference is changed. Nothing of a new partition is handed over before it is decided where it begins: it is held,
at once. `take` asks `begin`, or the partition's owner says it by `start_at`.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from schemas.kafka.closing import CLOSE_SECONDS, close
from schemas.kafka.consumer import ConsumerClient
from schemas.kafka.errors import KafkaFault
from schemas.kafka.faults import faults
from schemas.kafka.ports import Assigned, Begin, Limits, Membership, Place, Revoked
from schemas.kafka.seat import Seat
from schemas.kafka.static_members import leave_group
from schemas.records import Record
from schemas.settings import KafkaSettings

logger = logging.getLogger(__name__)

COMMIT_SECONDS: Final = 2.0
"""Deadline of a commit. Offsets in the group are for whoever watches the lag; nobody waits for them."""
JOIN_SECONDS: Final = 60.0
"""How long joining the group may take, at the start and in a rebalance, beside the session timeout: the group waits for
members that are gone until their session ends. Without a deadline nobody would be told of a group that can't be
joined."""
OVERDUE: Final = "the rebalance does not end"


class GroupMember:
    """`ports.Member` on aiokafka.

    Args:
        settings: how to reach Kafka.
        topic: see `ports.Kafka.member`, as all that follows.
        membership: the place in the group.
        begin: decides where partitions begin.
        assigned: called after a rebalance.
        revoked: called after a rebalance that took partitions away.

    Raises:
        SettingsError: the settings for Kafka contradict each other.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        membership: Membership,
        *,
        begin: Begin | None = None,
        assigned: Assigned | None = None,
        revoked: Revoked | None = None,
    ):
        self._settings, self._topic, self._membership = settings, topic, membership
        self._begin, self._assigned, self._revoked = begin, assigned, revoked
        self._places: frozenset[TopicPartition] = frozenset()
        self._held: dict[TopicPartition, int] = {}
        self._holds = 0
        self._patience: asyncio.TimerHandle | None = None
        self._overdue = self._closed = False
        self._seat = Seat(settings, topic, membership, rebalancing=self._begin_patience, seated=self._seated)
        self._reader = ConsumerClient(settings, **_options(membership, "earliest" if begin is None else "none"))

    async def start(self) -> None:
        """See `ports.Member.start`."""
        own = self._membership.own_topic
        async with faults(self._join_seconds):
            await self._reader.start()
            self._reader.begin_by_hand(self._topic if own else None)
            if not own and self._membership.member_id is not None:
                await leave_group(self._settings, self._membership.group, self._membership.member_id)
            await self._seat.start(self._reader.waiters)

    async def close(self, timeout_seconds: float = CLOSE_SECONDS, *, leave: bool = False) -> None:
        """See `ports.Member.close`."""
        self._closed = True  # the client library may begin a rebalance while it ends
        self._end_patience()
        if leave:
            self._seat.leave_for_good()
        await asyncio.gather(close(self._seat, timeout_seconds), close(self._reader, timeout_seconds))

    @property
    def assignment(self) -> frozenset[Place]:
        """See `ports.Member.assignment`."""
        return frozenset(Place(*place) for place in self._places)

    @property
    def silence_seconds(self) -> float:
        """See `ports.Member.silence_seconds`."""
        return self._seat.silence_seconds

    async def take(
        self, timeout_seconds: float, max_records: int | None = None, places: Collection[Place] | None = None
    ) -> dict[Place, Sequence[Record]]:
        """See `ports.Member.take`."""
        if self._overdue:
            raise KafkaFault(OVERDUE)
        with self._seat.in_use():
            if self._begin is not None and self._held:
                await self._decide(self._begin)
            # None at all would mean all of them.
            wanted = () if places is None else [TopicPartition(*place) for place in places or ((self._topic, -1),)]
            try:
                self._seat.check()
                fetched: dict[TopicPartition, Sequence[Record]] = await self._reader.getmany(
                    *wanted, timeout_ms=int(timeout_seconds * 1000), max_records=max_records
                )
            except OffsetOutOfRangeError as error:
                self._hold(self._places & set(error.args[0]))
                return {}
            except KafkaFault:
                raise
            except (KafkaError, OSError) as error:
                raise KafkaFault(repr(error)) from error
        return {Place(*place): records for place, records in fetched.items()}

    def start_at(self, place: Place, offset: int) -> None:
        """See `ports.Member.start_at`."""
        own = TopicPartition(*place)
        if own in self._places:
            self._held.pop(own, None)
            self._reader.seek(own, offset)
            self._reader.resume(own)

    def seek(self, place: Place, offset: int) -> None:
        """See `ports.Member.seek`."""
        if self._is_running(place):
            self._reader.seek(TopicPartition(*place), offset)

    def pause(self, place: Place) -> None:
        """See `ports.Member.pause`."""
        if self._is_running(place):
            self._reader.pause(TopicPartition(*place))

    def resume(self, place: Place) -> None:
        """See `ports.Member.resume`."""
        if self._is_running(place):
            self._reader.resume(TopicPartition(*place))

    def _is_running(self, place: Place) -> bool:
        return place in self._places and place not in self._held

    async def commit(self, offsets: Mapping[Place, int], timeout_seconds: float = COMMIT_SECONDS) -> bool:
        """See `ports.Member.commit`."""
        mine = {TopicPartition(*place): offset for place, offset in offsets.items() if place in self._places}
        if not mine:
            return True
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._seat.commit(mine)
        except (KafkaError, OSError, TimeoutError) as error:
            logger.debug("offsets of %s are not committed: %r", self._topic, error)
            return False
        return True

    async def committed(self, place: Place) -> int:
        """See `ports.Member.committed`."""
        async with faults():
            return await self._seat.committed(TopicPartition(*place))

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """See `ports.Member.limits`."""
        return await self._reader.limits(places)

    def partitions(self) -> int:
        """See `ports.Member.partitions`."""
        return self._seat.partitions

    def highwater(self, place: Place) -> int | None:
        """See `ports.Member.highwater`."""
        return self._reader.highwater(TopicPartition(*place))

    async def _decide(self, begin: Begin) -> None:
        asked = dict(self._held)
        begins = await begin(self, [Place(*place) for place in asked])
        for place, hold in asked.items():
            # One that went away meanwhile, or went and came back, is not decided by this.
            if self._held.get(place) == hold:
                self.start_at(Place(*place), begins[Place(*place)])

    def _hold(self, places: Collection[TopicPartition]) -> None:
        for place in places:
            self._reader.pause(place)
            self._reader.seek(place, 0)  # the client library would not go on where nothing is
            self._note_held(place)

    def _note_held(self, place: TopicPartition) -> None:
        self._holds += 1
        self._held[place] = self._holds

    # What the seat tells

    def _seated(self, places: frozenset[TopicPartition], knows_all: bool) -> None:
        if self._closed:
            return
        self._end_patience()
        kept = self._places & places if knows_all else frozenset()
        gone, new = self._places - kept, places - kept
        self._places = places
        self._reader.change(new=new, gone=gone)
        for place in gone:
            self._held.pop(place, None)
        for place in new:
            self._note_held(place)
        if gone and self._revoked is not None:
            self._revoked(frozenset(Place(*place) for place in gone))
        if self._assigned is not None:
            self._assigned(self.assignment)

    def _begin_patience(self) -> None:
        self._end_patience()
        if not self._closed:
            self._patience = asyncio.get_running_loop().call_later(self._join_seconds, self._lose_patience)

    def _lose_patience(self) -> None:
        self._overdue = True
        self._reader.lose_patience(OVERDUE)

    def _end_patience(self) -> None:
        self._overdue = False
        if self._patience is not None:
            self._patience.cancel()

    @property
    def _join_seconds(self) -> float:
        return JOIN_SECONDS + self._membership.session_timeout_seconds


def _options(membership: Membership, without_offset: str) -> dict[str, Any]:
    """Of the reader, as `AIOKafkaConsumer` takes them."""
    return {
        # Shown by the broker's tools and logs.
        "client_id": membership.group,
        "auto_offset_reset": without_offset,
        "isolation_level": "read_committed" if membership.committed_only else "read_uncommitted",
        "fetch_max_wait_ms": int(membership.fetch_wait_seconds * 1000),
        "fetch_min_bytes": membership.fetch_min_bytes,
        "fetch_max_bytes": membership.fetch_max_bytes,
        "max_partition_fetch_bytes": membership.fetch_max_partition_bytes,
    }
