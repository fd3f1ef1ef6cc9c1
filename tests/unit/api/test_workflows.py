"""Workflows: create, read, list, delete (contract: `http-api`, Surface v1)."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.commands import CreateWorkflow, DeleteWorkflow
from tests.unit.api.fakes import Backend, make_client

NOOP: dict[str, object] = {"stages": [{"noop": {}}]}


async def test_create_appends_one_command_and_answers_from_the_read_model() -> None:
    backend = Backend()
    answer = await make_client(backend).call("POST", "/workflows", {"name": "payout", "stages": [{"noop": None}]})
    assert answer.status == 201
    ((key, command),) = backend.commands
    assert isinstance(command, CreateWorkflow)
    assert (command.name, command.stages, command.request_digest) == ("payout", [{"noop": None}], None)
    assert answer.data == {
        "id": str(key),
        "config": {"name": "payout", "stages": [{"noop": None}]},
        "createdAt": "2026-03-01T10:00:01.120931Z",
        "updatedAt": "2026-03-01T10:00:01.120931Z",
    }


async def test_a_missing_name_is_empty_and_integers_of_any_size_stay_exact() -> None:
    amount = 2**200 + 1
    stage = {"noop": {"n": amount}}
    answer = await make_client(Backend()).call("POST", "/workflows", {"stages": [stage]})
    assert answer.data["config"] == {"name": "", "stages": [stage]}


YAML = b"""
name: payout
stages:
  - delay: {until: 2026-04-01T00:00:00Z}
  - noop: {n: 12345678901234567890123}
"""


@pytest.mark.parametrize(
    "content_type",
    [
        "text/vnd.yaml",
        "application/yaml",
        "application/x-yaml",
        "text/yaml",
        "text/vnd.yaml; charset=utf-8",
        "Text/YAML",
    ],
)
async def test_create_takes_yaml(content_type: str) -> None:
    answer = await make_client(Backend()).call("POST", "/workflows", YAML, {"Content-Type": content_type})
    assert answer.data["config"] == {
        "name": "payout",
        "stages": [{"delay": {"until": "2026-04-01T00:00:00Z"}}, {"noop": {"n": 12345678901234567890123}}],
    }


async def test_yaml_over_the_size_for_a_thread_is_read_as_well() -> None:
    padding = b"# " + b"x" * 20_000 + b"\n"
    answer = await make_client(Backend()).call("POST", "/workflows", padding + YAML, {"Content-Type": "text/vnd.yaml"})
    assert answer.status == 201


@pytest.mark.parametrize(
    ("body", "hinted"),
    [(YAML, True), (b"# a comment", True), (b"---\na: 1", True), (b"{", False), (b"x", False), (b"\x1f\x8b:", False)],
)
async def test_yaml_without_its_content_type_is_refused_with_a_hint(body: bytes, hinted: bool) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await make_client(Backend()).call("POST", "/workflows", body, kind)
    assert answer.error == (400, "VALIDATION")
    message = answer.json()["errorMessage"]
    assert message.startswith("malformed JSON: ")
    assert message.endswith("; YAML needs Content-Type: application/yaml") == hinted
    checked = await make_client(Backend()).call("POST", "/v2/workflows/validate", body, kind)
    (finding,) = checked.data["findings"]
    assert finding["message"] == message


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/xml", ""])
async def test_every_other_body_is_json(content_type: str) -> None:
    client = make_client(Backend())
    assert (await client.call("POST", "/workflows", NOOP, {"Content-Type": content_type})).status == 201
    assert (await client.call("POST", "/workflows", YAML, {"Content-Type": content_type})).status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"{", b"null", b"[]", b"{}", b'{"stages": null}', b'{"stages": [{"sned": {}}]}', b'{"stages": []} x'],
)
async def test_what_is_no_definition_is_refused_without_a_command(body: bytes) -> None:
    backend = Backend()
    answer = await make_client(backend).call("POST", "/workflows", body)
    assert answer.error == (400, "VALIDATION")
    assert not backend.commands


async def test_a_deleted_workflow_still_answers_but_is_not_listed() -> None:
    backend = Backend()
    kept, deleted = backend.add_workflow(uuid4()), backend.add_workflow(uuid4())
    client = make_client(backend)
    assert (await client.call("DELETE", f"/workflows/{deleted.id}")).status == 204
    ((key, command),) = backend.commands
    assert (key, command) == (deleted.id, DeleteWorkflow())
    shown = (await client.call("GET", f"/workflows/{deleted.id}")).data
    assert shown["deletedAt"] == shown["updatedAt"] != shown["createdAt"]
    assert [row["id"] for row in (await client.call("GET", "/workflows")).data] == [str(kept.id)]


async def test_deleting_again_changes_nothing() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    client = make_client(backend)
    for _ in range(2):
        answer = await client.call("DELETE", f"/workflows/{workflow.id}")
        assert (answer.status, answer.body, answer.headers) == (204, b"", {})
    assert len(backend.commands) == 1


@pytest.mark.parametrize(
    ("method", "workflow_id", "expected"),
    [
        ("DELETE", "abc", (400, "VALIDATION")),
        ("DELETE", "6e0c0000000000000000000000000000", (400, "VALIDATION")),
        ("DELETE", "6e0c0000-0000-0000-0000-000000000000", (404, "NOT_FOUND")),
        ("GET", "abc", (404, "VALIDATION")),
        ("GET", "6e0c0000-0000-0000-0000-000000000000", (404, "VALIDATION")),
        ("GET", "%7B6e0c0000-0000-0000-0000-000000000000%7D", (404, "VALIDATION")),
    ],
)
async def test_unknown_ids(method: str, workflow_id: str, expected: tuple[int, str]) -> None:
    answer = await make_client(Backend()).call(method, f"/workflows/{workflow_id}")
    assert answer.error == expected


async def test_ids_are_found_in_any_letter_case() -> None:
    backend = Backend()
    workflow = backend.add_workflow(UUID("6e0cabcd-0000-4000-8000-00000000abcd"))
    answer = await make_client(backend).call("GET", f"/workflows/{str(workflow.id).upper()}")
    assert answer.data["id"] == str(workflow.id)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4])
async def test_lists_are_streamed_page_by_page(rows: int) -> None:
    backend = Backend()
    ids = [str(backend.add_workflow(uuid4()).id) for _ in range(rows)]
    sent: list[Any] = []
    client = make_client(backend)
    client.on_send = lambda message: sent.append((message["type"], len([c for c in backend.calls if c == "page"])))
    answer = await client.call("GET", "/workflows")
    assert [row["id"] for row in answer.data] == ids
    assert answer.complete
    if rows > backend.page_rows:  # the first piece is out before the second page is read
        assert ("http.response.body", 1) in sent


async def test_a_fault_in_the_middle_of_a_list_breaks_it_off() -> None:
    backend = Backend()
    for _ in range(3):
        backend.add_workflow(uuid4())
    client = make_client(backend)
    seen: list[bytes] = []

    def fail_after_first_piece(message: Any) -> None:
        if message["type"] == "http.response.body":
            seen.append(message["body"])
            backend.postgres_away = True

    client.on_send = fail_after_first_piece
    with pytest.raises(Exception, match="Postgres is away"):
        await client.call("GET", "/workflows")
    assert len(seen) == 1
    assert not seen[0].endswith(b"]}")


async def test_a_list_is_not_read_on_when_the_client_is_gone() -> None:
    backend = Backend()
    for _ in range(10):
        backend.add_workflow(uuid4())
    client = make_client(backend)
    client.disconnected = True
    answer = await client.call("GET", "/workflows")
    assert not answer.complete
    assert backend.calls.count("page") < 5
