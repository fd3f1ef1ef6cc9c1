"""Pages of v2 on a real Postgres: each row once, in order, and found by an index."""

import itertools
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from starlette.applications import Starlette

from api.app import create_app
from api.cursors import START
from projections.database import PARSED_ONCE
from projections.migrate import migrate
from projections.postgres_connection import PostgresConnection
from projections.queries import pages
from projections.queries.connections import IN_ORDER, Connections
from projections.queries.instance_filters import InstanceFilters, instances_query
from projections.queries.pages import NEWEST, page_query
from projections.queries.read_model import ReadModel
from projections.read_rows import RowPosition
from projections.sql import statement
from schemas import events
from schemas.settings import ApiSettings, ProjectionsSettings
from tests.happened import CREATED, LISTENS, WORKFLOW, at, fired, started
from tests.integration.projection_world import Tables, Writer, planning
from tests.unit.api.fakes import Backend, Client, fake_services

OTHER = uuid.UUID(int=2)
IN_BOTH = "instances_of_workflow_in_state"
NOBODY = uuid.UUID(int=99)


def same_place(settings: ApiSettings) -> ProjectionsSettings:
    return ProjectionsSettings(database_url=settings.database_url, database_schema=settings.database_schema)


@pytest.fixture
async def settings(database_url: str, database_schema: str) -> AsyncIterator[ApiSettings]:
    settings = ApiSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    Tables(same_place(settings)).catch_up()
    yield settings
    Tables(same_place(settings)).drop()


@pytest.fixture
async def writer(settings: ApiSettings) -> AsyncIterator[Writer]:
    writer = Writer(same_place(settings))
    yield writer
    await writer.store.close()


@pytest.fixture
async def app(settings: ApiSettings) -> AsyncIterator[Starlette]:
    """The API on the real read model; nothing here sends a command."""
    backend = Backend()
    services = fake_services(backend, settings, read_model=ReadModel(settings))
    app = create_app(settings, services)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def client(app: Starlette) -> Client:
    return Client(app)


async def read(client: Client, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.call("GET", f"/v2{path}?{urlencode(query)}")
    assert answer.status == 200, answer
    cursor: dict[str, Any] = answer.json()["cursor"]
    assert cursor["hasMore"] is ("next" in cursor)
    return cursor


def ids_of(cursor: dict[str, Any]) -> list[str]:
    return [row["id"] for row in cursor["data"]]


async def walk(client: Client, path: str, way: str, page: dict[str, Any]) -> list[dict[str, Any]]:
    """This page and those behind it, or in front of it."""
    pages = [page]
    while way in pages[-1]:
        pages.append(await read(client, path, cursor=pages[-1][way]))
    return pages


def flat(pages: list[dict[str, Any]]) -> list[str]:
    return [id for page in pages for id in ids_of(page)]


async def fill(writer: Writer) -> list[uuid.UUID]:
    """Instances of two workflows, in pairs of the same microsecond; every third one runs."""
    await writer.write((WORKFLOW, CREATED), (OTHER, CREATED))
    ids = [uuid.uuid4() for _ in range(12)]
    for n, id in enumerate(ids):
        happened: list[Any] = [started(n // 2 + 1e-6, OTHER if n % 4 == 0 else WORKFLOW)]
        if n % 3:
            happened.append(events.InstanceEnded(workflow_id="w", at=at(n)))
        await writer.write(*((id, event) for event in happened))
    return ids


FILTERS: list[dict[str, Any]] = [
    dict(pair)
    for pair in itertools.product(
        (("workflowID", ""), ("workflowID", WORKFLOW), ("workflowID", NOBODY)),
        (("running", "false"), ("running", "true")),
    )
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("size", [1, 2, 5, 12])
async def test_a_walk_there_and_back_shows_each_instance_once_and_in_order(
    writer: Writer, client: Client, filters: dict[str, Any], size: int
) -> None:
    ids = await fill(writer)
    expected = [
        str(ids[n])
        for n in sorted(range(12), key=lambda n: (n // 2, ids[n]), reverse=True)
        if filters["workflowID"] in ("", OTHER if n % 4 == 0 else WORKFLOW)
        and (filters["running"] == "false" or n % 3 == 0)
    ]
    first = await read(client, "/instances", pageSize=size, **filters)
    pages = await walk(client, "/instances", "next", first)
    assert flat(pages) == expected
    assert [len(page["data"]) for page in pages[:-1]] == [size] * (len(pages) - 1)
    back = await walk(client, "/instances", "previous", pages[-1])
    assert [ids_of(page) for page in back[::-1]] == [ids_of(page) for page in pages]


async def test_instances_that_start_in_between_are_neither_skipped_nor_repeated(writer: Writer, client: Client) -> None:
    ids = {str(id) for id in await fill(writer)}
    page = await read(client, "/instances", pageSize=5)
    seen = ids_of(page)
    for n in itertools.count(1):
        if "next" not in page:
            break
        # One in front of all, and one in the middle: partitions are not projected in the order of time.
        await writer.write((uuid.uuid4(), started(100 + n)), (uuid.uuid4(), started(3)))
        page = await read(client, "/instances", cursor=page["next"])
        seen += ids_of(page)
    assert len(seen) == len(set(seen))
    assert ids <= set(seen)
    back = flat((await walk(client, "/instances", "previous", page))[::-1])
    everything = flat(await walk(client, "/instances", "next", await read(client, "/instances")))
    assert len(everything) > len(ids)
    assert back == everything


async def test_a_page_whose_rows_are_gone_leads_to_what_is_left(writer: Writer, client: Client) -> None:
    ids = [uuid.UUID(int=n) for n in range(1, 7)]
    await writer.write(*((id, CREATED) for id in ids))
    first = await read(client, "/workflows", pageSize=2)
    second = await read(client, "/workflows", cursor=first["next"])
    await writer.write(*((id, events.WorkflowDeleted(at=at(1))) for id in ids[4:]))
    again = await read(client, "/workflows", cursor=first["next"])
    assert ids_of(again) == ids_of(second)
    assert "previous" not in again
    empty = await read(client, "/workflows", cursor=second["previous"])
    assert (empty["data"], "previous" in empty) == ([], False)
    assert ids_of(await read(client, "/workflows", cursor=empty["next"])) == ids_of(second)
    await writer.write(*((id, events.WorkflowDeleted(at=at(1))) for id in ids[:2]))
    empty = await read(client, "/workflows", cursor=second["next"])
    assert (empty["data"], empty["hasMore"]) == ([], False)
    assert ids_of(await read(client, "/workflows", cursor=empty["previous"])) == ids_of(second)


# Indexes

ROWS = 5_000
PARENTS = 50
MIDDLE = RowPosition(at(0), NOBODY)


NUMBERS = f"""
    CREATE TEMP TABLE numbers AS
        SELECT n, gen_random_uuid() AS id, timestamptz '{MIDDLE.created_at}' + (n - {ROWS // 2}) * interval '1 s' AS at,
               lpad((n % {PARENTS})::text, 32, '0')::uuid AS parent
        FROM generate_series(1, {ROWS}) n;
"""  # noqa: S608
FILL = """
    INSERT INTO workflows SELECT id, 'w', '[]', at, at FROM numbers;
    INSERT INTO instances SELECT id, parent, at, at, CASE WHEN n / 50 % 20 > 0 THEN at END FROM numbers;
    INSERT INTO triggers (id, name, folded_name, event, workflow_id, created_at)
        SELECT id, 'N', 'n', 'e', parent, at FROM numbers;
    INSERT INTO occurrences SELECT id, parent, at, NULL, '{}' FROM numbers;
"""
ALL_RUN = "UPDATE instances SET terminated_at = NULL;"
ALL_BUT_ONE_END = "UPDATE instances SET terminated_at = at FROM numbers WHERE numbers.id = instances.id AND n > 1;"
ANALYZE = "ANALYZE workflows, instances, triggers, occurrences;"
STATISTICS = {
    "new tables": "",
    "empty tables": ANALYZE,
    "many workflows": NUMBERS + FILL + ANALYZE,
    "one workflow": NUMBERS + f"UPDATE numbers SET parent = '{WORKFLOW}';" + FILL + ANALYZE,  # noqa: S608
    "all of them run": NUMBERS + FILL + ALL_RUN + ANALYZE,
    "one of them runs": NUMBERS + FILL + ALL_BUT_ONE_END + ANALYZE,
}
"""What Postgres knows when it plans a statement, by what the tables hold. The plan may stay when that changes."""


@pytest.fixture(params=STATISTICS, ids=str)
async def planner(request: pytest.FixtureRequest, settings: ApiSettings) -> AsyncIterator[PostgresConnection]:
    """A connection that plans as those for lists do."""
    async with planning(settings, STATISTICS[request.param], {**PARSED_ONCE, **IN_ORDER}) as connection:
        yield connection


PLANS: list[tuple[str, dict[str, Any], str]] = [
    ("instances_page", {}, "instances_newest"),
    ("instances_page", {"running": True}, "instances_running"),
    ("instances_page", {"workflow_id": WORKFLOW}, "instances_of_workflow"),
    ("instances_page", {"workflow_id": WORKFLOW, "running": True}, "instances_running_of_workflow"),
    ("small_instances_page", {"max_rows": 9}, "instances_newest"),
    ("small_instances_page", {"max_rows": 9, "running": True}, "instances_running"),
    ("small_instances_page", {"max_rows": 9, "workflow_id": WORKFLOW}, "instances_of_workflow"),
    (
        "small_instances_page",
        {"max_rows": 9, "workflow_id": WORKFLOW, "running": True},
        "instances_running_of_workflow",
    ),
    ("small_instances_page", {"max_rows": 9, "preceded": True}, "instances_newest"),
    ("small_instances_page", {"max_rows": 9, "preceded": True, "running": True}, "instances_running"),
    ("small_instances_page", {"max_rows": 9, "preceded": True, "workflow_id": WORKFLOW}, "instances_of_workflow"),
    (
        "small_instances_page",
        {"max_rows": 9, "preceded": True, "workflow_id": WORKFLOW, "running": True},
        "instances_running_of_workflow",
    ),
    ("workflows_page", {}, "workflows_newest"),
    ("triggers_page", {}, "triggers_newest"),
    ("triggers_page", {"folded_name": "n"}, "triggers_newest"),
    ("occurrences_page", {"trigger_id": WORKFLOW}, "occurrences_of_trigger"),
]


async def test_a_page_is_read_by_the_index_of_its_filters(planner: PostgresConnection) -> None:
    for (name, filters, index), backwards in itertools.product(PLANS, (False, True)):
        query = page_query(name, None if backwards else MIDDLE, MIDDLE if backwards else None, 15, **filters)
        cursor = await planner.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + query.statement)
        (((explained,),),) = await cursor.fetchall()
        nodes = below(explained["Plan"])
        table = name.removeprefix("small_").removesuffix("_page")
        scans = [node for node in nodes if node.get("Relation Name") == table]
        case = (name, filters, backwards, scans)
        # The other one looks on the other side of the position.
        assert len(scans) == (2 if "preceded" in filters else 1), case
        for scan in scans:
            assert scan["Node Type"] in ("Index Scan", "Index Only Scan"), case
            assert scan["Index Name"] == index, case
            assert "ROW(" in scan["Index Cond"], case
        assert not [node for node in nodes if node["Node Type"] in ("Sort", "Incremental Sort", "Seq Scan")], case
        others = {node["Index Name"] for node in nodes if node.get("Relation Name") not in (None, table)}
        assert others <= {"workflows_pkey", "stages_pkey", "instances_pkey"}, case


BOTH: tuple[uuid.UUID, ...] = (WORKFLOW, OTHER)
SEARCHES: list[tuple[InstanceFilters, str, list[str]]] = [
    (InstanceFilters(key="a"), "instance_keys_pkey", ["key = $"]),
    (InstanceFilters(key=str(NOBODY)), "instance_keys_pkey", ["key = $"]),
    (InstanceFilters(key="a", states=("failed",), workflow_ids=BOTH), "instance_keys_pkey", ["key = $"]),
    (
        InstanceFilters(key="a", error="x", terminated_after=at(0), created_before=at(9)),
        "instance_keys_pkey",
        ["key = $"],
    ),
    (InstanceFilters(states=("paused",)), "instances_in_state", ["state = "]),
    (InstanceFilters(states=("paused", "failed"), running=True), "instances_in_state", ["state = "]),
    (InstanceFilters(error="x"), "instances_in_state", ["state = "]),
    (InstanceFilters(terminated_after=at(0), terminated_before=at(9)), "instances_in_state", ["state = "]),
    (InstanceFilters(states=("paused",), workflow_ids=(WORKFLOW,)), IN_BOTH, ["state = ", "workflow_id = "]),
    (InstanceFilters(error="x", workflow_ids=BOTH, created_after=at(0)), IN_BOTH, ["state = ", "workflow_id = "]),
    (InstanceFilters(workflow_ids=BOTH), "instances_of_workflow", ["workflow_id = "]),
    (InstanceFilters(workflow_ids=BOTH, running=True), "instances_running_of_workflow", ["workflow_id = "]),
    (InstanceFilters(created_after=at(0), created_before=at(9)), "instances_newest", ["created_at "]),
]
"""With the index that each stream is read by, and what bounds it there beside the position."""


async def test_a_search_reads_each_stream_by_the_index_of_its_filters(planner: PostgresConnection) -> None:
    for (filters, index, bounds), backwards in itertools.product(SEARCHES, (False, True)):
        query = instances_query(filters, None if backwards else MIDDLE, MIDDLE if backwards else None, 15)
        cursor = await planner.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + query.statement)
        (((explained,),),) = await cursor.fetchall()
        nodes = below(explained["Plan"])
        scans = [node for node in nodes if "ROW(" in node.get("Index Cond", "") and node.get("Index Name") == index]
        case = (filters, backwards, nodes)
        assert len(scans) == 1, case
        assert all(bound in scans[0]["Index Cond"] for bound in bounds), case
        assert "Filter" not in scans[0], case
        others = [node for node in nodes if "Relation Name" in node and node is not scans[0]]
        keys = ("instances_pkey", "workflows_pkey", "stages_pkey", "instance_keys_pkey")
        assert all(
            node["Index Name"] in keys and (" = " in node["Index Cond"] or "(id >= " in node["Index Cond"])
            for node in others
        ), case
        # What is sorted was found in streams: no sort comes before the innermost limits.
        limits = [node for node in nodes if node["Node Type"] == "Limit" and scans[0] in below(node)]
        assert len(limits) >= 2, case
        innermost = min(limits, key=lambda node: len(below(node)))
        assert not [node for node in below(innermost) if node["Node Type"] in ("Sort", "Incremental Sort")], case


async def test_keys_of_streams_are_looked_up_one_by_one(planner: PostgresConnection) -> None:
    cursor = await planner.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + statement("keys_of_instances"))
    (((explained,),),) = await cursor.fetchall()
    (keys,) = (node for node in below(explained["Plan"]) if node.get("Relation Name") == "instance_keys")
    assert keys["Index Name"] == "instance_keys_pkey"
    assert keys["Index Cond"].count(" = ") == 3


def test_a_list_begins_where_its_cursors_do() -> None:
    assert NEWEST == START


def below(node: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan's node and all below it, but those that are never executed."""
    if node.get("One-Time Filter") == "false":
        return []
    return [node, *(found for child in node.get("Plans", []) for found in below(child))]


BOUND = 64 * 1024
LARGE = "x" * (BOUND // 2)
"""Two rows with it reach the bound."""


@pytest.fixture
async def large(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """Seven large things of each kind; the newest of them is larger than the bound."""
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", BOUND)
    ids = [uuid.UUID(int=1000 + n) for n in range(7)]
    texts = [LARGE] * 6 + [LARGE * 3]
    for n, (id, text) in enumerate(zip(ids, texts, strict=True)):
        stages = [{"wait_event": {"event": text}}]
        await writer.write((id, events.WorkflowCreated(at=at(n), name="", stages=stages)), (id, started(n, id)))
        await writer.write((id, msgspec.structs.replace(LISTENS, at=at(n), filter=text)))
        occurrence = msgspec.structs.replace(fired(id, n), event={"type": text})
        stage = events.StageStarted(workflow_id="w", at=at(n), number=n, name="RunWaitEvent", input={"event": text})
        call = events.ActivityStarted(at=at(n), stage=0, index=n, name="GetWallet", input={"id": text})
        await writer.write((ids[0], occurrence), (ids[0], stage), (ids[0], call))
    return ids


@pytest.fixture
def read_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each page that was read from Postgres, without its last row."""
    read: list[int] = []
    execute = Connections.execute

    async def measured(self: Connections, query: bytes, parameters: Any) -> list[tuple[Any, ...]]:
        rows = await execute(self, query, parameters)
        read.append(sum(len(value) for row in rows[:-1] for value in row if isinstance(value, str)))
        return rows

    monkeypatch.setattr(Connections, "execute", measured)
    return read


LISTS = ["/workflows", "/instances", "/triggers", "/triggers/{0}/occurrences"]


@pytest.mark.parametrize("path", LISTS)
async def test_large_rows_make_a_page_shorter(
    large: list[uuid.UUID], read_at_once: list[int], client: Client, path: str
) -> None:
    path = path.format(large[0])
    expected = [str(id) for id in reversed(large)]
    pages = await walk(client, path, "next", await read(client, path, pageSize=5))
    assert [len(ids_of(page)) for page in pages] == [1, 2, 2, 2]
    assert flat(pages) == expected
    assert {page["pageSize"] for page in pages} == {5}
    back = await walk(client, path, "previous", pages[-1])
    assert flat(back[::-1]) == expected
    assert max(read_at_once) < BOUND


COMPLETE = [*LISTS, "/triggers?pageSize=6", "/instances/{0}/history", "/instances/{0}/stages/0/history"]


@pytest.mark.parametrize("path", COMPLETE)
async def test_a_list_without_cursors_is_complete_and_never_in_memory_whole(
    large: list[uuid.UUID], read_at_once: list[int], client: Client, path: str
) -> None:
    answer = await client.call("GET", path.format(large[0]))
    assert answer.status == 200
    assert answer.complete
    assert len(answer.data) == (6 if "pageSize" in path else 7)
    assert len(answer.body) > 4 * BOUND
    assert answer.pieces > 3
    assert max(read_at_once) < BOUND


@pytest.mark.parametrize("path", COMPLETE)
async def test_a_short_list_comes_in_one_piece(writer: Writer, client: Client, path: str) -> None:
    id = uuid.UUID(int=1000)
    stage = events.StageStarted(workflow_id="w", at=at(0), number=0, name="RunNoop", input={})
    await writer.write((WORKFLOW, CREATED), (id, started()), (id, stage), (id, LISTENS), (id, fired(id)))
    answer = await client.call("GET", path.format(id))
    assert answer.status == 200
    assert len(answer.data) == (0 if "stages" in path else 1)
    assert answer.pieces == 1
    assert answer.headers["content-length"] == str(len(answer.body))
