"""Record batches: what Kafka appends whole or not at all."""

from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from schemas.kafka.errors import BatchTooLarge
from schemas.kafka.ports import Outgoing


def one_batch(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> Any:
    """A batch with all of the records.

    Raises:
        BatchTooLarge: they don't fit.
    """
    batch, count = _fill(producer, records)
    if count < len(records):
        raise BatchTooLarge("the batch is larger than the topic takes")
    return batch


def batches(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> Iterator[Any]:
    """As many batches as the records need, in order."""
    start = 0
    while start < len(records):
        batch, count = _fill(producer, records[start:] if start else records)
        yield batch
        start += count


def _fill(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> tuple[Any, int]:
    """A batch with as many of the records as it takes, at least one, and how many these are."""
    batch = producer.create_batch()
    append = batch.append
    for count, record in enumerate(records):
        appended = append(timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=record.headers)
        if appended is None:
            return batch, count
    batch.close()
    return batch, len(records)
