"""The load that a Kafka is trained with (see `aot`): what our processes do to a broker, for some seconds.

python -m deploy.embedded.training <bootstrap servers>
"""

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

SECONDS = 8.0
"""Long enough for the methods of the hot path to be found; after 3 s some are missing still."""
TOPIC = "training"
PARTITIONS = 4
CLIENTS = 8
COMMIT_EVERY = 50
RECORD = {"key": b"k" * 36, "value": b"v" * 400, "headers": [("h", b"x" * 20)]}
"""Of the size of a command."""


async def train(bootstrap_servers: str) -> None:
    """Append to a topic, one by one and in transactions, and read it as a group."""
    servers = {"bootstrap_servers": bootstrap_servers}
    admin = AIOKafkaAdminClient(**servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    finally:
        await admin.close()
    end = time.monotonic() + SECONDS
    async with (
        AIOKafkaProducer(**servers, enable_idempotence=True, acks="all") as producer,
        AIOKafkaProducer(**servers, transactional_id=TOPIC) as transactions,
        AIOKafkaConsumer(
            TOPIC, **servers, group_id=TOPIC, enable_auto_commit=False, auto_offset_reset="earliest"
        ) as consumer,
        asyncio.TaskGroup() as tasks,
    ):
        for client in range(CLIENTS):
            tasks.create_task(_append(producer, client % PARTITIONS, end))
        tasks.create_task(_transact(transactions, end))
        tasks.create_task(_read(consumer, end))


async def _append(producer: AIOKafkaProducer, partition: int, end: float) -> None:
    while time.monotonic() < end:
        await producer.send_and_wait(TOPIC, partition=partition, **RECORD)


async def _transact(producer: AIOKafkaProducer, end: float) -> None:
    while time.monotonic() < end:
        async with producer.transaction():
            await producer.send_and_wait(TOPIC, **RECORD)


async def _read(consumer: AIOKafkaConsumer, end: float) -> None:
    polls = 0
    while time.monotonic() < end:
        await consumer.getmany(timeout_ms=250)
        polls += 1
        if polls % COMMIT_EVERY == 0:
            await consumer.commit()


if __name__ == "__main__":
    asyncio.run(train(sys.argv[1]))
