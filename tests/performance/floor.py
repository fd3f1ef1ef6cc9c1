"""The floor: what Kafka and Postgres alone take from one bare asyncio loop, without anything of ours.

For each request one record is produced to Kafka, read back, and its row upserted and notified; whoever waits for it is
woken by the notification. Requests under way at the same time share batches and transactions, as everything here does.
"""

import asyncio
import contextlib
import time
import uuid
from types import TracebackType
from typing import Any, Self

import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.bench.figures import Figures

UPSERT = """
with rows as (
    insert into floor (id, at) select unnest(%s::text[]), now() on conflict (id) do update set at = now() returning id
) select pg_notify('floor', string_agg(id, ' ')) from rows
"""
MAX_RECORDS = 200  # their ids fit into one notification


class Floor:
    """Bare clients of Kafka and Postgres.

    Args:
        bootstrap_servers: the Kafka to use.
        database_url: the Postgres to use.
        clients: how many requests are under way at the same time.
    """

    def __init__(self, bootstrap_servers: str, database_url: str, clients: int):
        self._servers, self._url, self._clients = bootstrap_servers, database_url, clients
        self._topic = f"floor-{uuid.uuid4()}"
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        await admin.create_topics([NewTopic(self._topic, 1, 1)])
        await admin.close()
        self._producer = AIOKafkaProducer(bootstrap_servers=self._servers, enable_idempotence=True, acks="all")
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers, auto_offset_reset="earliest")
        for client in (self._producer, consumer):
            await client.start()
            self._stack.push_async_callback(client.stop)
        consumer.assign([TopicPartition(self._topic, 0)])
        writer, listener = [await psycopg.AsyncConnection.connect(self._url, autocommit=True) for _ in range(2)]
        self._stack.push_async_callback(writer.close)
        self._stack.push_async_callback(listener.close)
        await writer.execute("create table if not exists floor (id text primary key, at timestamptz)")
        await writer.execute("set synchronous_commit = off")
        await listener.execute("listen floor")
        self._tasks = [asyncio.create_task(self._write(consumer, writer)), asyncio.create_task(self._listen(listener))]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def measure(self, seconds: float) -> Figures:
        """One round."""
        latencies: list[float] = []
        end = time.perf_counter() + seconds

        async def client(number: int) -> None:
            count = 0
            while (start := time.perf_counter()) < end:
                count += 1
                name = f"{number}-{count}"
                waiting = self._waiting[name] = asyncio.get_running_loop().create_future()
                await self._producer.send_and_wait(self._topic, value=name.encode(), partition=0)
                await waiting
                latencies.append(time.perf_counter() - start)

        start = time.perf_counter()
        await asyncio.gather(*map(client, range(self._clients)))
        return Figures(f"floor, {self._clients} clients", latencies, time.perf_counter() - start)

    async def _write(self, consumer: AIOKafkaConsumer, writer: psycopg.AsyncConnection[Any]) -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=MAX_RECORDS)).values():
                await writer.execute(UPSERT, [[record.value.decode() for record in records]], prepare=True)

    async def _listen(self, listener: psycopg.AsyncConnection[Any]) -> None:
        async for notification in listener.notifies():
            for name in notification.payload.split():
                self._waiting.pop(name).set_result(None)
