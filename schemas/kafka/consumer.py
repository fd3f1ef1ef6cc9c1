"""Our consumers: aiokafka's, on our client (see `client`). None of them is in a group, see `seat`."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.errors import IllegalStateError, KafkaError, KafkaTimeoutError

from schemas.kafka import foreign_records  # noqa: F401 - from here on aiokafka reads whatever others have written
from schemas.kafka.client import adopt, ending
from schemas.kafka.errors import UnreadableRecords
from schemas.kafka.faults import faults
from schemas.kafka.options import client_options
from schemas.kafka.ports import Limits, Place
from schemas.settings import KafkaSettings

NOWHERE: Final = -1
"""The position of a partition that is gone: no answer under way is for it, so nothing of it is taken."""


class ConsumerClient(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer. Close it by `closing` or `close`.

    A partition without a position begins at its start. Whatever fails in the client library is an error of Kafka, which
    everybody tries again: its assertions end no process.

    Args:
        settings: how to reach Kafka.
        options: those of `AIOKafkaConsumer`.
    """

    def __init__(self, settings: KafkaSettings, **options: Any):
        defaults = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        super().__init__(**client_options(settings), **{**defaults, **options})
        adopt(self._client)

    async def getmany(self, *partitions: TopicPartition, **options: Any) -> Any:
        """Records that have come, by partition.

        Raises:
            UnreadableRecords: they can't be decoded.
            KafkaError, OSError: Kafka is away or refuses, or nothing is fetched any more.
        """
        fetching = self._fetcher.error_future
        if fetching is not None and fetching.done():
            raise KafkaError(f"aiokafka fetches nothing any more: {ending(fetching)!r}")
        try:
            return await super().getmany(*partitions, **options)
        except (KafkaError, OSError):
            raise
        except Exception as error:
            raise UnreadableRecords(repr(error)) from error

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """What partitions hold now.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """
        own = [TopicPartition(*place) for place in places]
        async with faults():
            oldest = await self.beginning_offsets(own)
            ends = await self.end_offsets(own)
        return {Place(*place): Limits(oldest[place], ends[place]) for place in own}

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Any:
        """Their oldest offsets."""
        await self._meet(partitions)
        return await super().beginning_offsets(partitions)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Any:
        """Where they end."""
        await self._meet(partitions)
        return await super().end_offsets(partitions)

    async def offsets_for_times(self, timestamps: Mapping[TopicPartition, int]) -> Any:
        """Their first records of a time or later."""
        await self._meet(timestamps)
        return await super().offsets_for_times(timestamps)

    async def _meet(self, partitions: Collection[TopicPartition]) -> None:
        """Learn who leads partitions of topics that were not asked for yet.

        The client library does so by itself, one topic at a time, and looks for the outcome a tenth of a second later.
        """
        for topic in {partition.topic for partition in partitions}:
            self._client.add_topic(topic)
        await self._client._maybe_wait_metadata()  # noqa: SLF001 - as its own requests for offsets do

    def highwater(self, partition: TopicPartition) -> int | None:
        """The end of a partition when it was last fetched; None before that, and when it is not assigned any more."""
        return super().highwater(partition) if partition in self.assignment() else None

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on at an offset.

        Raises:
            IllegalStateError: the partition is not assigned any more.
        """
        self._check(partition)
        super().seek(partition, offset)

    def pause(self, *partitions: TopicPartition) -> None:
        """Hand nothing over from partitions.

        Raises:
            IllegalStateError: one is not assigned any more.
        """
        self._check(*partitions)
        super().pause(*partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Hand records of partitions over again.

        Raises:
            IllegalStateError: one is not assigned any more.
        """
        self._check(*partitions)
        super().resume(*partitions)

    @property
    def waiters(self) -> Any:
        """Futures of those who wait for records. One that gets an error raises it from `getmany`."""
        return self._fetcher._fetch_waiters  # noqa: SLF001 - as it gives them to its own coordinator

    def lose_patience(self, text: str) -> None:
        """Have those fail who wait for records.

        Args:
            text: why.
        """
        self._subscription.abort_waiters(KafkaTimeoutError(text))

    def begin_by_hand(self, topic: str | None) -> None:
        """Read what `change` says, by now nothing.

        Args:
            topic: what to keep the metadata of; all topics when not given, of which none is made by being asked for.
        """
        self.assign([])
        if topic is not None:
            self._client.set_topics({topic})

    def change(self, *, new: Collection[TopicPartition], gone: Collection[TopicPartition]) -> None:
        """Read other partitions. Those that stay go on as they are; the new ones are paused.

        `assign` would begin with all of them again: for a new assignment the client library drops all that it has
        fetched and asked for. So the one that there is is changed, which its fetcher looks at each time that it asks.

        Args:
            new: partitions to read.
            gone: partitions that are not read any more.
        """
        assignment, fetcher = self._subscription.subscription.assignment, self._fetcher
        states, fetched = assignment._tp_state, fetcher._records  # noqa: SLF001 - there is no public way to do this
        for place in (*gone, *new):
            states[place] = TopicPartitionState(assignment)
            # With a position, the client library does not look for one by itself. Of what is gone it would never find
            # one, and ask nothing of the broker meanwhile.
            states[place].seek(0 if place in new else NOWHERE)
            fetched.pop(place, None)
        for place in new:
            states[place].pause()
        assignment._topic_partitions = (assignment.tps - set(gone)) | set(new)  # noqa: SLF001
        fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001

    def _check(self, *partitions: TopicPartition) -> None:
        # aiokafka asserts it while it has no assignment at all.
        missing = set(partitions) - self.assignment()
        if missing:
            raise IllegalStateError(f"not assigned: {missing}")
