"""Idempotency-Key: same key and body, same answer and no second effect; another body is 400 (contract: `http-api`)."""

from typing import Any
from uuid import uuid4

import pytest

from api.ports import Rejection
from schemas.commands import CreateWorkflow, RunWorkflow
from schemas.idempotency import NAMESPACE, id_for_key
from tests.unit.api.fakes import PARTITION, Backend, make_client

KEY = {"Idempotency-Key": "k-1"}
NOOP: dict[str, object] = {"stages": [{"noop": {}}]}


async def test_a_repeated_creation_has_the_same_answer_and_no_second_effect() -> None:
    backend = Backend()
    client = make_client(backend)
    first = await client.call("POST", "/workflows", {"stages": [{"noop": {}}], "name": "a"}, KEY)
    second = await client.call("POST", "/workflows", b' {"name":  "a", "stages": [{"noop": {}}]}', KEY)
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    ((key, command),) = backend.commands
    assert key == id_for_key("workflow", "", "k-1")
    assert isinstance(command, CreateWorkflow)
    assert command.request_digest is not None


async def test_another_body_under_the_same_key_is_refused() -> None:
    backend = Backend()
    client = make_client(backend)
    await client.call("POST", "/workflows", NOOP, KEY)
    assert (await client.call("POST", "/workflows", {"stages": []}, KEY)).error == (400, "VALIDATION")
    assert len(backend.commands) == 1


async def test_other_keys_and_no_key_make_other_workflows() -> None:
    backend = Backend()
    client = make_client(backend)
    for headers in (KEY, {"Idempotency-Key": "k-2"}, {}, {}, {"Idempotency-Key": ""}):
        assert (await client.call("POST", "/workflows", NOOP, headers)).status == 201
    assert len({key for key, _ in backend.commands}) == 5


@pytest.mark.parametrize("key", ["é", "a\tb", "Zahlung für März", "\x7f", "€".encode().decode("latin-1"), " a"])
async def test_a_key_that_clients_send_in_different_ways_is_refused(key: str) -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    client = make_client(backend)
    for method, path, body in (
        ("POST", "/workflows", NOOP),
        ("POST", f"/workflows/{instance.workflow_id}/instances", {}),
        ("POST", f"/instances/{instance.id}/events", {"name": "go"}),
        ("PUT", f"/instances/{instance.id}/abort", b""),
        ("POST", "/triggers", {"event": "e", "workflowID": str(instance.workflow_id)}),
    ):
        answer = await client.call(method, path, body, {"Idempotency-Key": key})
        assert answer.error == (400, "VALIDATION")
        assert answer.json()["errorMessage"].startswith("Idempotency-Key: must be printable ASCII")
    assert not backend.commands


@pytest.mark.parametrize(("first", "second"), [(b"", b"null"), (b"{}", b""), (b'{"a":null}', b'{"a":""}')])
async def test_a_repeated_run_has_the_same_answer(first: bytes, second: bytes) -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    client = make_client(backend)
    target = f"/workflows/{workflow.id}/instances"
    answers = [await client.call("POST", target, body, KEY) for body in (first, second)]
    assert answers[0].status == 201
    assert answers[0].body == answers[1].body
    assert len(backend.commands) == 1


async def test_a_run_whose_instance_was_deleted_is_not_run_again() -> None:
    """Engines may have forgotten it, so they would start it once more."""
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    client = make_client(backend)
    target = f"/workflows/{workflow.id}/instances"
    await client.call("POST", target, {"a": "1"}, KEY)
    (row,) = backend.instance_rows.values()
    del backend.instance_rows[row.id]
    assert row.request is not None
    backend.deleted_instances[row.id] = row.request
    answer = await client.call("POST", target, {"a": "1"}, KEY)
    assert answer.error == (400, "VALIDATION")
    assert f"instance {row.id}, which has ended and is deleted" in answer.json()["errorMessage"]
    answer = await client.call("POST", target, {"a": "2"}, KEY)
    assert "another body" in answer.json()["errorMessage"]
    assert len(backend.commands) == 1
    assert (await client.call("GET", f"/instances/{row.id}")).status == 404


async def test_the_offset_is_taken_before_the_look_up_and_goes_with_the_command() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    await make_client(backend).call("POST", f"/workflows/{workflow.id}/instances", {"a": "b"}, KEY)
    ((key, command),) = backend.commands
    assert isinstance(command, RunWorkflow)
    assert key == id_for_key("instance", str(workflow.id), "k-1")
    assert command.seen_offset == 70 + PARTITION
    assert backend.calls[:3] == ["seen_offset", "instance", "append"]


async def test_a_run_is_found_again_after_its_workflow_was_deleted() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    client = make_client(backend)
    target = f"/workflows/{workflow.id}/instances"
    first = await client.call("POST", target, b"", KEY)
    await client.call("DELETE", f"/workflows/{workflow.id}")
    assert (await client.call("POST", target, b"", KEY)).body == first.body
    assert (await client.call("POST", target, {"a": "b"}, KEY)).error == (400, "VALIDATION")
    assert (await client.call("POST", target, b"", {"Idempotency-Key": "k-2"})).error == (404, "VALIDATION")


async def test_a_repeated_run_waits_for_the_end_as_well() -> None:
    backend = Backend()
    backend.ends_at_once = False
    workflow = backend.add_workflow(uuid4())
    client = make_client(backend)
    target = f"/workflows/{workflow.id}/instances"
    await client.call("POST", target, b"", KEY)
    backend.on_wait_ended = backend.end
    assert (await client.call("POST", f"{target}?wait=true", b"", KEY)).data["terminated"] is True


@pytest.mark.parametrize(
    ("rejection", "expected"),
    [("CONFLICT", (400, "VALIDATION")), ("RETRY", (503, "INTERNAL"))],
)
@pytest.mark.parametrize("overtaken", [True, False])
async def test_two_at_once_are_told_apart_by_the_engine(
    rejection: str, expected: tuple[int, str], overtaken: bool
) -> None:
    """Neither finds the other in the read model, so both send; what exists then may be the other one's."""
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    backend.reject = Rejection(rejection, "because")
    backend.overtaken = overtaken
    calls: list[tuple[str, Any]] = [("/workflows", NOOP), (f"/workflows/{workflow.id}/instances", b"")]
    for target, body in calls:
        assert (await make_client(backend).call("POST", target, body, KEY)).error == expected


async def test_a_repeated_event_is_sent_once_also_after_the_instance_has_ended() -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    client = make_client(backend)
    target = f"/instances/{instance.id}/events"
    for _ in range(2):
        assert (await client.call("POST", target, {"name": "go"}, KEY)).status == 204
    assert len(backend.commands) == 1
    backend.end(instance.id)
    assert (await client.call("POST", target, {"name": "go"}, KEY)).status == 204
    assert (await client.call("POST", target, {"name": "other"}, KEY)).error == (400, "VALIDATION")
    assert (await client.call("POST", target, {"name": "go"}, {"Idempotency-Key": "k-2"})).error == (400, "VALIDATION")
    assert len(backend.commands) == 1


@pytest.mark.parametrize(("overtaken", "status"), [(True, 204), (False, 400)])
async def test_of_two_equal_events_at_once_the_first_may_end_the_instance(overtaken: bool, status: int) -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    backend.reject = Rejection("ENDED", "the instance has ended")
    backend.overtaken = overtaken
    answer = await make_client(backend).call("POST", f"/instances/{instance.id}/events", {"name": "go"}, KEY)
    assert answer.status == status


def test_ids_of_keys_never_change() -> None:
    """They are in the log: another id for the same key would have a second effect."""
    assert str(NAMESPACE) == "b3f6ac8e-54e9-5b0c-9b52-1ce2a7a5b0d4"
    assert str(id_for_key("instance", "x", "k")) == "91d41ae7-8aaf-5799-bf7e-763a61c40fac"
    assert id_for_key("instance", "x", "k") != id_for_key("instance", "x\nk", "")
