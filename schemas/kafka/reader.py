"""A reader of partitions, without a group."""

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code

from schemas.kafka.closing import closing
from schemas.kafka.consumer import ConsumerClient
from schemas.kafka.errors import KafkaFault
from schemas.kafka.faults import faults
from schemas.kafka.marks import noting_marks
from schemas.kafka.metadata import MetadataRequest
from schemas.kafka.ports import Limits, Place
from schemas.kafka.span import read_span
from schemas.records import Record
from schemas.settings import KafkaSettings
from schemas.topics import MAX_FETCH_BYTES


@contextlib.asynccontextmanager
async def reading(settings: KafkaSettings, *, committed_only: bool = False) -> AsyncIterator["PartitionReader"]:
    """See `ports.Kafka.reader`."""
    isolation = "read_committed" if committed_only else "read_uncommitted"
    async with closing(
        ConsumerClient(settings, isolation_level=isolation, fetch_max_bytes=MAX_FETCH_BYTES)
    ) as consumer:
        async with faults():
            await consumer.start()
        yield PartitionReader(consumer)


class PartitionReader:
    """`ports.Reader` on aiokafka.

    Args:
        consumer: started; closed elsewhere.
    """

    def __init__(self, consumer: ConsumerClient):
        self._consumer = consumer

    async def partitions(self, topic: str) -> int:
        """See `ports.Reader.partitions`."""
        async with faults():
            client = self._consumer._client  # noqa: SLF001 - it has no public way
            if found := (await client.fetch_all_metadata()).partitions_for_topic(topic):
                return len(found)
            # That leaves out topics that we may not see. Only who asks for one by its name is told so.
            return _partitions(await client.send(client.get_random_node(), MetadataRequest([topic])))

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """See `ports.Reader.limits`."""
        return await self._consumer.limits(places)

    async def ends(self, places: Collection[Place]) -> dict[Place, int]:
        """See `ports.Reader.ends`."""
        async with faults():
            ends = await self._consumer.end_offsets([TopicPartition(*place) for place in places])
        return {Place(*place): end for place, end in ends.items()}

    async def first_since(self, timestamps_ms: Mapping[Place, int]) -> dict[Place, int | None]:
        """See `ports.Reader.first_since`."""
        own = {TopicPartition(*place): timestamp for place, timestamp in timestamps_ms.items()}
        async with faults():
            found = await self._consumer.offsets_for_times(own)
        return {Place(*place): None if first is None else first.offset for place, first in found.items()}

    def read_from(self, offsets: Mapping[Place, int]) -> None:
        """See `ports.Reader.read_from`."""
        own = {TopicPartition(*place): offset for place, offset in offsets.items()}
        if own.keys() != self._consumer.assignment():
            self._consumer.assign(list(own))
        for place, offset in own.items():
            self._consumer.seek(place, offset)

    async def take(self, timeout_seconds: float, max_records: int | None = None) -> dict[Place, Sequence[Record]]:
        """See `ports.Reader.take`."""
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(timeout_seconds * 1000), max_records=max_records)
        except KafkaFault:
            raise
        except (KafkaError, OSError) as error:
            raise KafkaFault(repr(error)) from error
        return {Place(*place): records for place, records in fetched.items()}

    async def position(self, place: Place) -> int:
        """See `ports.Reader.position`."""
        async with faults():
            position: int = await self._consumer.position(TopicPartition(*place))
            return position

    async def marks(self, place: Place, start: int, stop: int) -> frozenset[int]:
        """See `ports.Reader.marks`."""
        with noting_marks(place) as found:
            async for _ in read_span(self, place, start, stop):
                pass
        return frozenset(offset for offset in found if start <= offset < stop)


def _partitions(response: Any) -> int:
    """How many partitions the topic has that a broker was asked about."""
    for code, name, _, partitions, _ in response.topics:
        error = for_code(code)
        if code and error is not UnknownTopicOrPartitionError:
            raise error(name)
        return len(partitions)
    return 0
