"""The way through a rebuild, and the swap."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec
import psycopg
from psycopg import sql

from projections.database import LIFT_LIMITS, connect
from projections.errors import RebuildInProgress, StoreAway
from projections.migrate import CLAIM_REBUILD, check_known, migrate, shipped
from projections.postgres_connection import PostgresConnection
from projections.rebuild import indexes
from projections.rebuild.held import applied_migrations, check_log, live_positions
from projections.rebuild.replay import OnProgress, Replay, replaying
from projections.retention import retention_days
from schemas.kafka import clients_of
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, topic_name

logger = logging.getLogger(__name__)

STATEMENT_TIMEOUT_SECONDS: Final = 60.0
"""Deadline of one statement, on the server. To drop a large schema takes longer than other statements."""
MAX_LOCKED_SECONDS: Final = 3.0
"""How long the live projections are held up; past it they go on, and the swap is tried again later."""
DROP_ATTEMPTS: Final = 5
"""Tries to drop a schema. A drop locks many tables, and may meet a statement that locks them in another order."""
MAX_SWAPS: Final = 20
"""Tries to swap; one is enough unless Kafka or Postgres are hardly working."""


async def rebuild(
    settings: ProjectionsSettings,
    progress: OnProgress | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> None:
    """Rebuild the read model of these settings. Until the swap, the live one is only read.

    Args:
        settings: of the live projections.
        progress: called now and then.
        clock: seconds since 1970.

    Raises:
        RowsWouldBeLost: the log does not hold everything that the live read model shows.
        RebuildInProgress: another rebuild of this schema is under way.
        SchemaTooNew: the live read model is of a newer build, whose processes could not use this one's.
        LogFault: a record of the log belongs to a claim that is not in it.
        psycopg.OperationalError, StoreAway, KafkaFault, TimeoutError: a service is away or too slow. The live read
            model is as it was; start again.
    """
    live = settings.database_schema
    shadow = msgspec.structs.replace(settings, database_schema=f"{live}_rebuild")
    kafka = clients_of(settings)
    async with await connect(settings, "rebuild", statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS) as connection:
        await connection.execute(LIFT_LIMITS)
        await _claim(connection, live)
        check_known(await applied_migrations(connection, live), shipped())
        log = await check_log(kafka, topic_name(settings, EVENTS), await live_positions(connection, live))
        await _drop(connection, shadow.database_schema)
        await _drop(connection, f"{live}_replaced")
        await asyncio.to_thread(migrate, shadow)
        taken_away = await indexes.take_away(connection, shadow.database_schema)
        async with replaying(kafka, shadow, log, progress) as replay:
            await replay.catch_up(await live_positions(connection, live))
            replay.tell("making indexes")
            await indexes.make(connection, shadow.database_schema, taken_away)
            if days := retention_days(settings):
                await replay.catch_up(await live_positions(connection, live))
                replay.tell("deleting what ended long ago")
                await replay.delete_ended(days, clock)
            for _ in range(MAX_SWAPS):
                await replay.catch_up(await live_positions(connection, live))
                if await _swap(connection, live, replay):
                    break
            else:
                raise TimeoutError(
                    "the live projections could not be caught up with; start again when less is going on"
                )
        await _drop(connection, f"{live}_replaced")


async def _claim(connection: PostgresConnection, live: str) -> None:
    cursor = await connection.execute(CLAIM_REBUILD, (live,))
    if (await cursor.fetchall()) != [(True,)]:
        raise RebuildInProgress


async def _drop(connection: PostgresConnection, schema: str) -> None:
    """Drop a schema that nobody uses any more, but for statements that began before the swap."""
    for attempts_left in reversed(range(DROP_ATTEMPTS)):
        try:
            await connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
            return
        except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
            if not attempts_left:
                raise


async def _swap(connection: PostgresConnection, live: str, replay: Replay) -> bool:
    """Put the new read model in the place of the live one; False when it could not catch up while holding the lock."""
    try:
        async with connection.transaction():
            if await live_positions(connection, live):
                await connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(f"{MAX_LOCKED_SECONDS}s"))
                await connection.execute(
                    sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.Identifier(live, "positions"))
                )
            async with asyncio.timeout(MAX_LOCKED_SECONDS):
                await replay.catch_up(await live_positions(connection, live))
            await _keep_caught_up(connection, live)
            await _rename(connection, live, f"{live}_replaced")
            await _rename(connection, f"{live}_rebuild", live)
            for announcement in replay.announcements():
                await connection.execute("SELECT pg_notify(%s, %s)", (live, announcement))
    except (TimeoutError, StoreAway, psycopg.errors.LockNotAvailable) as error:
        logger.info("the live projections are too far ahead or too busy to swap, catching up: %s", error)
        return False
    return True


async def _keep_caught_up(connection: PostgresConnection, live: str) -> None:
    """Let readers go on: the new read model is at least where the live one is, so what has caught up there has here."""
    old, new = sql.Identifier(live, "caught_up"), sql.Identifier(f"{live}_rebuild", "caught_up")
    cursor = await connection.execute("SELECT to_regclass(%s)", (old.as_string(connection),))
    if (await cursor.fetchall()) != [(None,)]:
        await connection.execute(
            sql.SQL(
                "INSERT INTO {new} (partition, partitions, server_started_at, relation)"
                " SELECT partition, partitions, server_started_at, {name}::regclass"
                " FROM {old} WHERE relation = tableoid"
            ).format(new=new, old=old, name=new.as_string(connection))
        )


async def _rename(connection: PostgresConnection, old: str, new: str) -> None:
    cursor = await connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (old,))
    if await cursor.fetchall():
        await connection.execute(
            sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
        )
