"""`python -m tests.performance search`: how long it takes to find instances among millions.

Fills a fresh Postgres with instances, their stages and keys, straight into the tables: as many as `--instances`, over a
year, of fifty workflows of very different size; a few in a hundred have failed, wait or are paused. Then reads first pages
of 15, one after the other, as the API does, for each kind of filters with other values each time. Prints p50 and p99.

Ten million instances take about 15 GB of disk. `--keep FOLDER` leaves the server's data there, and finds it again.
"""

from typing import Final

import psycopg

from projections.database import conninfo
from schemas.settings import ApiSettings

SCHEMA: Final = "search"
CHUNK: Final = 250_000
"""Instances that are filled in at once."""

FILL: Final = """
WITH made AS MATERIALIZED (
    SELECT n, md5('i' || n)::uuid AS id, timestamptz '2025-06-01Z' + n * ({year} / {count}) * interval '1 s' AS created_at,
           md5('w' || floor(50 * random() ^ 3)::int)::uuid AS workflow_id,
           random() AS fate, -30 * ln(random()) * CASE WHEN random() < 0.02 THEN 10000 ELSE 1 END AS took
    FROM generate_series({first}, {last}) n
), fates AS MATERIALIZED (
    SELECT *, CASE WHEN fate < 0.94 THEN 'succeeded' WHEN fate < 0.97 THEN 'failed' WHEN fate < 0.98 THEN 'aborted'
                   WHEN fate < 0.99 THEN 'waiting' WHEN fate < 0.996 THEN 'delayed' WHEN fate < 0.999 THEN 'retrying'
                   WHEN fate < 0.9995 THEN 'paused' ELSE 'running' END AS state
    FROM made
), ended AS MATERIALIZED (
    SELECT *, CASE WHEN fate < 0.98 THEN created_at + took * interval '1 s' END AS terminated_at,
           CASE state WHEN 'aborted' THEN 'canceled'
                      WHEN 'failed' THEN 'CreateTransaction: ' || (ARRAY['insufficient funds', 'account is closed',
                           'no such asset', 'HTTP 500', 'limit of the day reached'])[1 + n % 5] || ' (users:' || n % 1000000 || ')'
           END AS error
    FROM fates
), instances AS (
    INSERT INTO instances (id, workflow_id, created_at, updated_at, terminated_at, error, variables, activity, waiting, state,
                           keys)
    SELECT id, workflow_id, created_at, coalesce(terminated_at, created_at), terminated_at, error,
           '{{"order":"ORDER-' || n || '","customer":"users:' || n % 1000000 || '","amount":"' || n % 10000 || '"}}',
           'CreateTransaction', CASE state WHEN 'waiting' THEN '["event","2026-03-01T10:02:26.250000Z","approved"]' END,
           state, 4
    FROM ended
), stages AS (
    INSERT INTO stages (instance_id, number, name, input, started_at, terminated_at, error)
    SELECT id, 0, 'RunSend', '{{"amount":{{"amount":100,"asset":"EUR/2"}}}}', created_at, terminated_at, error FROM ended
)
INSERT INTO instance_keys (key, created_at, instance_id)
SELECT key, created_at, id FROM ended CROSS JOIN LATERAL (
    VALUES ('order-' || n), ('users:' || n % 1000000), (md5('t' || n)::uuid::text), ('approved')
) AS k (key)
"""
WORKFLOWS: Final = """
INSERT INTO workflows (id, name, definition, created_at, updated_at)
SELECT md5('w' || n)::uuid, 'workflow ' || n, '[{"send":{"amount":{"amount":100,"asset":"EUR/2"}}}]',
       timestamptz '2025-05-01Z', timestamptz '2025-05-01Z'
FROM generate_series(0, 50) n
"""
YEAR: Final = 365 * 86_400.0


def fill(settings: ApiSettings, count: int) -> None:
    """Fill the tables. Their indexes are made at the end, which is faster."""
    with psycopg.connect(conninfo(settings, "fill"), autocommit=True) as connection:
        connection.execute(
            f"SET search_path = {SCHEMA}; SET synchronous_commit = off; SET maintenance_work_mem = '1GB'"
        )
        indexes = connection.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indrelid::regclass::text, conname"
            " FROM pg_index LEFT JOIN pg_constraint ON conindid = indexrelid"
            " WHERE indrelid IN ('instances'::regclass, 'stages'::regclass, 'instance_keys'::regclass)"
        ).fetchall()
        for index, _, table, constraint in indexes:
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {constraint}" if constraint else f"DROP INDEX {index}"
            connection.execute(drop.encode())
        connection.execute(WORKFLOWS)
        for first in range(0, count, CHUNK):
            last = min(first + CHUNK, count) - 1
            connection.execute(FILL.format(year=YEAR, count=count, first=first, last=last).encode())
            print(f"{last + 1:,} of {count:,} instances", flush=True)
        for _, definition, _, _ in indexes:
            connection.execute(definition.encode())
            print(definition, flush=True)
        connection.execute("VACUUM (ANALYZE, PARALLEL 0)")
