"""A member of a consumer group, and the one owner of its consumer.

aiokafka hands records over before the callback that it calls after a rebalance has come to its end. So where a
partition begins is not decided in that callback. There it is held, at once. `take` asks `begin`, or the partition's
owner says it by `start_at`; only then its records come.
"""

import asyncio
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from schemas.kafka.closing import CLOSE_SECONDS, close
from schemas.kafka.consumer import ConsumerClient
from schemas.kafka.errors import KafkaFault
from schemas.kafka.faults import faults
from schemas.kafka.leaving import leave_group
from schemas.kafka.ports import Assigned, Begin, Limits, Membership, Place, Revoked
from schemas.records import Record
from schemas.settings import KafkaSettings

logger = logging.getLogger(__name__)

COMMIT_SECONDS: Final = 2.0
"""Deadline of a commit. Offsets in the group are for whoever watches the lag; nobody waits for them."""
JOIN_SECONDS: Final = 60.0
"""How long joining the group may take at the start, and a rebalance may hold up `take`, beside the session timeout: the
group waits for members that are gone until their session ends. Without a deadline nobody would be told of a group that
can't be joined."""
HEARTBEATS_PER_SESSION: Final = 4
"""So many heartbeats may be lost before the group gives the partitions to others."""
MIN_HEARTBEAT_MS: Final = 100


class GroupMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """`ports.Member` on aiokafka.

    Args:
        settings: how to reach Kafka.
        topic: see `ports.Kafka.member`, as all that follows.
        membership: the place in the group.
        begin: decides where partitions begin.
        assigned: called after a rebalance.
        revoked: called before a rebalance.

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
        self._held: set[TopicPartition] = set()
        self._rebalances = 0
        self._rebalancing = False
        self._patience: asyncio.TimerHandle | None = None
        self._closed = False
        self._consumer = ConsumerClient(settings, **_options(membership, "earliest" if begin is None else "none"))

    async def start(self) -> None:
        """See `ports.Member.start`."""
        async with faults(self._join_seconds):
            if self._membership.own_topic:
                self._consumer.subscribe([self._topic], listener=self)
            else:
                if self._membership.member_id is not None:
                    await leave_group(self._settings, self._membership.group, self._membership.member_id)
                # By a pattern: a consumer that names a topic has the broker make it when it is missing.
                self._consumer.subscribe(pattern=re.escape(self._topic) + r"\Z", listener=self)
            await self._consumer.start()

    async def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """See `ports.Member.close`."""
        self._closed = True  # the client library may begin a rebalance while it ends
        self._end_patience()
        await close(self._consumer, timeout_seconds)

    @property
    def assignment(self) -> frozenset[Place]:
        """See `ports.Member.assignment`."""
        return frozenset(Place(*place) for place in self._consumer.assignment())

    @property
    def silence_seconds(self) -> float:
        """See `ports.Member.silence_seconds`."""
        return self._consumer.silence_seconds

    async def take(
        self, timeout_seconds: float, max_records: int | None = None, places: Collection[Place] | None = None
    ) -> dict[Place, Sequence[Record]]:
        """See `ports.Member.take`."""
        if self._begin is not None and self._held and not self._rebalancing:
            await self._decide(self._begin)
        # None at all would mean all of them.
        wanted = () if places is None else [TopicPartition(*place) for place in places or ((self._topic, -1),)]
        try:
            fetched: dict[TopicPartition, Sequence[Record]] = await self._consumer.getmany(
                *wanted, timeout_ms=int(timeout_seconds * 1000), max_records=max_records
            )
        except OffsetOutOfRangeError as error:
            self._hold(self._consumer.assignment() & set(error.args[0]))
            return {}
        except KafkaFault:
            raise
        except (KafkaError, OSError) as error:
            raise KafkaFault(repr(error)) from error
        return {Place(*place): records for place, records in fetched.items()}

    def start_at(self, place: Place, offset: int) -> None:
        """See `ports.Member.start_at`."""
        own = TopicPartition(*place)
        if own in self._consumer.assignment():
            self._held.discard(own)
            self._consumer.seek(own, offset)
            self._consumer.resume(own)

    def seek(self, place: Place, offset: int) -> None:
        """See `ports.Member.seek`."""
        if self._is_running(place):
            self._consumer.seek(TopicPartition(*place), offset)

    def pause(self, place: Place) -> None:
        """See `ports.Member.pause`."""
        if self._is_running(place):
            self._consumer.pause(TopicPartition(*place))

    def resume(self, place: Place) -> None:
        """See `ports.Member.resume`."""
        if self._is_running(place):
            self._consumer.resume(TopicPartition(*place))

    def _is_running(self, place: Place) -> bool:
        return place in self._consumer.assignment() and place not in self._held

    async def commit(self, offsets: Mapping[Place, int], timeout_seconds: float = COMMIT_SECONDS) -> bool:
        """See `ports.Member.commit`."""
        assignment = self._consumer.assignment()
        mine = {TopicPartition(*place): offset for place, offset in offsets.items() if place in assignment}
        if not mine:  # aiokafka takes that for a mistake
            return True
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._consumer.commit(mine)
        except (KafkaError, OSError, TimeoutError) as error:
            logger.debug("offsets of %s are not committed: %r", self._topic, error)
            return False
        return True

    async def committed(self, place: Place) -> int:
        """See `ports.Member.committed`."""
        async with faults():
            return await self._consumer.committed(TopicPartition(*place)) or 0

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """See `ports.Member.limits`."""
        return await self._consumer.limits(places)

    def partitions(self) -> int:
        """See `ports.Member.partitions`."""
        return len(self._consumer.partitions_for_topic(self._topic) or ())

    def highwater(self, place: Place) -> int | None:
        """See `ports.Member.highwater`."""
        return self._consumer.highwater(TopicPartition(*place))

    async def _decide(self, begin: Begin) -> None:
        rebalances, places = self._rebalances, frozenset(self._held)
        begins = await begin(self, [Place(*place) for place in places])
        if rebalances != self._rebalances or not places <= self._consumer.assignment():
            return  # partitions were taken away or given meanwhile, which is decided at the next call
        for place in places:
            self._consumer.seek(place, begins[Place(*place)])
            self._consumer.resume(place)
        self._held -= places

    def _hold(self, places: Collection[TopicPartition]) -> None:
        for place in places:
            # At an offset, so that the client does not look for one by itself.
            self._consumer.pause(place)
            self._consumer.seek(place, 0)
        self._held |= set(places)

    def _begin_patience(self) -> None:
        if self._closed:
            return
        # One timer for each rebalance costs nothing; a deadline around each `take` would be most of what it costs.
        self._patience = asyncio.get_running_loop().call_later(self._join_seconds, self._lose_patience)

    def _lose_patience(self) -> None:
        self._consumer.lose_patience()
        self._begin_patience()  # for a `take` that comes later

    @property
    def _join_seconds(self) -> float:
        return JOIN_SECONDS + self._membership.session_timeout_seconds

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    # Listener of the group

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Decide nothing before it is known which ones come back."""
        self._rebalances += 1
        self._rebalancing = True
        self._end_patience()
        self._begin_patience()
        if self._revoked is not None and revoked:
            await self._revoked()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Hand nothing over before it is decided where they begin."""
        self._rebalances += 1
        self._rebalancing = False
        self._end_patience()
        self._held = set()
        self._hold(assigned)
        if self._assigned is not None:
            self._assigned(frozenset(Place(*place) for place in assigned))


def _options(membership: Membership, without_offset: str) -> dict[str, Any]:
    """As `AIOKafkaConsumer` takes them."""
    session_ms = int(membership.session_timeout_seconds * 1000)
    rebalance = membership.rebalance_timeout_seconds
    return {
        "group_id": membership.group,
        # Shown by the broker's tools and logs.
        "client_id": membership.group,
        "group_instance_id": membership.member_id,
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": max(session_ms // HEARTBEATS_PER_SESSION, MIN_HEARTBEAT_MS),
        "rebalance_timeout_ms": None if rebalance is None else int(rebalance * 1000),
        "max_poll_interval_ms": int(membership.max_idle_seconds * 1000),
        "partition_assignment_strategy": (StickyPartitionAssignor,),
        "auto_offset_reset": without_offset,
        "isolation_level": "read_committed" if membership.committed_only else "read_uncommitted",
        "fetch_max_wait_ms": int(membership.fetch_wait_seconds * 1000),
        "fetch_min_bytes": membership.fetch_min_bytes,
        "fetch_max_bytes": membership.fetch_max_bytes,
        "max_partition_fetch_bytes": membership.fetch_max_partition_bytes,
    }
