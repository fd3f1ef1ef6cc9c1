"""Statistics on a real Postgres: every part of the statement is read by an index, whatever the planner believes."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections.database import PARSED_ONCE
from projections.migrate import migrate
from projections.postgres_connection import PostgresConnection
from projections.queries.connections import IN_ORDER
from projections.queries.stats import Window, stats_query
from projections.sql import statement
from schemas.settings import ApiSettings, ProjectionsSettings
from tests.integration.projection_world import Tables, planning
from tests.integration.test_pages import below

WORKFLOW = uuid.UUID(int=1)
FILL = """
    INSERT INTO counts
        SELECT what, stage, hour, lpad(workflow::text, 32, '0')::uuid, 7, 0, 1
        FROM generate_series(1, 100) workflow, generate_series(-1, 1) stage, generate_series(490000, 490020) hour,
             unnest('{started,succeeded,failed}'::text[]) what;
    INSERT INTO past_counts
        SELECT workflow_id, step, hour, stage, what, '{0,1,2}' FROM counts, unnest('{1,24}'::int[]) step;
    INSERT INTO instances (id, workflow_id, created_at, updated_at, state)
        SELECT gen_random_uuid(), lpad((n % 20 + 1)::text, 32, '0')::uuid, now(), now(), 'waiting'
        FROM generate_series(1, 2000) n;
    ANALYZE counts, past_counts, instances;
"""
STATISTICS = {"new tables": "", "empty tables": "ANALYZE counts, past_counts, instances, workflows", "rows": FILL}


@pytest.fixture(params=STATISTICS, ids=str)
async def planner(
    request: pytest.FixtureRequest, database_url: str, database_schema: str
) -> AsyncIterator[PostgresConnection]:
    """A connection that plans as those for lists do."""
    settings = ApiSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    async with planning(settings, STATISTICS[request.param], {**PARSED_ONCE, **IN_ORDER}) as connection:
        yield connection
    Tables(ProjectionsSettings(database_url=database_url, database_schema=database_schema)).drop()


@pytest.mark.parametrize(
    ("workflow_id", "of_instances"),
    [
        (None, "instances_in_state"),
        (WORKFLOW, "instances_of_workflow_in_state"),
    ],
    ids=["all workflows", "one workflow"],
)
async def test_nothing_is_read_but_by_an_index(
    planner: PostgresConnection,
    workflow_id: uuid.UUID | None,
    of_instances: str,
) -> None:
    query, _ = stats_query(Window(490000, 490024, 1), workflow_id)
    cursor = await planner.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + query)
    (((explained,),),) = await cursor.fetchall()
    scans = [node for node in below(explained["Plan"]) if "Relation Name" in node]
    counts = [node for node in scans if node["Relation Name"] == "counts"]
    assert len(counts) == 2
    for node in counts:
        if "$1" in node.get("Index Cond", ""):
            assert_reads(node, "counts_pkey")
            assert node["Index Cond"].count("ROW(workflow_id, hour)") == 2
        else:
            assert_reads(node, "counts_of_now", *(["counts_pkey"] if workflow_id else []))
    (past,) = (node for node in scans if node["Relation Name"] == "past_counts")
    assert_reads(past, "past_counts_pkey")
    assert all(f"({part}" in past["Index Cond"] for part in ("workflow_id = ", "step = ", "hour >= ", "hour < "))
    (instances,) = (node for node in scans if node["Relation Name"] == "instances")
    assert_reads(instances, of_instances)
    for node in scans:
        if node["Relation Name"] == "workflows":
            assert_reads(node, "workflows_pkey")


async def test_what_is_moved_is_looked_through_once_at_most(planner: PostgresConnection) -> None:
    """Not once for each of its rows: the projections' connections join nothing by hashes."""
    cursor = await planner.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + statement("merge_counts"))
    (((explained,),),) = await cursor.fetchall()
    assert [node.get("CTE Name") for node in below(explained["Plan"])].count("steps") <= 1


def assert_reads(node: dict[str, Any], *indexes: str) -> None:
    assert node["Node Type"] in ("Index Scan", "Index Only Scan"), node
    assert node["Index Name"] in indexes, node
