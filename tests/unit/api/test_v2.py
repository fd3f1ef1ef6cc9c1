"""Surface v2: what v1 does, with pages, `status` alone and NOT_FOUND (contract: `http-api`, Surface v2)."""

from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec import Raw

from api import v1, v2
from api.ports import OccurrenceRow
from schemas.commands import CreateTrigger
from tests.unit.api.fakes import START, Backend, Client, make_client

UNKNOWN = "6e0c0000-0000-0000-0000-000000000000"


def test_every_difference_is_one_of_an_operation() -> None:
    assert set(v2.DIFFERENCES) <= {operation.id for operation in v1.OPERATIONS}


def add_trigger(backend: Backend, name: str) -> UUID:
    workflow_id = str(next(iter(backend.workflow_rows)))
    return backend.add_trigger(uuid4(), CreateTrigger(name=name, event="PAID", workflow_id=workflow_id)).id


def filled() -> tuple[Backend, dict[str, Any]]:
    """Five workflows, one of them deleted; instances of two, every other one ended; triggers and occurrences."""
    backend = Backend()
    workflows = [backend.add_workflow(uuid4()) for _ in range(5)]
    backend.workflow_rows[workflows[4].id] = msgspec.structs.replace(workflows[4], deleted_at=START)
    for n in range(8):
        backend.add_instance(uuid4(), workflows[n % 4 // 2].id, ended=bool(n % 2))
    triggers = [add_trigger(backend, name) for name in ("Payouts", "refunds", "PAYINS", "")]
    backend.occurrence_rows = [
        OccurrenceRow(uuid4(), trigger, START, None, Raw(b"{}"), "boom") for trigger in triggers[:2] for _ in range(3)
    ]
    return backend, {
        "workflow": workflows[0].id,
        "other_workflow": workflows[1].id,
        "trigger": triggers[0],
        "other_trigger": triggers[1],
    }


async def walk(client: Client, target: str, backwards: bool = False) -> list[list[str]]:
    """The ids on each page, from the first one to the last and, if wanted, back again."""
    pages = []
    path = target.partition("?")[0]
    way = "next"
    while True:
        answer = await client.call("GET", target)
        assert answer.status == 200
        cursor = answer.json()["cursor"]
        assert cursor["hasMore"] is ("next" in cursor)
        pages.append([row["id"] for row in cursor["data"]])
        if backwards and "next" not in cursor:
            way = "previous"
        if way not in cursor:
            return pages
        target = f"{path}?cursor={cursor[way]}"


def flat(pages: list[list[str]]) -> list[str]:
    return [id for page in pages for id in page]


LISTS = [
    ("/workflows", "/workflows"),
    ("/instances", "/instances"),
    ("/instances?running=true", "/instances?running=1"),
    ("/instances?workflowID={workflow}", "/instances?workflowID={workflow}"),
    ("/instances?workflowID={workflow}&running=TRUE", "/instances?workflowID={workflow}&running=true"),
    ("/instances?workflowID=", "/instances"),
    ("/instances?running=&running=true", "/instances?running=&running=true"),
    ("/instances?cursor=&workflowID=&workflowID={workflow}", "/instances?workflowID={workflow}"),
    ("/instances?workflowID={workflow}&workflowID={other_workflow}", "/instances"),
    ("/instances?state=running&state=retrying&key=&error=", "/instances?running=1"),
    ("/instances?workflowId={workflow}", "/instances"),
    ("/instances?workflowID=abc", "/instances?workflowID=abc"),
    (f"/instances?workflowID={UNKNOWN}", f"/instances?workflowID={UNKNOWN}"),
    ("/triggers", "/triggers"),
    ("/triggers?name=pay", "/triggers?name=pay"),
    ("/triggers?name=nope", "/triggers?name=nope"),
    ("/triggers/{trigger}/occurrences", "/triggers/{trigger}/occurrences"),
    (f"/triggers/{UNKNOWN}/occurrences", f"/triggers/{UNKNOWN}/occurrences"),
    ("/triggers/abc/occurrences", "/triggers/abc/occurrences"),
]


@pytest.mark.parametrize(("target", "of_v1"), LISTS)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_pages_show_what_the_list_of_v1_shows(target: str, of_v1: str, size: int) -> None:
    backend, ids = filled()
    client = make_client(backend)
    rows = (await client.call("GET", of_v1.format(**ids))).data
    expected = sorted((row["id"] for row in rows), key=lambda id: order(backend)[id], reverse=True)
    target = f"/v2{target.format(**ids)}"
    pages = await walk(client, f"{target}{'&' if '?' in target else '?'}pageSize={size}", backwards=True)
    count = max(1, -(-len(expected) // size))
    assert [len(page) for page in pages[: count - 1]] == [size] * (count - 1)
    assert flat(pages[:count]) == expected
    assert pages[count:] == pages[: count - 1][::-1]


def order(backend: Backend) -> dict[str, Any]:
    rows: list[Any] = [*backend.workflow_rows.values(), *backend.instance_rows.values()]
    rows += [*backend.trigger_rows.values(), *backend.occurrence_rows]
    return {str(row.id): row.position for row in rows}


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("", 15),
        ("?pageSize=", 15),
        ("?pageSize=0", 15),
        ("?pageSize=2", 2),
        ("?pageSize=007", 7),
        ("?pageSize=1000", 1000),
        ("?pageSize=1001", 1000),
        ("?pageSize=99999999999999999999", 1000),
        ("?pagesize=3", 15),
        ("?pageSize=2&pageSize=3", 2),
        ("?cursor=&pageSize=2", 2),
        ("?pageSize=&pageSize=2", 2),
    ],
)
async def test_the_answer_shows_the_page_size_that_is_used(query: str, size: int) -> None:
    backend, ids = filled()
    client = make_client(backend)
    for path in ("/workflows", "/instances", "/triggers", f"/triggers/{ids['trigger']}/occurrences"):
        shown = (await client.call("GET", f"/v2{path}{query}")).json()["cursor"]
        assert shown["pageSize"] == size


@pytest.mark.parametrize("path", ["/workflows", "/instances", "/triggers", f"/triggers/{UNKNOWN}/occurrences"])
@pytest.mark.parametrize(
    "query",
    [
        "pageSize=-1",
        "pageSize=abc",
        "pageSize=1.5",
        "pageSize=+5",
        "pageSize=%2B5",
        "pageSize=%20",
        "cursor=x",
        "cursor=e30",
        "cursor=e30&pageSize=2",
        "cursor=%00",
        "cursor=%ff",
    ],
)
async def test_what_is_no_page_is_refused(path: str, query: str) -> None:
    answer = await make_client(Backend()).call("GET", f"/v2{path}?{query}")
    assert answer.error == (400, "VALIDATION")


async def next_of(client: Client, target: str) -> str:
    return str((await client.call("GET", target)).json()["cursor"]["next"])


async def test_a_cursor_is_good_for_its_own_list_alone() -> None:
    backend, ids = filled()
    client = make_client(backend)
    paths = ["/v2/workflows", "/v2/instances", "/v2/triggers"]
    paths += [f"/v2/triggers/{ids[name]}/occurrences" for name in ("trigger", "other_trigger")]
    for maker in paths:
        cursor = await next_of(client, f"{maker}?pageSize=1")
        for path in paths:
            answer = await client.call("GET", f"{path}?cursor={cursor}")
            if path == maker:
                assert answer.status == 200
            else:
                assert answer.error == (400, "VALIDATION")
    shouted = f"/v2/triggers/{str(ids['trigger']).upper()}/occurrences"
    assert (
        await client.call("GET", f"{shouted}?cursor={await next_of(client, paths[3] + '?pageSize=1')}")
    ).status == 200


async def test_beside_a_cursor_all_other_parameters_are_ignored() -> None:
    backend, ids = filled()
    client = make_client(backend)
    cursor = await next_of(client, f"/v2/instances?pageSize=1&running=true&workflowID={ids['workflow']}")
    expected = (await client.call("GET", f"/v2/instances?cursor={cursor}")).json()
    assert expected["cursor"]["pageSize"] == 1
    assert [row["terminated"] for row in expected["cursor"]["data"]] == [False]
    for other in ("pageSize=2", "pageSize=-1", "running=false", "workflowID=abc", "x=y"):
        for query in (f"{other}&cursor={cursor}", f"cursor={cursor}&{other}"):
            assert (await client.call("GET", f"/v2/instances?{query}")).json() == expected
    cursor = await next_of(client, "/v2/triggers?pageSize=1&name=PAY")
    shown = (await client.call("GET", f"/v2/triggers?cursor={cursor}&name=refunds")).json()
    assert [row["name"].lower()[:3] for row in shown["cursor"]["data"]] == ["pay"]


async def test_rows_that_arrive_in_between_are_neither_skipped_nor_repeated() -> None:
    backend, _ = filled()
    client = make_client(backend)
    before = flat(await walk(client, "/v2/workflows?pageSize=2"))
    cursor = await next_of(client, "/v2/workflows?pageSize=2")
    newer = backend.add_workflow(UUID(int=2**128 - 1))
    second = (await client.call("GET", f"/v2/workflows?cursor={cursor}")).json()["cursor"]
    assert [row["id"] for row in second["data"]] == before[2:]
    first = (await client.call("GET", f"/v2/workflows?cursor={second['previous']}")).json()["cursor"]
    assert [row["id"] for row in first["data"]] == before[:2]
    front = (await client.call("GET", f"/v2/workflows?cursor={first['previous']}")).json()["cursor"]
    assert [row["id"] for row in front["data"]] == [str(newer.id)]
    assert "previous" not in front


@pytest.mark.parametrize("settings", [{"cursor_secret": "s"}, {"database_schema": "x"}])
async def test_replicas_take_each_others_cursors_and_no_strangers(settings: dict[str, str]) -> None:
    backend, _ = filled()
    client, replica = make_client(backend, **settings), make_client(backend, **settings)
    cursor = await next_of(client, "/v2/workflows?pageSize=1")
    assert (await replica.call("GET", f"/v2/workflows?cursor={cursor}")).status == 200
    assert (await make_client(backend).call("GET", f"/v2/workflows?cursor={cursor}")).error == (400, "VALIDATION")


async def test_a_name_of_any_characters_fits_into_a_cursor() -> None:
    backend, _ = filled()
    name = "é\0&=%\U0001f600 "
    for _ in range(2):
        add_trigger(backend, name)
    client = make_client(backend)
    assert [len(page) for page in await walk(client, f"/v2/triggers?pageSize=1&name={quote(name)}")] == [1, 1]


async def test_an_instance_is_that_of_v1_without_statuses() -> None:
    backend, ids = filled()
    client = make_client(backend)
    for instance_id in backend.instance_rows:
        of_v1 = (await client.call("GET", f"/instances/{instance_id}")).data
        shown = (await client.call("GET", f"/v2/instances/{instance_id}")).data
        assert of_v1.pop("statuses") == shown["status"]
        assert shown.pop("state") == ("succeeded" if shown["terminated"] else "running")
        assert shown == of_v1
    headers = {"Idempotency-Key": "k"}
    run = await client.call("POST", f"/v2/workflows/{ids['workflow']}/instances", {"a": None}, headers)
    again = await client.call("POST", f"/workflows/{ids['workflow']}/instances", {"a": ""}, headers)
    assert (run.status, again.data["id"]) == (201, run.data["id"])


@pytest.mark.parametrize(
    ("method", "target", "body", "expected"),
    [
        ("GET", f"/workflows/{UNKNOWN}", b"", (404, "NOT_FOUND")),
        ("GET", "/workflows/abc", b"", (404, "NOT_FOUND")),
        ("DELETE", f"/workflows/{UNKNOWN}", b"", (404, "NOT_FOUND")),
        ("DELETE", "/workflows/abc", b"", (400, "VALIDATION")),
        ("POST", f"/workflows/{UNKNOWN}/instances", b"", (404, "NOT_FOUND")),
        ("GET", f"/instances/{UNKNOWN}", b"", (404, "NOT_FOUND")),
        ("POST", "/instances/abc/events", {"name": "x"}, (404, "NOT_FOUND")),
        ("POST", "/instances/abc/events", {}, (400, "VALIDATION")),
        ("PUT", "/instances/abc/abort", b"", (404, "NOT_FOUND")),
        ("GET", "/instances/abc/history", b"", (404, "NOT_FOUND")),
        ("GET", "/instances/{instance}/stages/7/history", b"", (404, "NOT_FOUND")),
        ("GET", "/instances/{instance}/stages/+0/history", b"", (404, "NOT_FOUND")),
        ("GET", f"/triggers/{UNKNOWN}", b"", (404, "NOT_FOUND")),
        ("DELETE", "/triggers/abc", b"", (404, "NOT_FOUND")),
        ("POST", "/triggers", {"event": "x", "workflowID": UNKNOWN}, (404, "NOT_FOUND")),
        ("POST", "/triggers", {"event": "x"}, (400, "VALIDATION")),
        ("POST", f"/triggers/{UNKNOWN}/test", {}, (404, "NOT_FOUND")),
        ("POST", "/triggers/abc/test", {}, (404, "NOT_FOUND")),
        ("POST", "/triggers/{trigger}/test", b"", (400, "VALIDATION")),
        ("POST", "/triggers/{trigger}/test", b"null", (400, "VALIDATION")),
        ("POST", "/triggers/{trigger}/test", [], (400, "VALIDATION")),
        ("POST", "/triggers/{trigger}/test", b"{", (400, "VALIDATION")),
        ("GET", "/triggers/{trigger}/test", b"", (405, "VALIDATION")),
        ("PUT", "/workflows", b"", (405, "VALIDATION")),
        ("POST", "/workflows", {"stages": [{"sned": {}}]}, (400, "VALIDATION")),
        ("GET", "/flows", b"", (404, "NOT_FOUND")),
    ],
)
async def test_refusals(method: str, target: str, body: Any, expected: tuple[int, str]) -> None:
    backend, ids = filled()
    instance = next(iter(backend.instance_rows))
    path = "/v2" + target.format(instance=instance, **ids)
    assert (await make_client(backend).call(method, path, body)).error == expected
    assert not backend.commands


async def test_the_test_of_a_trigger_is_on_v2_alone() -> None:
    backend, ids = filled()
    client = make_client(backend)
    path = f"/triggers/{ids['trigger']}/test"
    assert (await client.call("POST", path, {})).error == (404, "NOT_FOUND")
    tested = await client.call("POST", f"/v2{path}", {})
    assert (tested.status, tested.data) == (200, {})
    assert not backend.commands


async def test_collections_and_items_take_a_trailing_slash() -> None:
    backend, ids = filled()
    client = make_client(backend)
    paths = ["/workflows/", "/instances/", "/triggers/", f"/workflows/{ids['workflow']}/"]
    paths += [f"/instances/{next(iter(backend.instance_rows))}/", f"/triggers/{ids['trigger']}/"]
    paths += [f"/triggers/{ids['trigger']}/occurrences/"]
    for path in paths:
        assert (await client.call("GET", f"/v2{path}")).status == 200


async def test_a_cursor_of_a_filter_that_nothing_passes_leads_nowhere() -> None:
    """Also when the page has become empty since."""
    backend, _ = filled()
    client = make_client(backend)
    cursor = await next_of(client, "/v2/instances?running=true&pageSize=2")
    for instance_id in backend.instance_rows:
        backend.end(instance_id)
    shown = (await client.call("GET", f"/v2/instances?cursor={cursor}")).json()
    assert shown == {"cursor": {"pageSize": 2, "hasMore": False, "data": []}}
