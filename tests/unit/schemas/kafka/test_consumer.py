"""What our consumers do when partitions are given and taken while they wait for records. Without Kafka.

The client library asserts that a partition is assigned. The consumers here are its own, just never started.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.fetcher import Fetcher, FetchResult, OffsetResetStrategy
from aiokafka.consumer.subscription_state import Subscription, SubscriptionState
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from prometheus_client import CollectorRegistry, Gauge

from projections.log_watch import Look
from projections.metrics import Metrics
from projections.process import Projections
from projections.publisher.metrics import Metrics as PublisherMetrics
from projections.publisher.partition_publisher import PartitionPublisher
from projections.publisher.positions import PublishedPosition
from projections.rows import ReadPosition
from schemas.kafka import KafkaFault, Membership, Place, UnreadableRecords
from schemas.kafka.consumer import ConsumerClient
from schemas.kafka.member import GroupMember
from schemas.kafka.metadata import _MetadataResponse
from schemas.kafka.reader import PartitionReader
from schemas.settings import EngineSettings, ProjectionsSettings
from schemas.topics import EVENTS


class GivenConsumer(ConsumerClient):
    """A consumer that was given partition 1 of a topic, and knows where its end is."""

    def __init__(self, topic: str, highwater: int):
        super().__init__(EngineSettings())
        self._closed = True  # nothing to stop
        self.subscription_state: SubscriptionState = self._subscription
        self.subscription_state.subscribe({topic})
        place = TopicPartition(topic, 1)
        self.subscription_state.assign_from_subscribed({place})
        self.subscription_state._assigned_state(place).highwater = highwater
        self.polls = 0

    async def getmany(self, *_: Any, **__: Any) -> dict[TopicPartition, list[Any]]:
        """Nothing has come; partition 0 went away meanwhile."""
        self.polls += 1
        if self.polls > 1:
            raise asyncio.CancelledError
        return {}

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 50)


@pytest.fixture
async def consumer() -> GivenConsumer:
    return GivenConsumer(EVENTS, 50)


@pytest.fixture
async def member(consumer: GivenConsumer) -> GroupMember:
    member = GroupMember(EngineSettings(), EVENTS, Membership(group="g", session_timeout_seconds=6.0))
    member._reader._closed = True  # nothing to stop
    member._reader = consumer
    member._places = frozenset(consumer.assignment())
    return member


def shown(gauge: Gauge) -> dict[str, float]:
    """The values of a gauge by partition."""
    return {sample.labels["partition"]: sample.value for metric in gauge.collect() for sample in metric.samples}


async def test_projections_show_the_lag_of_what_they_still_have(member: GroupMember) -> None:
    metrics = Metrics(CollectorRegistry())
    projections = Projections(ProjectionsSettings(database_url="postgresql://nowhere"), metrics)
    projections._projector.positions.update({0: ReadPosition(7, 0, -1), 1: ReadPosition(20, 0, -1)})

    async def prune(_: float) -> bool:
        return False

    async def none_missing(_: Any) -> set[int]:
        return set()

    async def none_merged() -> bool:
        return False

    projections._store.prune_rejections = prune  # type: ignore[method-assign,assignment]
    projections._store.merge_counts = none_merged  # type: ignore[method-assign]
    projections._store.not_caught_up = none_missing  # type: ignore[method-assign,assignment]
    await projections._chores(member)
    assert shown(metrics.lag) == {"1": 30.0}


class NoWriter:
    """Opens at the start of the log."""

    async def open(self) -> PublishedPosition:
        return PublishedPosition()

    async def check_not_lost(self) -> None:
        """There was none."""

    async def close(self) -> None:
        """Nothing."""


class NothingWrong:
    """Looks at a log that is as it should be."""

    async def look(self, positions: Mapping[int, PublishedPosition], _: Any) -> Look:
        return Look("", {}, dict.fromkeys(positions, 50), {})

    async def topic_id(self) -> str:
        return ""


@pytest.mark.parametrize("partition", [0, 1])
async def test_a_publisher_outlives_the_loss_of_its_partition(
    consumer: GivenConsumer, member: GroupMember, partition: int
) -> None:
    metrics = PublisherMetrics(CollectorRegistry())
    consumer.seek = lambda *_: None  # type: ignore[method-assign]
    owner = PartitionPublisher(
        Place(EVENTS, partition),
        member,
        NoWriter(),  # type: ignore[arg-type]
        NothingWrong(),  # type: ignore[arg-type]
        metrics,
        advanced=lambda: None,
    )
    with pytest.raises(asyncio.CancelledError):
        await owner.run()
    assert consumer.polls == 2, "it went on"
    assert shown(metrics.lag) == {str(partition): 50.0}, "until the partition is let go"


@pytest.mark.parametrize("ask", [lambda c, p: c.seek(p, 1), ConsumerClient.pause, ConsumerClient.resume])
async def test_nothing_is_asked_of_a_partition_that_was_taken_away(
    consumer: GivenConsumer, ask: Callable[[ConsumerClient, TopicPartition], None]
) -> None:
    gone, kept = TopicPartition(EVENTS, 0), TopicPartition(EVENTS, 1)
    assert (consumer.highwater(gone), consumer.highwater(kept)) == (None, 50)
    with pytest.raises(IllegalStateError):
        ask(consumer, gone)
    # Between two subscriptions the client library has no assignment at all.
    consumer.subscription_state._change_subscription(Subscription({EVENTS}))
    assert consumer.highwater(kept) is None
    with pytest.raises(IllegalStateError):
        ask(consumer, kept)


class OneBroker:
    """Knows of a topic what it is told to, and lists no topics: who may not see one finds it in no list."""

    def __init__(self, code: int, partitions: int):
        self._topic: tuple[Any, ...] = (code, EVENTS, False, [(0, n, 1, 0, [1], [1], []) for n in range(partitions)], 0)

    async def fetch_all_metadata(self) -> ClusterMetadata:
        return ClusterMetadata()

    def get_random_node(self) -> int:
        return 1

    async def send(self, node: int, request: Any) -> Any:
        written = _MetadataResponse(0, [(1, "kafka", 9092, None)], "cluster", 1, [self._topic], 0).encode()
        return _MetadataResponse.decode(written)


async def test_a_topic_that_may_not_be_seen_is_not_one_that_does_not_exist(consumer: GivenConsumer) -> None:
    """Else whoever asks would take the log for one that has nothing to read."""
    reader = PartitionReader(consumer)
    consumer._client = OneBroker(TopicAuthorizationFailedError.errno, 0)
    with pytest.raises(KafkaFault, match="TopicAuthorizationFailed"):
        await reader.partitions(EVENTS)
    consumer._client = OneBroker(UnknownTopicOrPartitionError.errno, 0)
    assert await reader.partitions(EVENTS) == 0
    consumer._client = OneBroker(0, 3)
    assert await reader.partitions(EVENTS) == 3, "it was made just now"


class FailingFetcher:
    """Fails to decode what came."""

    def __init__(self, fault: BaseException):
        self._fault = fault

    error_future = None

    async def fetched_records(self, *_: Any, **__: Any) -> None:
        raise self._fault


class Coordinator:
    def check_errors(self) -> None:
        """None."""


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (ValueError("damaged"), UnreadableRecords),
        (AssertionError("a defect of the library"), UnreadableRecords),
        (CorruptRecordException("wrong checksum"), CorruptRecordException),
        (ConnectionResetError("gone"), ConnectionResetError),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
)
async def test_records_that_the_library_cannot_read_are_a_fault_of_kafka(
    fault: BaseException, raised: type[BaseException]
) -> None:
    """Every process tries those again, by a new consumer that begins where it was, and goes on with its other work."""
    consumer: Any = ConsumerClient(EngineSettings())
    consumer._fetcher, consumer._coordinator = FailingFetcher(fault), Coordinator()
    with pytest.raises(raised):
        await consumer.getmany(timeout_ms=0)
    consumer._closed = True  # nothing to stop


async def test_a_consumer_that_fetches_nothing_any_more_says_so() -> None:
    """By an error that is not Kafka's, the client library's task ends for good, and records would never come."""
    reading = Reading(TopicPartition(EVENTS, 0))
    fetching = reading.consumer._fetcher._fetch_task
    fetching.cancel()
    await asyncio.wait({fetching})
    with pytest.raises(KafkaError, match="fetches nothing any more"):
        await reading.taken()
    await reading.close()


class Reading:
    """A consumer with records of some partitions that were fetched, and no broker."""

    def __init__(self, *places: TopicPartition):
        self.consumer: Any = ConsumerClient(EngineSettings())
        self.consumer._coordinator = Coordinator()
        self.consumer._fetcher = Fetcher(self.consumer._client, self.consumer._subscription)
        self.consumer.assign([])
        self.consumer.change(new=places, gone=())
        for place in places:
            self.consumer.seek(place, 5)
            self.consumer.resume(place)

    def answer(self, *places: TopicPartition) -> None:
        """Two records of each of them come, which were asked for when it was at 5."""
        assignment = self.consumer._subscription.subscription.assignment
        for place in places:
            state = assignment.state_value(place)
            if state.has_valid_position and state.position == 5:  # as aiokafka looks at each answer
                records = Records(5, 7)
                self.consumer._fetcher._records[place] = FetchResult(
                    place, assignment=assignment, partition_records=records, backoff=0.0
                )

    async def taken(self) -> dict[TopicPartition, list[int]]:
        return dict(await self.consumer.getmany(timeout_ms=0))

    async def close(self) -> None:
        await self.consumer._fetcher.close()
        self.consumer._closed = True  # nothing else to stop


class Records:
    """What aiokafka makes of an answer."""

    def __init__(self, start: int, end: int):
        self.next_fetch_offset, self._end = start, end

    def __iter__(self) -> Iterator[int]:
        while self.next_fetch_offset < self._end:
            self.next_fetch_offset += 1
            yield self.next_fetch_offset - 1


async def test_what_stays_goes_on_with_what_was_fetched_of_it() -> None:
    kept, gone, new = (TopicPartition(EVENTS, number) for number in range(3))
    reading = Reading(kept, gone)
    consumer = reading.consumer
    assignment = consumer._subscription.subscription.assignment
    reading.answer(kept, gone)
    consumer.change(new=[new], gone=[gone])
    assert consumer.assignment() == {kept, new}
    assert assignment.active, "the client library begins with none of them again"
    assert await reading.taken() == {kept: [5, 6]}
    assert await consumer.position(kept) == 7
    assert consumer.paused() == {new}
    await reading.close()


async def test_an_answer_for_what_is_gone_is_not_handed_over() -> None:
    kept, gone = (TopicPartition(EVENTS, number) for number in range(2))
    reading = Reading(kept, gone)
    reading.consumer.change(new=[], gone=[gone])
    reading.answer(kept, gone)
    assert await reading.taken() == {kept: [5, 6]}
    reading.consumer.change(new=[gone], gone=[])
    reading.answer(gone)
    assert await reading.taken() == {}, "it is held, and begins elsewhere"
    await reading.close()


async def test_a_partition_that_goes_while_its_offset_is_looked_for_stops_no_other() -> None:
    gone = TopicPartition(EVENTS, 0)
    reading = Reading(gone)
    assignment = reading.consumer._subscription.subscription.assignment
    assignment.state_value(gone).await_reset(OffsetResetStrategy.EARLIEST)
    # While this runs, nothing is asked of the broker that has the partition.
    looking = asyncio.create_task(reading.consumer._fetcher._update_fetch_positions(assignment, 0, [gone]))
    reading.consumer.change(new=[], gone=[gone])
    await asyncio.wait({looking}, timeout=60.0)
    assert looking.done()
    await reading.close()
