"""`python -m tests.performance retention`: what it costs to delete instances that ended long ago.

Fills a fresh Postgres with a year of instances, their stages and keys, as `search` does, and reads pages of lists as
the API does, one after the other. Then it deletes the older half as the projections do, with their pauses, and reads
the same pages meanwhile. Prints instances deleted per second, how long batches and pages took, and the size of the
tables before and behind it, also after a VACUUM.

In the end it makes a copy of table `instances` that is partitioned by the time of creation, and looks up ids and reads
pages in both, with statements that are planned once, as those of the API.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from prometheus_client import CollectorRegistry
from psycopg import sql

from deploy.bench.figures import Figures
from deploy.embedded.postgres import SETTINGS, EmbeddedPostgres
from projections.database import PARSED_ONCE, Postgres, conninfo
from projections.metrics import Metrics
from projections.migrate import migrate
from projections.ports import Connection, Deletion
from projections.queries.connections import IN_ORDER, TIMEOUT_SECONDS
from projections.queries.instance_filters import InstanceFilters, instances_query
from projections.read_rows import RowPosition
from projections.retention import Retention
from projections.states import ENDED
from projections.store import PostgresStore
from schemas.settings import PostgresSettings
from tests.performance.figures import print_table
from tests.performance.search import DAYS, MEMORY, fill
from tests.retention_contract import no_log

SCHEMA: Final = "retention"
KEPT_DAYS: Final = DAYS // 2
PAGES: Final = 2_000
"""That are read alone, before."""
PAUSE_SECONDS: Final = 0.005
"""Between two pages, so that readers don't take the processor that is measured."""
SIZES: Final = """
SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid), s.n_dead_tup
FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relnamespace = 'retention'::regnamespace AND c.relname IN ('instances', 'stages', 'instance_keys')
ORDER BY c.relname
"""
PARTITIONED: Final = """
CREATE TABLE parted (LIKE instances) PARTITION BY RANGE (created_at);
DO $$ BEGIN
    FOR n IN 0..{months} LOOP
        EXECUTE format('CREATE TABLE parted_%s PARTITION OF parted FOR VALUES FROM (%L) TO (%L)', n,
            timestamptz '{start}' + n * interval '1 month', timestamptz '{start}' + (n + 1) * interval '1 month');
    END LOOP;
END $$;
INSERT INTO parted SELECT * FROM instances;
ALTER TABLE parted ADD PRIMARY KEY (id, created_at);
CREATE INDEX ON parted (created_at DESC, id DESC);
ANALYZE parted;
"""
BY_ID: Final = b"SELECT * FROM %s WHERE id = ANY($1)"
PAGE: Final = b"SELECT * FROM %s WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT 15"


class Timed(PostgresStore):
    """Notes how long batches take."""

    batches: list[float]

    async def delete_ended(self, *given: Any) -> Deletion | None:
        """See `PostgresStore.delete_ended`."""
        began = time.perf_counter()
        done = await super().delete_ended(*given)
        self.batches.append(time.perf_counter() - began)
        return done

    async def all_caught_up(self) -> bool:
        """There is no log."""
        return True


def kinds(chance: random.Random, since: datetime) -> InstanceFilters:
    """What lists are asked for."""
    return chance.choice(
        (
            InstanceFilters(),
            InstanceFilters(states=("failed",)),
            InstanceFilters(states=("succeeded",), created_after=since + timedelta(days=chance.uniform(0, DAYS))),
            InstanceFilters(key=f"users:{chance.randrange(1_000_000)}"),
        )
    )


async def read(settings: PostgresSettings, start: datetime, goes_on: Callable[[int], bool]) -> list[float]:
    """Read pages, in the middle of the list and from its start on; how long each took."""
    parameters = {**PARSED_ONCE, **IN_ORDER}
    connection = await Postgres(settings).connect(
        "lists", statement_timeout_seconds=TIMEOUT_SECONDS, parameters=parameters
    )
    chance, took = random.Random(1), list[float]()
    while goes_on(len(took)):
        place = RowPosition(start + timedelta(days=chance.uniform(0, DAYS)), UUID(int=0)) if len(took) % 2 else None
        query = instances_query(kinds(chance, start), place, None, 15)
        took.append(await _timed(connection, query.statement, query.parameters))
        await asyncio.sleep(PAUSE_SECONDS)
    await connection.close()
    return took[50:]


async def _timed(connection: Connection, query: bytes, parameters: Any) -> float:
    began = time.perf_counter()
    await connection.fetch(query, parameters)
    return time.perf_counter() - began


async def measure(settings: PostgresSettings, start: datetime) -> None:
    """Read, delete and read beside it."""
    alone = await read(settings, start, lambda count: count < PAGES)
    _print_sizes(settings, "before")
    store = Timed(settings, "retention")
    store.batches = []
    metrics = Metrics(CollectorRegistry())
    now = (start + timedelta(days=DAYS)).timestamp()
    began = time.perf_counter()
    deleting = asyncio.create_task(
        Retention(store, dict.fromkeys(ENDED, KEPT_DAYS), metrics, no_log, lambda: now).sweep()
    )
    beside = await read(settings, start, lambda count: not deleting.done())
    seconds = time.perf_counter() - began
    await deleting
    await store.close()
    name = "orchestration_projections_deleted_instances_total"
    deleted = sum(metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0 for outcome in ENDED)
    busy = sum(store.batches)
    rate, at_once = deleted / seconds, deleted / busy
    print(f"{deleted:,.0f} instances in {seconds:.0f} s: {rate:,.0f}/s; {at_once:,.0f}/s without pauses", flush=True)
    after = await read(settings, start, lambda count: count < PAGES)
    print_table(
        [
            Figures("pages before", alone, sum(alone)),
            Figures("pages beside it", beside, sum(beside)),
            Figures("pages after it", after, sum(after)),
            Figures("batches", store.batches, busy),
        ]
    )
    _print_sizes(settings, "after it")
    with _connected(settings) as connection:
        began = time.perf_counter()
        connection.execute("VACUUM (ANALYZE, PARALLEL 0) instances, stages, instance_keys")
        print(f"VACUUM takes {time.perf_counter() - began:.0f} s")
    _print_sizes(settings, "after VACUUM")


async def compare(settings: PostgresSettings, start: datetime, rounds: int) -> None:
    """Look ids up and read pages in one table and in one that is partitioned."""
    with _connected(settings) as filling:
        filling.execute(PARTITIONED.format(months=DAYS // 30 + 1, start=start.isoformat()).encode())
        ids = [id for (id,) in filling.execute("SELECT id FROM instances ORDER BY random() LIMIT 10000").fetchall()]
    connection = await Postgres(settings).connect(
        "lists", statement_timeout_seconds=TIMEOUT_SECONDS, parameters=PARSED_ONCE
    )
    figures = list[Figures]()
    for _ in range(rounds):
        for table in (b"instances", b"parted"):
            for count in (1, 100):
                some = [[random.choice(ids) for _ in range(count)] for _ in range(500)]
                took = [await _timed(connection, BY_ID.replace(b"%s", table), (one,)) for one in some]
                figures.append(Figures(f"{table.decode()}: {count} by id", took[50:], sum(took)))
            places = [(start + timedelta(days=random.uniform(KEPT_DAYS, DAYS)), UUID(int=0)) for _ in range(500)]
            took = [await _timed(connection, PAGE.replace(b"%s", table), place) for place in places]
            figures.append(Figures(f"{table.decode()}: page", took[50:], sum(took)))
    await connection.close()
    print_table(figures)


def _connected(settings: PostgresSettings) -> "psycopg.Connection[tuple[Any, ...]]":
    connection = psycopg.connect(conninfo(settings, "test"), autocommit=True)
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(settings.database_schema)))
    return connection


def _print_sizes(settings: PostgresSettings, when: str) -> None:
    with _connected(settings) as connection:
        for table, rows, indexes, dead in connection.execute(SIZES).fetchall():
            print(
                f"{when}: {table} {rows / 1e6:,.0f} MB, its indexes {indexes / 1e6:,.0f} MB, {dead:,} dead rows",
                flush=True,
            )


def run(options: argparse.Namespace) -> None:
    """Run it."""
    with contextlib.ExitStack() as stack:
        SETTINGS.update(MEMORY)
        server = EmbeddedPostgres(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        settings = PostgresSettings(database_url=server.start(), database_schema=SCHEMA)
        stack.callback(server.stop)
        migrate(settings)
        start = datetime.now(UTC) - timedelta(days=DAYS + 2)
        fill(settings, options.instances, start)
        asyncio.run(measure(settings, start))
        asyncio.run(compare(settings, start, options.rounds))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command line."""
    parser.add_argument("--instances", type=int, default=1_000_000, help="how many are filled in")
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison with a partitioned table, alternating")
