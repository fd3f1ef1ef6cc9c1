"""Topic `snapshots` on Kafka: a writer of transactions for each partition, and a reader for restores.

The writers of a partition have one transactional id, so opening one shuts out those of earlier owners for good, also
one that wakes up years later. What such a one had appended without a commit is aborted by then.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from engine.errors import ReadFailed, SnapshotFailed, SnapshotFenced
from schemas.encryption_marks import KeyMissing, check_opened
from schemas.kafka import Fenced, Kafka, KafkaFault, KeptReader, Place, Transactions, read_span, search_tail
from schemas.log_integrity import key_missing
from schemas.records import NewRecord, Record
from schemas.settings import EngineSettings
from schemas.topics import SNAPSHOTS, topic_name

TRANSACTIONAL_ID: Final = "orchestration-snapshots-"
"""Followed by the partition."""

OPEN_SECONDS: Final = 5.0
"""Deadline of opening a writer. A takeover waits for it, so a Kafka that is slow with transactions must not hold up the
partition: it goes on without snapshots for now."""

UNFINISHED_SECONDS: Final = 300.0
"""When Kafka aborts a transaction by itself. Longer than the longest snapshot takes to be written. Kafka allows at most
15 minutes, if nobody has changed that."""

BATCH_BYTES: Final = 512 * 1024
"""Size of the record batches in a transaction. A batch is built in one go, and the event loop waits for it."""

LAST_SECONDS: Final = 30.0
"""Deadline of the search for the last record; without it a broken connection would hang a takeover."""

TAKE_RECORDS: Final = 500
"""Records that are decoded in one go, a few milliseconds."""


class KafkaSnapshots:
    """`engine.ports.Snapshots` on Kafka.

    Args:
        kafka: where the topic is.
        settings: its prefix.
    """

    def __init__(self, kafka: Kafka, settings: EngineSettings):
        self._kafka = kafka
        self._topic = topic_name(settings, SNAPSHOTS)
        self._name = f"{settings.topic_prefix}{TRANSACTIONAL_ID}"
        self._finder, self._asker = kafka.topic_finder(), KeptReader(kafka, committed_only=True)

    async def close(self) -> None:
        """Close the connections that are kept for questions."""
        self._finder.close()
        await self._asker.close()

    async def open(self, partition: int) -> "KafkaSnapshotWriter":
        """See `Snapshots.open`."""
        place = Place(self._topic, partition)
        transactions = self._kafka.transactions(
            f"{self._name}{partition}", open_seconds=UNFINISHED_SECONDS, max_batch_bytes=BATCH_BYTES
        )
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                if not await self._exists(place):
                    raise KafkaFault("it does not exist: create it by `orchestration topics create`")
                await transactions.open()
        except BaseException as error:
            await transactions.close()
            if isinstance(error, KafkaFault | TimeoutError):
                raise SnapshotFailed(f"no writer of {place.topic}/{partition} could be opened: {error!r}") from error
            raise
        return KafkaSnapshotWriter(transactions, place)

    async def read(self, partition: int) -> AsyncIterator[Sequence[Record]]:
        """See `Snapshots.read`."""
        place = Place(self._topic, partition)
        try:
            if not await self._exists(place):
                return
            async with self._kafka.reader(committed_only=True) as reader:
                oldest, end = (await reader.limits([place]))[place]
                async for records in read_span(reader, place, oldest, end, TAKE_RECORDS):
                    for record in records:
                        self._check(partition, record)
                    yield records
        except KafkaFault as error:
            raise ReadFailed(f"partition {partition} of {self._topic}: {error!r}") from error

    async def last(self, partition: int) -> Record | None:
        """See `Snapshots.last`."""
        place = Place(self._topic, partition)
        try:
            if not await self._exists(place):
                return None
            async with asyncio.timeout(LAST_SECONDS), self._asker.use() as reader:
                record = await search_tail(reader, place, lambda found, record: record, ends_with_mark=True)
                if record is not None:
                    self._check(partition, record)
                return record
        except (KafkaFault, TimeoutError) as error:
            raise ReadFailed(f"partition {partition} of {self._topic}: {error!r}") from error

    def _check(self, partition: int, record: Record) -> None:
        """Check that a record could be opened: its snapshot must not be taken for one that nobody can read.

        Raises:
            LogFault: `key`.
        """
        try:
            check_opened(record.headers, record.offset)
        except KeyMissing as error:
            raise key_missing(SNAPSHOTS, partition, error) from error

    async def _exists(self, place: Place) -> bool:
        """Whether there is such a partition. To ask in other ways would have Kafka make the topic, uncompacted."""
        found = await self._finder.find(place.topic)
        return found is not None and place.partition < found.partitions


class KafkaSnapshotWriter:
    """`engine.ports.SnapshotWriter` on Kafka.

    Args:
        transactions: open.
        place: the partition that it writes to.
    """

    def __init__(self, transactions: Transactions, place: Place):
        self._transactions, self._place = transactions, place

    async def append(self, records: Sequence[NewRecord]) -> int:
        """See `SnapshotWriter.append`."""
        try:
            return (await self._transactions.append({self._place: records}))[self._place]
        except KafkaFault as error:
            raise self._failed(error) from error

    async def commit(self) -> None:
        """See `SnapshotWriter.commit`."""
        try:
            await self._transactions.commit()
        except KafkaFault as error:
            raise self._failed(error) from error

    async def close(self) -> None:
        """See `SnapshotWriter.close`."""
        await self._transactions.close()

    def _failed(self, error: KafkaFault) -> SnapshotFailed:
        kind = SnapshotFenced if isinstance(error, Fenced) else SnapshotFailed
        return kind(f"partition {self._place.partition} of {self._place.topic}: {error}")
