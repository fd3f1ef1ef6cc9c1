"""The load that a Kafka is trained with (see `aot`): what our processes do to a broker, for some seconds.

python -m deploy.embedded.training <bootstrap servers>
"""

import asyncio
import contextlib
import sys
import time
from typing import Final

from schemas.kafka import Kafka, KafkaClients, Member, Membership, NewTopic, Place, Producer, TransactionFailed
from schemas.records import NewRecord
from schemas.settings import KafkaSettings

SECONDS: Final = 8.0
"""Long enough for the methods of the hot path to be found: after 3 s some are still missing."""
TOPIC: Final = "training"
PARTITIONS: Final = 4
CLIENTS: Final = 8
COMMIT_EVERY: Final = 50
BATCH_BYTES: Final = 1024 * 1024
STEP_SECONDS: Final = 30.0
"""Deadline of an append. A broker that is trained is slow at first."""
RECORD: Final = NewRecord(b"k" * 36, b"v" * 400, [("h", b"x" * 20)], 0)
"""Of the size of a command."""


async def train(kafka: Kafka) -> None:
    """Append to a topic, one by one and in transactions, and read it as a group."""
    async with kafka.admin() as admin:
        await admin.create([NewTopic(TOPIC, PARTITIONS, 1)])
    end = time.monotonic() + SECONDS
    producer = kafka.producer(TOPIC, max_batch_bytes=BATCH_BYTES, max_request_bytes=BATCH_BYTES, waits=True)
    member = kafka.member(TOPIC, Membership(group=TOPIC, session_timeout_seconds=10.0))
    try:
        await member.start()
        async with asyncio.TaskGroup() as tasks:
            for client in range(CLIENTS):
                tasks.create_task(_append(producer, client % PARTITIONS, end))
            tasks.create_task(_transact(kafka, end))
            tasks.create_task(_read(member, end))
    finally:
        await member.close()
        await producer.close()


async def _append(producer: Producer, partition: int, end: float) -> None:
    loop = asyncio.get_running_loop()
    while time.monotonic() < end:
        await producer.append(TOPIC, partition, RECORD, loop.time() + STEP_SECONDS)


async def _transact(kafka: Kafka, end: float) -> None:
    while time.monotonic() < end:
        transactions = kafka.transactions(TOPIC, open_seconds=STEP_SECONDS, max_batch_bytes=BATCH_BYTES)
        with contextlib.suppress(TransactionFailed):  # a broker that is trained may be too slow at first
            try:
                await transactions.open()
                while time.monotonic() < end:
                    await transactions.commit({Place(TOPIC, 0): [RECORD]})
            finally:
                await transactions.close()


async def _read(member: Member, end: float) -> None:
    read = dict.fromkeys(member.assignment, 0)
    for place in read:
        member.start_at(place, 0)
    polls = 0
    while time.monotonic() < end:
        for place, records in (await member.take(0.25)).items():
            read[place] = records[-1].offset + 1
        polls += 1
        if polls % COMMIT_EVERY == 0:
            await member.commit(read)


if __name__ == "__main__":
    asyncio.run(train(KafkaClients(KafkaSettings(kafka_bootstrap_servers=sys.argv[1]))))
