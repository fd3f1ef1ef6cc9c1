"""The test of a trigger: what is evaluated, and within which bounds (contract: `triggers-and-events`, Trigger test)."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from api.errors import Invalid, NotFound
from api.resources import trigger_tests
from api.services import Services
from schemas.commands import CreateTrigger
from schemas.expressions import Expression, LinkAnswer
from schemas.expressions.limits import MAX_VARIABLES_LENGTH
from schemas.settings import ApiSettings
from tests.unit.api.fakes import Backend, fake_services

PAYLOAD = {"ledger": "main", "n": 12345678901234567890, "links": [{"name": "account", "uri": "http://stack/a"}]}
WHO = "link(event, 'account').owner"


async def outcome(backend: Backend, body: Any = PAYLOAD, **trigger: Any) -> Any:
    """The result for a trigger with these expressions, as it is answered."""
    command = CreateTrigger(name="", event="X", workflow_id=str(uuid4()), **trigger)
    row = backend.add_trigger(uuid4(), command)
    result = await trigger_tests.test_trigger(services(backend), str(row.id), body)
    assert not backend.commands
    return msgspec.json.decode(msgspec.json.encode(result))


def services(backend: Backend) -> Services:
    return fake_services(backend, ApiSettings())


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ({}, {}),
        ({"filter": ""}, {}),
        ({"filter": "", "vars": {}}, {}),
        ({"filter": "event.ledger == 'main'"}, {"filter": {"match": True}}),
        ({"filter": "event.ledger == 'other'"}, {"filter": {"match": False}}),
        ({"filter": "event.ledger == 'other'", "vars": {"a": "1"}}, {"filter": {"match": False}}),
        ({"filter": "1+1", "vars": {"a": "1"}}, {"filter": {"match": False}}),
        (
            {"filter": "event.nobody.name == 1", "vars": {"a": "1"}},
            {"filter": {"match": False, "error": "cannot fetch name from nil"}},
        ),
        (
            {"vars": {"ledger": "event.ledger", "n": "event.n", "nothing": "event.x", "bad": "event.x.name"}},
            {
                "variables": {
                    "ledger": {"value": "main"},
                    "n": {"value": "12345678901234567890"},
                    "nothing": {"value": ""},
                    "bad": {"error": "cannot fetch name from nil"},
                }
            },
        ),
        (
            {"filter": "true", "vars": {"list": "[1, event.ledger]", "flag": "1 == 1"}},
            {"filter": {"match": True}, "variables": {"list": {"value": '[1,"main"]'}, "flag": {"value": "true"}}},
        ),
    ],
)
async def test_what_a_payload_gives(trigger: dict[str, Any], expected: dict[str, Any]) -> None:
    assert await outcome(Backend(), **trigger) == expected


async def test_each_link_is_fetched_once() -> None:
    backend = Backend()
    backend.link_answers["http://stack/a"] = LinkAnswer({"owner": "Ada"})
    shown = await outcome(backend, filter=f"{WHO} == 'Ada'", vars={"a": WHO, "b": WHO, "c": "link(event, 'no')"})
    assert shown["filter"] == {"match": True}
    assert shown["variables"] == {
        "a": {"value": "Ada"},
        "b": {"value": "Ada"},
        "c": {"error": "link 'no' not defined for object"},
    }
    assert backend.calls == ["link http://stack/a"]


async def test_a_link_that_fails_is_an_error_of_its_expression() -> None:
    backend = Backend()
    backend.link_answers["http://stack/a"] = LinkAnswer(error="HTTP 404")
    assert await outcome(backend, vars={"a": WHO, "b": "1"}) == {
        "variables": {"a": {"error": "HTTP 404"}, "b": {"value": "1"}}
    }


@pytest.mark.parametrize("body", [None, [], "text", 1, True])
async def test_a_payload_is_an_object(body: Any) -> None:
    with pytest.raises(Invalid):
        await outcome(Backend(), body)


async def test_unknown_and_deleted_triggers_are_not_found() -> None:
    backend = Backend()
    row = backend.add_trigger(uuid4(), CreateTrigger(name="", event="X", workflow_id=str(uuid4())))
    backend.trigger_rows[row.id] = msgspec.structs.replace(row, deleted_at=row.created_at)
    for trigger_id in (str(row.id), str(UUID(int=0)), "abc"):
        with pytest.raises(NotFound):
            await trigger_tests.test_trigger(services(backend), trigger_id, {})


async def test_past_the_deadline_what_is_left_has_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_tests, "TEST_TIMEOUT_SECONDS", 0.05)
    backend = Backend()
    backend.stalled = True
    backend.link_answers["http://stack/a"] = LinkAnswer({"owner": "Ada"})
    late = {"error": "not evaluated within 0.05 s"}
    async with asyncio.timeout(60):
        assert await outcome(backend, vars={"first": "1", "slow": WHO, "left": "2"}) == {
            "variables": {"first": {"value": "1"}, "slow": late, "left": late}
        }
        assert await outcome(backend, filter=f"{WHO} == 'Ada'", vars={"a": "1"}) == {"filter": {"match": False, **late}}


async def test_the_steps_of_all_expressions_are_bounded() -> None:
    shown = await outcome(Backend(), vars={f"v{number}": "count(1..33000, # > 0)" for number in range(20)})
    values = [variable.get("value") for variable in shown["variables"].values()]
    assert values == ["33000"] * 4 + [None] * 16
    assert shown["variables"]["v19"] == {"error": "the filter and the variables take more than 500000 steps together"}


async def test_a_trigger_with_too_many_variables_evaluates_none() -> None:
    shown = await outcome(Backend(), vars={str(number): "1" for number in range(401)})
    assert (
        shown["variables"]["0"] == shown["variables"]["400"] == {"error": "at most 400 variables are allowed, not 401"}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('fromBase64("é")', {"error": "illegal base64 data at input byte 0"}),
        ('repeat("", 99999999999999999999)', {"error": "memory budget exceeded"}),
        ('split("a", ",", 99999999999999999999)', {"value": '["a"]'}),
        ('replace("aa", "a", "b", 99999999999999999999)', {"value": "bb"}),
        ('fromJSON(repeat("9", 5000))', {"error": "fromJSON: Integer value out of range"}),
    ],
)
async def test_extreme_arguments(text: str, expected: dict[str, str]) -> None:
    assert await outcome(Backend(), vars={"a": text}) == {"variables": {"a": expected}}


async def test_a_bug_in_an_evaluation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OverflowError("a bug")

    monkeypatch.setattr(Expression, "evaluate", fail)
    assert await outcome(Backend(), vars={"a": "1"}) == {"variables": {"a": {"error": "internal fault"}}}


async def test_all_variables_together_are_bounded() -> None:
    half = f"repeat('x', {MAX_VARIABLES_LENGTH // 2})"
    shown = (await outcome(Backend(), vars={"a": half, "b": half, "c": half, "d": "''"}))["variables"]
    assert [len(shown[name].get("value", "")) for name in "ab"] == [MAX_VARIABLES_LENGTH // 2] * 2
    assert shown["c"] == {"error": f"the variables have more than {MAX_VARIABLES_LENGTH} characters"}
