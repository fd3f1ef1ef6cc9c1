"""Texts of errors are short, wherever they are stored or answered, whatever was written into what they repeat."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from msgspec import Raw

from api.resources.trigger_tests import test_trigger as try_trigger
from engine.activities.attempts import as_failure
from engine.core.decisions import ActivityDone
from engine.core.effects import effect
from engine.core.shard import Shard
from engine.turn import Turn
from schemas import events
from schemas.commands import CreateTrigger, FireTrigger, RunWorkflow
from schemas.error_texts import MAX_ERROR_BYTES, cut_error
from schemas.records import RecordCodec, UndecodableRecord
from schemas.stack.errors import NoAnswer
from tests.definitions import definition
from tests.ports.log import StoredRecord
from tests.unit.api.fakes import Backend, make_client
from tests.unit.api.test_trigger_tests import services
from tests.unit.engine.core.deciding import decide

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
LONG = "é\x01" * 100_000
CODEC = RecordCodec()


def assert_short(text: str | None) -> None:
    assert text
    assert len(text.encode()) <= MAX_ERROR_BYTES


@pytest.mark.parametrize("text", ["", "a" * 4096, "é" * 2048, "😀" * 1024])
def test_what_is_short_enough_stays(text: str) -> None:
    assert cut_error(text) == text


@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
def test_what_is_too_long_is_cut_between_characters(character: str) -> None:
    cut = cut_error(character * 5000)
    assert cut == character * ((MAX_ERROR_BYTES - 3) // len(character.encode())) + "…"
    assert_short(cut)


async def test_answers_of_the_api() -> None:
    client = make_client(Backend())
    stages: list[Any] = [{"update": {"account": {"id": "a", "metadata": {LONG[:40_000]: 1}}}}]
    for method, path, body in (
        ("POST", "/workflows", {"stages": stages}),
        ("GET", f"/workflows/{'x' * 50_000}", None),
        ("GET", f"/triggers/{'x' * 50_000}", None),
        ("POST", "/triggers", {"event": "X", "workflowID": "x" * 50_000}),
    ):
        answer = await client.call(method, path, body)
        assert answer.status in (400, 404)
        assert_short(answer.json()["errorMessage"])


def fail(stage: dict[str, Any], *outputs: Any) -> str | None:
    """The error of an instance of one stage whose activities answer so."""
    progress = decide(
        None, RunWorkflow(workflow_id="w", stages=definition([stage]), variables={"long": LONG}), NOW, "i"
    )
    for output in outputs:
        pending = effect(progress.state)
        assert pending is not None
        progress = decide(progress.state, ActivityDone(pending.token, output=output), NOW, "i")
    *_, stage_ended, ended = progress.events
    assert isinstance(stage_ended, events.StageEnded)
    assert isinstance(ended, events.InstanceEnded)
    assert ended.error == stage_ended.error
    return ended.error


def test_stages_that_fail() -> None:
    amount = {"amount": 1, "asset": "EUR/2"}
    psp = {"payment": {"psp": "stripe", "metadata": "${long}"}}
    account = {"account": {"id": "a"}}
    unnamed = {"send": {"source": account, "destination": psp, "amount": amount}}
    assert_short(fail(unnamed, {"data": {"metadata": {}}}))
    assert_short(fail({"update": {"account": {"id": "a", "metadata": {LONG: 1}}}}))


def test_rejections_and_dead_letters() -> None:
    record = StoredRecord(0, b"x", b"{}", [("type", LONG.encode())])
    with pytest.raises(UndecodableRecord) as caught:
        CODEC.decode_command(record)
    assert_short(str(caught.value))
    turn = Turn(Shard(), CODEC, 7, 0, NOW)
    turn.refuse(record, "x", LONG)
    rejected = last_event(turn)
    assert isinstance(rejected, events.CommandRejected)
    assert_short(rejected.message)


def last_event(turn: Turn) -> Any:
    record = turn.records[-1]
    return CODEC.decode_event(StoredRecord(0, record.key, record.value, record.headers)).event


def test_occurrences_that_fail() -> None:
    """Also when the engine that judged the message did not cut the error."""
    trigger_id = str(uuid4())
    turn = Turn(Shard(), CODEC, 7, 0, NOW)
    turn.command(0, trigger_id, CreateTrigger(name="", event="X", workflow_id="w"))
    fire = FireTrigger(occurrence_id=str(uuid4()), event=Raw(b"{}"), source="x/0", offset=0, error=LONG)
    turn.command(1, trigger_id, fire)
    failed = last_event(turn)
    assert isinstance(failed, events.TriggerFailed)
    assert_short(failed.error)


def test_calls_that_fail() -> None:
    assert_short(as_failure(NoAnswer(LONG)).error)


async def test_tests_of_triggers() -> None:
    backend = Backend()
    variables = {f"v{number}": 'link(event, repeat("\\x01", 999900))' for number in range(30)}
    command = CreateTrigger(name="", event="X", workflow_id=str(uuid4()), filter="true", vars=variables)
    row = backend.add_trigger(uuid4(), command)
    result = await try_trigger(services(backend), str(row.id), {})
    answer = msgspec.json.encode(result)
    assert len(answer) < 30 * 6 * MAX_ERROR_BYTES + 10_000
    for variable in msgspec.json.decode(answer)["variables"].values():
        assert_short(variable["error"])
