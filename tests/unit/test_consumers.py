"""What our consumers do when the group takes a partition away while they wait for records. Without Kafka.

The client library asserts that a partition is assigned. The consumers here are its own, just never started.
"""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from prometheus_client import CollectorRegistry, Gauge

from engine.command_feed import KafkaCommandFeed
from engine.metrics import Metrics as EngineMetrics
from projections.metrics import Metrics
from projections.process import Projections
from projections.publisher.metrics import Metrics as PublisherMetrics
from projections.publisher.partition import Partition
from projections.publisher.positions import Position
from projections.rows import Progress
from schemas.settings import EngineSettings, ProjectionsSettings
from schemas.topics import COMMANDS, EVENTS


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer that was given partition 1 of a topic, and knows where its end is."""

    def __init__(self, topic: str, highwater: int):
        super().__init__()
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

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def commit(self, offsets: Any = None) -> None:
        """Fine."""


@pytest.fixture
async def consumer() -> Consumer:
    return Consumer(EVENTS, 50)


def shown(gauge: Gauge) -> dict[str, float]:
    """The values of a gauge by partition."""
    return {sample.labels["partition"]: sample.value for metric in gauge.collect() for sample in metric.samples}


async def test_projections_show_the_lag_of_what_they_still_have(consumer: Consumer) -> None:
    metrics = Metrics(CollectorRegistry())
    projections = Projections(ProjectionsSettings(database_url="postgresql://nowhere"), metrics)
    projections._projector.progress.update({0: Progress(7, 0, -1), 1: Progress(20, 0, -1)})

    async def prune(_: float) -> bool:
        return False

    async def none_missing(_: Any) -> set[int]:
        return set()

    projections._store.prune_rejections = prune  # type: ignore[method-assign,assignment]
    projections._store.not_caught_up = none_missing  # type: ignore[method-assign,assignment]
    await projections._chores(consumer)
    assert shown(metrics.lag) == {"1": 30.0}


class NoTransactions:
    """Opens at the start of the log."""

    async def open(self) -> Position:
        return Position()

    async def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(("partition", "lag"), [(0, {}), (1, {"1": 50.0})])
async def test_a_publisher_outlives_the_loss_of_its_partition(
    consumer: Consumer, partition: int, lag: dict[str, float]
) -> None:
    metrics = PublisherMetrics(CollectorRegistry())
    place = TopicPartition(EVENTS, partition)
    consumer.seek = lambda *_: None
    owner = Partition(place, consumer, NoTransactions(), metrics)  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await owner.run()
    assert consumer.polls == 2, "it went on"
    assert shown(metrics.lag) == lag


async def test_an_engine_shows_the_lag_of_what_it_still_has() -> None:
    metrics = EngineMetrics(CollectorRegistry())
    feed = KafkaCommandFeed(EngineSettings(), metrics)
    feed._done = {0: 7, 1: 20}
    await feed._commit(Consumer(COMMANDS, 50))
    assert shown(metrics.command_lag) == {"1": 30.0}
