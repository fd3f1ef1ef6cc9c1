"""What the tests of the projections share: a log to write to, and short ways to fill the read model."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from aiokafka import AIOKafkaProducer
from psycopg import sql

from deploy.topics import create_topics
from projections.database import connect
from projections.errors import StoreAway
from projections.migrate import migrate
from projections.postgres_connection import PostgresConnection
from projections.rebuild import rebuild
from projections.rows import ReadPosition
from projections.store import PostgresStore
from schemas import events
from schemas.kafka import KafkaFault
from schemas.records import NewRecord, RecordCodec
from schemas.settings import PostgresSettings, ProjectionsSettings
from schemas.topics import EVENTS, topic_name
from tests.happened import START, next_batch
from tests.integration.waiting import DEADLINE_SECONDS, eventually


@asynccontextmanager
async def prepared(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, database_schema: str, **overrides: Any
) -> AsyncIterator[ProjectionsSettings]:
    """Settings whose topics and schema are made; the schema is dropped in the end.

    Args:
        kafka_bootstrap_servers: of the Kafka to use.
        database_url: of the Postgres to use.
        topic_prefix: of this test.
        database_schema: of this test.
        overrides: settings that differ from the defaults.
    """
    settings = ProjectionsSettings(
        kafka_bootstrap_servers=kafka_bootstrap_servers,
        topic_prefix=topic_prefix,
        database_url=database_url,
        database_schema=database_schema,
        **overrides,
    )
    await create_topics(settings)
    migrate(settings)
    yield settings
    Tables(settings).drop()


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds():  # noqa: ASYNC110 - Postgres and Kafka set no event
            await asyncio.sleep(0.01)


async def rebuilt(settings: ProjectionsSettings) -> None:
    """Rebuild the read model; again, as whoever runs it does, if a service was too slow for it."""

    async def tried() -> bool:
        try:
            await rebuild(settings)
        except (KafkaFault, StoreAway, TimeoutError, psycopg.OperationalError):
            return False
        return True

    await eventually(tried)


class Tables:
    """The read model as SQL sees it."""

    def __init__(self, settings: ProjectionsSettings):
        self._settings = settings

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._settings.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self._settings.database_schema)))
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def positions(self) -> dict[int, tuple[int, int, int]]:
        rows = self.rows("SELECT partition, next_offset, epoch, cause FROM positions")
        return {partition: (next_offset, epoch, cause) for partition, next_offset, epoch, cause in rows}

    def cut_connections(self, name: str) -> int:
        """End connections by their application name, as a restart of Postgres would; how many there were."""
        pids = self.rows(f"SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'orchestration {name}'")  # noqa: S608
        return len([self.rows(f"SELECT pg_terminate_backend({pid})") for (pid,) in pids])

    def catch_up(self) -> None:
        """Let readers in, as projections do that have caught up."""
        self.rows("INSERT INTO caught_up SELECT 0, 1, pg_postmaster_start_time(), 'caught_up'::regclass")

    def drop(self) -> None:
        for suffix in ("", "_rebuild", "_replaced"):
            self.rows(f'DROP SCHEMA IF EXISTS "{self._settings.database_schema}{suffix}" CASCADE')


@asynccontextmanager
async def planning(
    settings: PostgresSettings, statistics: str, parameters: Mapping[str, str]
) -> AsyncIterator[PostgresConnection]:
    """A connection that plans with these parameters, on tables with these statistics."""
    connection = await connect(settings, "test", statement_timeout_seconds=20.0, parameters=parameters)
    await connection.execute(statistics.encode())
    yield connection
    await connection.close()


class Writer:
    """Puts events into the read model as the projections do, without a log."""

    def __init__(self, settings: ProjectionsSettings):
        self.store = PostgresStore(settings)

    async def write(
        self, *happened: tuple[uuid.UUID, Any], partition: int = 0, cause: int | None = None
    ) -> ReadPosition:
        """One batch; returns where the partition is now."""
        batch, after = await next_batch(self.store, happened, partition, cause)
        await self.store.write(batch)
        return after


class Log:
    """Topic `events`, written as an engine would."""

    def __init__(self, settings: ProjectionsSettings):
        self._settings = settings
        self._topic = topic_name(settings, EVENTS)
        self._codec = RecordCodec()
        self._producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks="all")
        self.epochs: dict[int, int] = {}
        self.ends: dict[int, int] = {}

    async def __aenter__(self) -> "Log":
        await self._producer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._producer.stop()

    async def claim(self, partition: int) -> int:
        event = events.PartitionClaimed(at=START, owner="engine")
        self.epochs[partition] = await self.put(partition, self._codec.encode("claim", event, timestamp_ms=0))
        return self.epochs[partition]

    async def append(
        self, partition: int, id: uuid.UUID | str, *happened: Any, cause: int | None = None, epoch: int | None = None
    ) -> None:
        if partition not in self.epochs:
            await self.claim(partition)
        epoch = self.epochs[partition] if epoch is None else epoch
        records = [
            self._codec.encode(str(id), event, timestamp_ms=0, version=version, cause=cause, epoch=epoch)
            for version, event in enumerate(happened, start=1)
        ]
        await self.put(partition, *records)

    async def put(self, partition: int, *records: NewRecord) -> int:
        """Append records in one batch; the offset of the first."""
        batch = self._producer.create_batch()
        for record in records:
            assert batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
        batch.close()
        sent = await (await self._producer.send_batch(batch, self._topic, partition=partition))
        self.ends[partition] = sent.offset + len(records)
        offset: int = sent.offset
        return offset
