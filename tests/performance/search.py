"""`python -m tests.performance search`: how long it takes to find instances among millions.

Fills a fresh Postgres with instances, their stages and keys, straight into the tables: as many as `--instances`, over a
year, of fifty workflows of very different size; a few in a hundred have failed, wait or are paused. Then reads pages of
15 by the statements and settings of the API, one after the other: for each kind of filters with other values each time,
the first page and one in the middle of the list. Prints p50 and p99, and how many rows were found.

Ten million instances take 16 GB of disk. `--keep FOLDER` leaves the server's data there, and finds it again.
"""

import argparse
import asyncio
import contextlib
import hashlib
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql

from deploy.bench.figures import Figures
from deploy.embedded.postgres import SETTINGS, EmbeddedPostgres
from projections.database import PARSED_ONCE, Postgres, conninfo
from projections.migrate import migrate
from projections.queries.connections import IN_ORDER, TIMEOUT_SECONDS
from projections.queries.instance_filters import InstanceFilters, instances_query
from projections.read_rows import RowPosition
from projections.states import STATES
from schemas.settings import PostgresSettings
from tests.performance.figures import print_table

SCHEMA: Final = "search"
CHUNK: Final = 250_000
"""Instances that are filled in at once."""
MEMORY: Final = {"shared_buffers": "2GB", "max_wal_size": "4GB"}
"""Of the server: an installation with so many rows has more than `orchestration dev` takes."""
START: Final = datetime(2025, 6, 1, tzinfo=UTC)
DAYS: Final = 365
WORKFLOWS: Final = 50

MADE: Final = """
CREATE TEMP TABLE made AS
SELECT n, id, created_at, workflow_id, state, error, CASE WHEN fate < 0.98 THEN created_at + took END AS terminated_at
FROM (
    SELECT n, md5('i' || n)::uuid AS id, md5('w' || floor({workflows} * random() ^ 3)::int)::uuid AS workflow_id, fate,
           timestamptz '{start}' + n * ({seconds}::float / {count}) * interval '1 s' AS created_at,
           -30 * ln(random() + 1e-9) * CASE WHEN random() < 0.02 THEN 10000 ELSE 1 END * interval '1 s' AS took
    FROM (SELECT n, random() AS fate FROM generate_series({first}, {last}) n) numbers
) instances
CROSS JOIN LATERAL (
    SELECT CASE WHEN fate < 0.94 THEN 'succeeded' WHEN fate < 0.97 THEN 'failed' WHEN fate < 0.98 THEN 'aborted'
                WHEN fate < 0.99 THEN 'waiting' WHEN fate < 0.996 THEN 'delayed' WHEN fate < 0.999 THEN 'retrying'
                WHEN fate < 0.9995 THEN 'paused' ELSE 'running' END
) AS states (state)
CROSS JOIN LATERAL (
    SELECT CASE state WHEN 'aborted' THEN 'canceled' WHEN 'failed' THEN (
        ARRAY['insufficient funds', 'account is closed', 'no such asset', 'HTTP 500', 'limit reached']
    )[1 + n % 5] || ' (users:' || n % 1000000 || ')' END
) AS errors (error)
"""
INSERTS: Final = (
    """
    INSERT INTO instances (id, workflow_id, created_at, updated_at, terminated_at, error, variables, activity, waiting,
                           state, keys)
    SELECT id, workflow_id, created_at, coalesce(terminated_at, created_at), terminated_at, error,
           '{"order":"ORDER-' || n || '","customer":"users:' || n % 1000000 || '","amount":"' || n % 10000 || '"}',
           'CreateTransaction', CASE state WHEN 'waiting' THEN '["event","2026-03-01T10:02:26.250000Z","approved"]' END,
           state, 4
    FROM made
    """,
    """
    INSERT INTO stages (instance_id, number, name, input, started_at, terminated_at, error)
    SELECT id, 0, 'RunSend', '{"amount":{"amount":100,"asset":"EUR/2"}}', created_at, terminated_at, error FROM made
    """,
    """
    INSERT INTO instance_keys (key, created_at, instance_id)
    SELECT key, created_at, id FROM made CROSS JOIN LATERAL (
        VALUES ('order-' || n), ('users:' || n % 1000000), (md5('t' || n)::uuid::text), ('approved')
    ) AS keys (key)
    """,
    "DROP TABLE made",
)
WORKFLOW_ROWS: Final = """
INSERT INTO workflows (id, name, definition, created_at, updated_at)
SELECT md5('w' || n)::uuid, 'workflow ' || n, '[{"send":{"amount":{"amount":100,"asset":"EUR/2"}}}]', at, at
FROM generate_series(0, 50) n, (VALUES (timestamptz '2025-05-01Z')) AS times (at)
"""
INDEXES: Final = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indrelid::regclass::text, conname
FROM pg_index LEFT JOIN pg_constraint ON conindid = indexrelid
WHERE indrelid IN ('instances'::regclass, 'stages'::regclass, 'instance_keys'::regclass)
"""


def fill(settings: PostgresSettings, count: int, start: datetime = START) -> None:
    """Fill the tables, with a year from `start` on. Their indexes are made at the end, which is faster."""
    with psycopg.connect(conninfo(settings, "fill"), autocommit=True) as connection:
        connection.execute(sql.SQL("SET search_path = {}, pg_temp").format(sql.Identifier(settings.database_schema)))
        connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'")
        indexes = connection.execute(INDEXES).fetchall()
        for index, _, table, constraint in indexes:
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {constraint}" if constraint else f"DROP INDEX {index}"
            connection.execute(drop.encode())
        connection.execute(WORKFLOW_ROWS)
        for first in range(0, count, CHUNK):
            last = min(first + CHUNK, count) - 1
            given = {"workflows": WORKFLOWS, "seconds": DAYS * 86_400, "count": count, "start": start.isoformat()}
            for statement in (MADE.format(**given, first=first, last=last), *INSERTS):
                connection.execute(statement.encode())
            print(f"{last + 1:,} of {count:,} instances", flush=True)
        for _, definition, _, _ in indexes:
            connection.execute(definition.encode())
        connection.execute("VACUUM (ANALYZE, PARALLEL 0)")


def _filled(settings: PostgresSettings) -> bool:
    with psycopg.connect(conninfo(settings, "fill"), autocommit=True) as connection:
        found = connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(SCHEMA, "workflows")))
        return bool(found.fetchall())


def _workflow(chance: random.Random) -> UUID:
    return UUID(hashlib.md5(b"w%d" % int(WORKFLOWS * chance.random() ** 3), usedforsecurity=False).hexdigest())


def _day(chance: random.Random, days: float = 1.0) -> tuple[datetime, datetime]:
    begin = START + timedelta(days=chance.uniform(0, DAYS - days))
    return begin, begin + timedelta(days=days)


def kinds(count: int) -> dict[str, Callable[[random.Random], InstanceFilters]]:
    """What is searched for; each with values by chance."""

    def some(chance: random.Random) -> InstanceFilters:
        """Any combination."""
        found: dict[str, Any] = {}
        if chance.random() < 0.5:
            found["workflow_ids"] = tuple({_workflow(chance) for _ in range(chance.choice((1, 1, 3)))})
        if chance.random() < 0.5:
            found["states"] = tuple(state for state in STATES if chance.random() < 0.4)
        if chance.random() < 0.3:
            found["key"] = f"users:{chance.randrange(min(count, 1_000_000))}"
        if chance.random() < 0.3:
            found["error"] = chance.choice(("insufficient", "closed", "500"))
        if chance.random() < 0.4:
            found["created_after"], found["created_before"] = _day(chance, 30)
        if chance.random() < 0.3:
            found["terminated_after"], found["terminated_before"] = _day(chance, 30)
        return InstanceFilters(**found)

    def two(chance: random.Random) -> dict[str, Any]:
        return {"workflow_ids": (_workflow(chance), _workflow(chance)), "states": ("failed", "paused")}

    def created(chance: random.Random) -> InstanceFilters:
        after, before = _day(chance)
        return InstanceFilters(states=("failed",), created_after=after, created_before=before)

    def ended(chance: random.Random) -> InstanceFilters:
        after, before = _day(chance)
        return InstanceFilters(terminated_after=after, terminated_before=before)

    return {
        "no filter": lambda chance: InstanceFilters(),
        "workflow": lambda chance: InstanceFilters(workflow_ids=(_workflow(chance),)),
        "key of one": lambda chance: InstanceFilters(key=f"order-{chance.randrange(count)}"),
        "key of some": lambda chance: InstanceFilters(key=f"users:{chance.randrange(min(count, 1_000_000))}"),
        "key of all": lambda chance: InstanceFilters(key="approved"),
        "key of all, paused": lambda chance: InstanceFilters(key="approved", states=("paused",)),
        "state": lambda chance: InstanceFilters(states=(chance.choice(STATES),)),
        "2 workflows, 2 states": lambda chance: InstanceFilters(**two(chance)),
        "error": lambda chance: InstanceFilters(error=chance.choice(("insufficient", "closed", "500"))),
        "error of one": lambda chance: InstanceFilters(error=f"users:{chance.randrange(min(count, 1_000_000))})"),
        "created within a day, failed": created,
        "ended within a day": ended,
        "any combination": some,
    }


async def measure(settings: PostgresSettings, count: int, rounds: int) -> None:
    """Read pages and print how long they took."""
    database = Postgres(settings)
    parameters = {**PARSED_ONCE, **IN_ORDER}
    connection = await database.connect("search", statement_timeout_seconds=TIMEOUT_SECONDS, parameters=parameters)
    figures: list[Figures] = []
    for name, kind in kinds(count).items():
        chance, found = random.Random(1), 0
        took: list[float] = []
        for number in range(rounds):
            place = RowPosition(_day(chance)[0], UUID(int=0)) if number % 2 else None
            query = instances_query(kind(chance), place, None, 15)
            began = time.perf_counter()
            rows = await connection.fetch(query.statement, query.parameters)
            took.append(time.perf_counter() - began)
            found += len(rows)
        figures.append(Figures(f"{name} ({found / rounds:.0f} rows)", took[rounds // 10 :], sum(took)))
    await connection.close()
    print_table(figures)


def run(options: argparse.Namespace) -> None:
    """Run it."""
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        SETTINGS.update(MEMORY)
        server = EmbeddedPostgres(folder)
        settings = PostgresSettings(database_url=server.start(), database_schema=SCHEMA)
        stack.callback(server.stop)
        migrate(settings)
        if not _filled(settings):
            began = time.monotonic()
            fill(settings, options.instances)
            print(f"filled in {time.monotonic() - began:.0f} s", flush=True)
        asyncio.run(measure(settings, options.instances, options.rounds))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command line."""
    parser.add_argument("--instances", type=int, default=10_000_000, help="how many are filled in")
    parser.add_argument("--rounds", type=int, default=400, help="pages of each kind")
    parser.add_argument("--keep", type=Path, help="folder for the server's data, which stays")
