"""A seat in a consumer group: it tells which partitions a member has, and fetches nothing.

aiokafka's consumer is the member and the reader in one, and reads nothing while a rebalance is under way: not even what
it keeps, for as long as the group waits for a member that is gone. This is its member alone: aiokafka's coordinator, on
a client of its own and with no fetcher. Who reads is `member`'s business.
"""

import asyncio
import contextlib
import logging
import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.structs import OffsetAndMetadata

from schemas.kafka.client import adopt, retrieve
from schemas.kafka.errors import NameTaken
from schemas.kafka.options import client_options
from schemas.kafka.ports import Membership
from schemas.kafka.static_members import NAME_TAKEN, NOT_READY, LeaveRequest, NamedHeartbeatRequest
from schemas.settings import KafkaSettings

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.1
"""Pause before the coordinator is asked again; without it one that is not ready would be asked in a tight loop."""

METADATA_MS: Final = 10_000
"""How often the group looks whether its topic has other partitions. By default that is every five minutes. For so long
nobody would have a partition of a topic that was deleted and created again."""

Seated = Callable[[frozenset[TopicPartition], bool], None]
"""Is told of all partitions that a seat has after a rebalance, and whether it knows all that happened since it was told
before: else each of them may have been another's meanwhile."""


class Seat(ConsumerRebalanceListener):  # type: ignore[misc]
    """A seat in a group. Close it by `closing.close`.

    Args:
        settings: how to reach Kafka.
        topic: see `ports.Kafka.member`.
        membership: likewise.
        rebalancing: called when a rebalance begins.
        seated: called at its end.

    Raises:
        SettingsError: the settings for Kafka contradict each other.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        membership: Membership,
        *,
        rebalancing: Callable[[], None],
        seated: Seated,
    ):
        self._topic, self._membership = topic, membership
        self._rebalancing, self._seated = rebalancing, seated
        # The name is shown by the broker's tools and logs.
        self._client = AIOKafkaClient(
            client_id=membership.group, metadata_max_age_ms=METADATA_MS, **client_options(settings)
        )
        adopt(self._client)
        self._subscription = _Subscription()
        self._subscription.register_fetch_waiters(set())
        self._coordinator: _Coordinator | None = None
        self._has_joined = asyncio.Event()

    async def start(self, waiters: Collection["asyncio.Future[Any]"]) -> None:
        """Join the group, and return when it has given partitions.

        Args:
            waiters: of who reads; they end with an error when the seat is lost.

        Raises:
            NameTaken: another member has the name already.
            KafkaError, OSError: Kafka is away or refuses.
        """
        self._subscription.register_fetch_waiters(waiters)
        if self._membership.own_topic:
            self._subscription.subscribe({self._topic}, self)
            self._client.set_topics({self._topic})
        else:
            # By a pattern: a client that names a topic has the broker make it when it is missing.
            self._subscription.subscribe_pattern(re.compile(re.escape(self._topic) + r"\Z"), self)
        await self._client.bootstrap()
        if self._membership.own_topic:
            await self._client._wait_on_metadata(self._topic)  # noqa: SLF001 - as aiokafka's consumer does
        self._coordinator = _Coordinator(self._client, self._subscription, self._membership)
        await self._subscription.wait_for_assignment()
        await self._has_joined.wait()

    async def stop(self) -> None:
        """Leave the group, unless the seat is kept; for `closing.close`."""
        if self._coordinator is not None:
            await self._coordinator.close()
        await self._client.close()

    def leave_for_good(self) -> None:
        """Have `stop` give a seat up that has a name."""
        if self._coordinator is not None:
            self._coordinator.leaves = True

    @property
    def silence_seconds(self) -> float:
        """How long ago this was a member for certain: since it sent what the group answered last."""
        return time.monotonic() - (-math.inf if self._coordinator is None else self._coordinator.heard_at)

    @property
    def partitions(self) -> int:
        """How many partitions the topic has; 0 when that is not known."""
        return len(self._client.cluster.partitions_for_topic(self._topic) or ())

    def check(self) -> None:
        """Raise what is wrong.

        Raises:
            NameTaken: another member has the name now.
            KafkaError: Kafka refuses.
        """
        if self._coordinator is not None:
            self._coordinator.check_errors()

    def in_use(self) -> AbstractContextManager[None]:
        """Somebody takes what the seat brings. One that is not used for long is given up."""
        return self._subscription.fetch_context()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell the group how far partitions are.

        Raises:
            KafkaError, OSError: Kafka is away or refuses.
        """
        if self._coordinator is not None:
            given = {place: OffsetAndMetadata(offset, "") for place, offset in offsets.items()}
            await self._coordinator.commit_offsets(None, given)

    async def committed(self, place: TopicPartition) -> int:
        """How far the group was told that a partition is; 0 where it was not.

        Raises:
            KafkaError, OSError: Kafka is away or refuses.
        """
        if self._coordinator is None:
            return 0
        found = (await self._coordinator.fetch_committed_offsets([place])).get(place)
        return 0 if found is None else found.offset

    # Listener of the group

    def on_partitions_revoked(self, _: Collection[TopicPartition]) -> None:
        """A rebalance begins."""
        self._rebalancing()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """A rebalance is over."""
        self._seated(frozenset(assigned), self._coordinator is not None and self._coordinator.knows_all)
        self._has_joined.set()


class _Subscription(SubscriptionState):  # type: ignore[misc]
    @contextlib.contextmanager
    def fetch_context(self) -> Iterator[None]:
        """Like aiokafka's, which never ends after an error."""
        self._fetch_count += 1
        try:
            yield
        finally:
            self._fetch_count -= 1
            if not self._fetch_count:
                self._last_fetch_ended = time.monotonic()


class _NameTaken(NameTaken, KafkaError):  # type: ignore[misc]
    """It passes through aiokafka as one of its own errors."""


class _Coordinator(GroupCoordinator):  # type: ignore[misc]
    leaves = False
    """Whether the seat is given up at the end though it has a name."""
    heard_at = -math.inf
    """When the last heartbeat that was answered was sent, or the group was joined."""
    knows_all = False
    """See `Seated`."""

    def __init__(self, client: AIOKafkaClient, subscription: SubscriptionState, membership: Membership):
        self._given_up: tuple[int, str] | None = None
        self._name_asked_for = False
        """Whether the name was free since. If the group does not answer a join, it may be another's or this one's."""
        self._known_generation = -1
        self._name_taken = False
        super().__init__(
            client,
            subscription,
            group_id=membership.group,
            group_instance_id=membership.member_id,
            session_timeout_ms=int(membership.session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(membership.heartbeat_seconds * 1000),
            rebalance_timeout_ms=int(membership.rebalance_seconds * 1000),
            max_poll_interval_ms=int(membership.max_idle_seconds * 1000),
            enable_auto_commit=False,
            assignors=(_assignor(),),
        )

    # Being in the group

    async def _do_heartbeat(self) -> bool:
        sent_at = time.monotonic()
        is_member: bool = await super()._do_heartbeat()
        if is_member:
            self.heard_at = sent_at
        return is_member

    async def _do_rejoin_group(self, subscription: Any) -> bool:
        if self._group_instance_id is not None and self._given_up is not None and not self._name_asked_for:
            if not await self._may_join_again():
                await asyncio.sleep(RETRY_SECONDS)
                return False
            self._name_asked_for = True
        joined: bool = await super()._do_rejoin_group(subscription)
        self._raise_if_taken()  # aiokafka takes errors of a request for a lost connection
        if joined:
            self.heard_at = time.monotonic()
            self._given_up = None
        return joined

    async def _may_join_again(self) -> bool:
        """Whether the name is free, or still this member's; False when the group does not answer.

        Raises:
            NameTaken: another member has it.
        """
        generation, kafka_id = self._given_up or (-1, "")
        request = NamedHeartbeatRequest(self.group_id, generation, kafka_id, self._group_instance_id)
        try:
            response = await self._send_req(request)
        except NameTaken:
            raise
        except KafkaError:
            return False
        if for_code(response.error_code) in NOT_READY:
            self.coordinator_dead()
            return False
        return True

    def _raise_if_taken(self) -> None:
        if self._name_taken:
            raise _NameTaken(self._group_instance_id)

    async def _send_req(self, request: Any) -> Any:
        response = await super()._send_req(request)
        self._name_taken |= getattr(response, "error_code", 0) == NAME_TAKEN
        self._raise_if_taken()
        return response

    def reset_generation(self) -> None:
        """The group does not know this member any more."""
        if self.generation > 0:
            self._given_up, self._name_asked_for = (self.generation, self.member_id), False
        super().reset_generation()

    async def _on_join_complete(self, generation: int, *given: Any) -> None:
        self.knows_all = self._given_up is None and generation - self._known_generation <= 1
        self._known_generation = generation
        # aiokafka forgets it. Without it, what a member had long ago counts as much as what others have now.
        self._assignors[0].on_generation_assignment(generation)
        await super()._on_join_complete(generation, *given)

    async def _maybe_leave_group(self) -> None:
        if self.leaves and self.generation > 0 and self._group_instance_id is not None:
            with contextlib.suppress(KafkaError):
                if await self._has_company():
                    await self._send_req(LeaveRequest(self.group_id, self._group_instance_id, self.member_id))
        await super()._maybe_leave_group()

    async def _has_company(self) -> bool:
        """Whether anybody else is in the group, or that is not known."""
        response = await self._send_req(DescribeGroupsRequest([self.group_id]))
        error, *_, members = response.groups[0][:6]
        return bool(error) or any(member[0] != self.member_id for member in members)

    async def _do_commit_offsets(self, *arguments: Any) -> None:
        # Runs in a task that is shielded: after whoever commits has given up, nobody would look at its error.
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(retrieve)
        await super()._do_commit_offsets(*arguments)


def _assignor() -> type[StickyPartitionAssignor]:
    """An assignor of one member. aiokafka's keeps in the class what the member has, as if a process had one alone."""

    class Assignor(StickyPartitionAssignor):  # type: ignore[misc]
        pass

    return Assignor
