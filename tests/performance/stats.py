"""`python -m tests.performance stats`: how long `GET /v2/stats` takes in Postgres, and what counting costs a batch.

Fills a fresh Postgres with what the counts of `--instances` come to: fifty workflows of very different size, three
stages each, over 90 days, durations over three powers of ten; `--writers` projectors have taken turns. The projections'
chore moves those of hours that are over. Then reads statistics one after the other, as the API does.

Then writes batches of noop instances that start and end in them, with counts and without, and prints the time of each.
"""

import argparse
import asyncio
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

from deploy.embedded.postgres import EmbeddedPostgres
from projections import store
from projections.counting import HOURS_PER_DAY, by_day, hour_of, kept_since
from projections.database import conninfo
from projections.fold import Batch
from projections.migrate import migrate
from projections.queries.read_model import ReadModel
from projections.queries.stats import Window
from projections.rows import Advance
from projections.store import PostgresStore
from schemas import events
from schemas.records import Recorded
from schemas.settings import ApiSettings, ProjectionsSettings
from tests.definitions import definition

WORKFLOWS: Final = 50
DAYS: Final = 90
MERGES: Final = 20
READS: Final = 100
BATCHES: Final = 300
FILL: Final = """
WITH periods AS (
    SELECT hour, CASE WHEN hour < {hourly} THEN 24 ELSE 1 END AS hours
    FROM generate_series({first}, {end} - 1) hour WHERE hour >= {hourly} OR hour % 24 = 0
), workflows AS ( -- a few are run often, and many seldom
    SELECT md5('w' || n)::uuid AS id,
        ((n + 1.0) / {workflows}) ^ (1 / 3.0) - (n * 1.0 / {workflows}) ^ (1 / 3.0) AS share
    FROM generate_series(0, {workflows} - 1) n
    UNION ALL SELECT '00000000-0000-0000-0000-000000000000', 1
), durations AS (
    SELECT 20 + n AS bucket, exp(-n * n / 8.0) / 5.01 AS share FROM generate_series(-6, 6) n
), happened AS (
    SELECT what, stage, less, of_all FROM (VALUES ('succeeded', 0.95), ('failed', 0.05)) o (what, of_all)
    CROSS JOIN (VALUES (-1, 0), (0, 1), (1, 3), (2, 5)) s (stage, less)
)
INSERT INTO counts (what, stage, hour, workflow_id, bucket, writer, count)
SELECT what, stage, hour, w.id, bucket - less, writer, round(n)
FROM periods CROSS JOIN workflows w CROSS JOIN durations d CROSS JOIN happened
CROSS JOIN generate_series(0, {writers} - 1) writer
CROSS JOIN LATERAL (
    SELECT {instances} * hours / {hours}.0 * w.share * d.share * of_all / {writers} AS n
) c
WHERE n >= 0.5 AND (stage = -1 OR w.share < 1)
UNION ALL
SELECT 'started', -1, hour, w.id, 0, writer, ceil({instances} * hours / {hours}.0 * w.share / {writers})
FROM periods CROSS JOIN workflows w CROSS JOIN generate_series(0, {writers} - 1) writer
"""
NOW: Final = """
INSERT INTO workflows (id, name, definition, created_at, updated_at)
SELECT md5('w' || n)::uuid, 'workflow ' || n, '[]', now(), now() FROM generate_series(0, {workflows}) n;
INSERT INTO instances (id, workflow_id, created_at, updated_at, state)
SELECT gen_random_uuid(), md5('w' || n % {workflows})::uuid, now() - n * interval '1 s', now(),
    (ARRAY['waiting', 'delayed', 'retrying', 'running'])[1 + n % 4]
FROM generate_series(1, 200000) n;
INSERT INTO counts SELECT state, -1, -1, workflow_id, 0, 0, count(*) FROM instances GROUP BY state, workflow_id;
INSERT INTO caught_up SELECT 0, 1, pg_postmaster_start_time(), 'caught_up'::regclass;
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What may be asked for."""
    parser.add_argument("--instances", type=int, default=10_000_000, help="instances that were counted")
    parser.add_argument("--writers", type=int, default=2, help="projectors that have taken turns")


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        url = postgres.start()
        try:
            migrate(ApiSettings(database_url=url))
            hour = _fill(ApiSettings(database_url=url), options)
            asyncio.run(_merge(ProjectionsSettings(database_url=url)))
            if options.instances:
                asyncio.run(_read(ApiSettings(database_url=url), hour))
            asyncio.run(_write(ProjectionsSettings(database_url=url)))
        finally:
            postgres.stop()


def happened(instances: int, writers: int) -> dict[str, int]:
    """What `FILL` and `NOW` are formatted with: the hours up to now."""
    end = hour_of(datetime.now(UTC)) + 1
    return {
        "instances": instances,
        "writers": writers,
        "workflows": WORKFLOWS,
        "hours": DAYS * HOURS_PER_DAY,
        "first": end - DAYS * HOURS_PER_DAY,
        "end": end,
        "hourly": kept_since(end),
    }


def _fill(settings: ApiSettings, options: argparse.Namespace) -> int:
    values = happened(options.instances, options.writers)
    with psycopg.connect(conninfo(settings, "fill"), autocommit=True) as connection:
        connection.execute(f"SET search_path = {settings.database_schema}; SET work_mem = '512MB'".encode())
        for text in (FILL, NOW):
            connection.execute(text.format(**values).encode())
    return values["end"]


async def _merge(settings: ProjectionsSettings) -> None:
    _show(settings, "counts")
    merging, times, at_once = PostgresStore(settings), [], store.MAX_MERGED
    for _ in range(MERGES):
        started = time.perf_counter()
        await merging.merge_counts()
        times.append(1000 * (time.perf_counter() - started))
    store.MAX_MERGED = 100_000  # type: ignore[misc]
    while await merging.merge_counts():
        pass
    store.MAX_MERGED = at_once  # type: ignore[misc]
    await merging.close()
    _show(settings, "counts")
    _show(settings, "past_counts")
    print(f"{at_once} of them are moved in {median(times):.0f} ms (p50)")


def _show(settings: ProjectionsSettings, table: str) -> None:
    with psycopg.connect(conninfo(settings, "show"), autocommit=True) as connection:
        connection.execute(f"SET search_path = {settings.database_schema}".encode())
        connection.execute(f"VACUUM ANALYZE {table}".encode())
        ((rows, size),) = connection.execute(
            f"SELECT count(*), pg_size_pretty(pg_total_relation_size('{table}')) FROM {table}".encode()  # noqa: S608
        ).fetchall()
    print(f"{table}: {rows:,} rows, {size} with indexes")


async def _read(settings: ApiSettings, end: int) -> None:
    model = ReadModel(settings)
    today = by_day(end) + HOURS_PER_DAY
    windows = {
        "24 hours": Window(end - 24, end, 1),
        "7 days by hour": Window(end - 7 * 24, end, 1),
        "30 days": Window(today - 30 * 24, today, 24),
        "90 days": Window(today - 90 * 24, today, 24),
    }
    largest = (await model.stats(windows["24 hours"])).workflows[0].id
    for name, window in windows.items():
        for what, workflow_id in (("all workflows", None), ("largest workflow", largest)):
            took = []
            for _ in range(READS):
                started = time.perf_counter()
                await model.stats(window, workflow_id)
                took.append(1000 * (time.perf_counter() - started))
            took.sort()
            times = f"least {took[0]:6.1f} ms   p50 {took[READS // 2]:6.1f} ms   p95 {took[READS * 95 // 100]:6.1f} ms"
            print(f"{name:15} {what:17} {times}")
    await model.close()


async def _write(settings: ProjectionsSettings) -> None:
    parts = store.parts
    written = PostgresStore(settings)
    offset = 0

    def without(batch: Batch) -> dict[str, list[object]]:
        return {name: rows for name, rows in parts(batch).items() if name != "counts"}

    await written.positions([0])
    for instances in (1, 20):
        took: dict[str, list[float]] = {"with counts": [], "without": []}
        cpu: dict[str, float] = dict.fromkeys(took, 0.0)
        for number in range(2 * BATCHES):
            kind = ("with counts", "without")[number % 2]
            batch = _batch(instances)
            batch.advances = [Advance(0, offset, offset + 1, 0, offset)]
            store.parts = parts if kind == "with counts" else without
            started, used = time.perf_counter(), time.process_time()
            await written.write(batch)
            if number >= BATCHES / 2:
                took[kind].append(1e6 * (time.perf_counter() - started))
                cpu[kind] += 1e6 * (time.process_time() - used)
            offset += 1
        for kind, times in took.items():
            each = cpu[kind] / len(times) / instances
            print(f"batch of {instances:2} {kind:12} p50 {median(times):5.0f} µs, {each:5.1f} µs of CPU here, each")
    store.parts = parts
    await written.close()


def _batch(instances: int) -> Batch:
    at, batch, workflow = datetime.now(UTC), Batch(), str(uuid.UUID(int=7))
    for _ in range(instances):
        id, after = str(uuid.uuid4()), at + timedelta(milliseconds=1)
        of: dict[str, Any] = {"workflow_id": workflow}
        for event in (
            events.InstanceStarted(at=at, stages=definition([{"noop": {}}]), variables={}, **of),
            events.StageStarted(at=at, number=0, name="RunNoop", input={}, **of),
            events.StageEnded(at=after, number=0, **of),
            events.InstanceEnded(at=after, **of),
        ):
            batch.add(0, Recorded(id, 1, event, 0, 1))
    return batch
