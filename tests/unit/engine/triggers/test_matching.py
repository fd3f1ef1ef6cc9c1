"""Messages and triggers: what is a message, what fires, with which command (`engine.triggers`)."""

import tracemalloc
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from engine.metrics import Metrics
from engine.triggers.definitions import CompiledTrigger, Definitions, compile_trigger
from engine.triggers.failures import LOG_SECONDS, MAX_LABELLED, OTHERS, FilterFailures
from engine.triggers.matching import (
    MAX_COMMAND_BYTES,
    MAX_COMPOUNDS,
    MAX_MESSAGE_BYTES,
    Message,
    NoEnvelope,
    fire,
    read_message,
)
from schemas.commands import NO_STAGES, EvaluateTrigger, FireTrigger
from schemas.current import Current, CurrentTrigger, CurrentWorkflow, decode_current, encode_current, records_of
from schemas.definition import StageUnresolvable, resolve_stage
from schemas.error_texts import MAX_ERROR_BYTES
from schemas.expressions import Expression
from schemas.expressions.limits import MAX_VARIABLES_LENGTH
from schemas.nesting import MAX_DEPTH
from schemas.records import UndecodableRecord
from tests.ports.log import StoredRecord

TRIGGER, WORKFLOW = str(UUID(int=1)), str(UUID(int=2))
STAGES = Raw(b'[{"noop":{}}]')
PAYLOAD = {"ledger": "main", "links": [{"name": "account", "uri": "http://stack/a"}]}


def definitions(*currents: Current) -> Definitions:
    """Definitions that know these, and the workflow."""
    known = Definitions()
    for current in (Current(WORKFLOW, 1, CurrentWorkflow(stages=STAGES)), *currents):
        known.apply(current)
    return known


def message(payload: Any = PAYLOAD, offset: int = 7, **fields: Any) -> Message:
    value = msgspec.json.encode({"type": "X", "version": "v2", "payload": payload, **fields})
    return read_message("ledger/0", offset, value)


def compiled(**trigger: Any) -> CompiledTrigger:
    return compile_trigger(TRIGGER, CurrentTrigger(event="X", workflow_id=WORKFLOW, **trigger))


async def fired(given: Message, **trigger: Any) -> FireTrigger | None:
    """What a message makes of a trigger that needs no links."""
    command = await judged(compiled(**trigger), given, definitions())
    assert not isinstance(command, EvaluateTrigger)
    return command


async def judged(trigger: CompiledTrigger, given: Message, known: Definitions) -> FireTrigger | EvaluateTrigger | None:
    return await fire(trigger, given, known, FilterFailures(Metrics(CollectorRegistry())))


# Messages


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        b"{",
        b"hello",
        b"[]",
        b"null",
        b"17",
        b'"X"',
        b"{}",
        b'{"type": null}',
        b'{"type": 5}',
        b'{"Type": "X"}',
        b'{"type": "X"} x',
        b'{"type": "X", "payload": 1e999}',
        b'{"type": "X", "payload": ' + b"9" * 5000 + b"}",
        b'{"type": "X", "payload": "\xff"}',
        b'{"type": "X", "payload": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"type": "X", "payload": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"type": "X", "payload": "' + b"x" * MAX_MESSAGE_BYTES + b'"}',
        b'{"type": "X", "payload": [' + b"{}," * MAX_COMPOUNDS + b"1]}",
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_envelope(value: bytes | None) -> None:
    with pytest.raises(NoEnvelope):
        read_message("ledger/0", 7, value)


def test_a_message_may_be_large() -> None:
    items = b"[]," * (MAX_COMPOUNDS - 3)
    assert read_message("ledger/0", 7, b'{"type": "X", "text": "' + b"[" * 9 + b'", "payload": [' + items + b"1]}")


@pytest.mark.parametrize(
    ("value", "type_", "version", "payload"),
    [
        (b'{"type": "X"}', "X", None, None),
        (b'{"type": "", "payload": null}', "", None, None),
        (b' {"type": "X", "version": 2, "payload": [1]}\n', "X", None, [1]),
        (
            b'{"type": "X", "version": "v2", "payload": {"n": 12345678901234567890}}',
            "X",
            "v2",
            {"n": 12345678901234567890},
        ),
        (b'{"type": "X", "payload": ' + b"[[]," * 98 + b"1" + b"]" * 98 + b"}", "X", None, ...),
        (b'{"type": "X", "payload": [' + b"{}," * 500 + b"1]}", "X", None, [{}] * 500 + [1]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_messages(value: bytes, type_: str, version: str | None, payload: Any) -> None:
    read = read_message("ledger/0", 7, value)
    assert (read.source, read.offset, read.type, read.version) == ("ledger/0", 7, type_, version)
    assert payload is ... or read.payload == payload
    assert bytes(read.envelope) == value, "the envelope is kept as it came"


@pytest.mark.parametrize(
    ("type_", "payload", "once"),
    [
        ("SAVED_PAYMENT", {"id": "p1", "status": "PENDING"}, 'SAVED_PAYMENT:"p1"'),
        ("SAVED_ACCOUNT", {"id": "p1"}, 'SAVED_ACCOUNT:"p1"'),
        ("SAVED_PAYMENT", {"id": 1}, "SAVED_PAYMENT:1"),
        ("SAVED_PAYMENT", {"id": "1"}, 'SAVED_PAYMENT:"1"'),
        ("SAVED_PAYMENT", {"id": None}, None),
        ("SAVED_PAYMENT", {}, None),
        ("SAVED_PAYMENT", [], None),
        ("SAVED_PAYMENT", None, None),
        ("COMMITTED_TRANSACTIONS", {"id": "p1"}, None),
    ],
)
async def test_what_fires_once_ever(type_: str, payload: Any, once: str | None) -> None:
    given = message(payload, type=type_)
    command = await fired(given)
    assert command is not None
    assert given.once_key == command.once_key == once


def test_a_long_id_that_fires_once_is_remembered_as_a_digest() -> None:
    first, other, again = (
        message({"id": id}, type="SAVED_PAYMENT").once_key for id in ("x" * 2000, "y" * 2000, "x" * 2000)
    )
    assert first is not None
    assert first == again != other
    assert len(first) < 60


# Filters


@pytest.mark.parametrize(
    ("trigger", "fires"),
    [
        ({}, True),
        ({"filter": ""}, True),
        ({"filter": "true"}, True),
        ({"filter": "event.ledger == 'main'"}, True),
        ({"filter": "event.ledger == 'other'"}, False),
        ({"filter": "event.nobody.name == 1"}, False),
        ({"filter": "1+1"}, False),
        ({"filter": "nil"}, False),
        ({"filter": "'true'"}, False),
        ({"filter": "nobody_knows"}, False),
        ({"filter": "event."}, False),
        ({"version": "v2"}, True),
        ({"version": ""}, True),
        ({"version": "v1"}, False),
        ({"version": "V2"}, False),
    ],
)
async def test_whether_it_fires(trigger: dict[str, Any], fires: bool) -> None:
    assert (await fired(message(), **trigger) is not None) is fires


@pytest.mark.parametrize("version", [None, 2, ""])
async def test_a_message_without_that_version_does_not_fire(version: Any) -> None:
    assert await fired(message(version=version), version="v2") is None
    assert await fired(message(version=version)) is not None


async def test_expressions_see_only_the_payload() -> None:
    assert await fired(message(), filter="event.payload != nil or event.type != nil") is None


# Commands


async def test_the_command_of_a_message() -> None:
    given = message({"n": 10**30, "flag": True})
    command = await fired(given, vars={"n": "event.n", "flag": "event.flag", "nothing": "event.x"})
    assert command is not None
    assert command == FireTrigger(
        occurrence_id=command.occurrence_id,
        event=given.envelope,
        source="ledger/0",
        offset=7,
        stages=STAGES,
        variables={"n": str(10**30), "flag": "true"},
    )


async def test_a_variable_that_is_nil_is_not_given_and_an_empty_one_is() -> None:
    command = await fired(message({"empty": "", "none": None}), vars={"a": "event.empty", "b": "event.none", "c": "x"})
    assert command is not None
    assert command.variables == {"a": ""}
    stage = {"wait_event": {"event": "merchant-${b}"}}
    with pytest.raises(StageUnresolvable, match=r'^variable "b" is not given$'):
        resolve_stage(stage, command.variables)


async def test_a_message_always_makes_the_same_occurrence() -> None:
    ids = [command.occurrence_id for command in [await fired(message(offset=n)) for n in (7, 7, 8)] if command]
    assert ids[0] == ids[1] != ids[2]
    other = compile_trigger(str(uuid4()), CurrentTrigger(event="X", workflow_id=WORKFLOW))
    command = await judged(other, message(), definitions())
    assert command is not None
    assert command.occurrence_id not in ids


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"a": "1", "bad": "event.x.name"}, "bad: cannot fetch name from nil"),
        ({"bad": "event."}, "bad: unexpected end of expression"),
        ({"bad": "link(event, 'no')"}, "bad: link 'no' not defined for object"),
        ({"bad": "1e308 * 10"}, "bad: a float"),
        ({"x" * 500: "event.x.name"}, "x" * 100 + ": cannot"),
        ({f"v{n}": f"repeat('x', {MAX_VARIABLES_LENGTH // 2})" for n in range(3)}, "the variables have more than"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_variable_that_fails_is_the_commands_error(variables: dict[str, str], error: str) -> None:
    command = await fired(message(), vars=variables)
    assert command is not None
    assert command.variables == {}
    assert command.error is not None
    assert command.error.startswith(error)


async def test_a_bug_in_an_evaluation_is_the_commands_error(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("bug")

    monkeypatch.setattr(Expression, "evaluate", broken)
    command = await fired(message(), vars={"a": "event.ledger"})
    assert command is not None
    assert command.error == "a: internal fault"
    assert "KeyError" in caplog.text
    assert await fired(message(), filter="event.ledger == 'main'") is None


LINKED = "link(event, 'account').owner"


@pytest.mark.parametrize(
    "trigger",
    [
        {"vars": {"a": LINKED}},
        {"vars": {"a": "1", "b": LINKED}},
        {"filter": f"{LINKED} == 'Ada'"},
        {"filter": "event.ledger == 'main'", "vars": {"a": LINKED}},
        {"filter": f"event.ledger == 'main' and {LINKED} == 'Ada'"},
    ],
)
async def test_what_needs_a_link_is_for_the_triggers_owner(trigger: dict[str, Any]) -> None:
    given = message(idempotency_key="k1")
    command = await judged(compiled(**trigger), given, definitions())
    assert isinstance(command, EvaluateTrigger)
    assert command == EvaluateTrigger(
        occurrence_id=command.occurrence_id,
        event=given.envelope,
        source="ledger/0",
        offset=7,
        identity=given.identity,
        stages=STAGES,
    )


@pytest.mark.parametrize(
    ("trigger", "kind"),
    [
        pytest.param({"filter": "event.ledger == 'other'", "vars": {"a": LINKED}}, None, id="it does not match"),
        pytest.param({"filter": f"event.ledger == 'other' and {LINKED}"}, None, id="the link is not asked for"),
        pytest.param({"vars": {"a": "link(event, 'no').owner"}}, FireTrigger, id="there is no such link"),
        pytest.param({"vars": {"a": f"event.ledger ?? {LINKED}"}}, FireTrigger, id="the link is not needed"),
        pytest.param({"vars": {"a": "event.x.y", "b": LINKED}}, FireTrigger, id="a variable before it failed"),
    ],
)
async def test_what_needs_no_link_is_judged_at_once(trigger: dict[str, Any], kind: type | None) -> None:
    assert type(await judged(compiled(**trigger), message(), definitions())) is (kind or type(None))


async def test_a_command_that_topics_would_not_take_fails_and_names_its_size() -> None:
    """Without the bound it would be sent again for ever, and nothing behind it would fire."""
    text = "\x01" * 300_000
    given = message({"text": text, "more": "x" * (MAX_MESSAGE_BYTES - 1_900_000)})
    workflow = Raw(b'["' + b"x" * 2_000_000 + b'"]')
    known = definitions(Current(WORKFLOW, 2, CurrentWorkflow(stages=workflow)))
    command = await judged(compiled(vars={"a": "event.text[:240000]"}), given, known)
    assert isinstance(command, FireTrigger)
    assert command.error is not None
    assert command.error.startswith("the message, its workflow and the variables take ")
    assert (command.stages, command.variables, command.event) == (NO_STAGES, {}, given.envelope)
    command = await judged(compiled(vars={"a": "event.text[:20000]"}), given, known)
    assert isinstance(command, FireTrigger)
    assert (command.error, command.stages) == (None, workflow)
    assert len(msgspec.json.encode(command)) <= MAX_COMMAND_BYTES


async def test_all_expressions_of_a_trigger_together_are_bounded() -> None:
    """Without it, 400 variables that each take all steps of an evaluation keep an engine busy for half a minute."""
    command = await fired(message(), vars={f"v{number}": "count(1..33000, # > 0)" for number in range(400)})
    assert command is not None
    assert command.error == "v4: the filter and the variables take more than 500000 steps together"


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({str(n): "1" for n in range(401)}, "at most 400 variables are allowed, not 401"),
        (
            {str(n): " " * 9000 + "1" for n in range(12)},
            "the filter and the variables have more than 100000 characters",
        ),
    ],
    ids=["many", "large"],
)
async def test_a_trigger_that_was_created_before_there_were_limits(variables: dict[str, str], error: str) -> None:
    command = await fired(message(), vars=variables)
    assert command is not None
    assert command.variables == {}
    assert command.error is not None
    assert command.error.startswith(error)
    assert await fired(message(), filter="false", vars=variables) is None


def test_expressions_are_not_compiled_before_a_message_comes() -> None:
    """A start reads all triggers; to compile them takes 10 microseconds a character."""
    definition = CurrentTrigger(event="X", workflow_id=WORKFLOW, filter="event.a", vars={"a": "event.b"})
    compiled = compile_trigger(TRIGGER, definition)
    assert compiled.filter is not None
    assert not any(expression.is_compiled for expression in (compiled.filter, *compiled.vars.values()))


async def test_errors_are_cut() -> None:
    command = await fired(message(), vars={"a": "link(event, repeat('\\x01', 999900))"})
    assert command is not None
    assert command.error is not None
    assert command.error.startswith("a: link '\x01")
    assert len(command.error.encode()) <= MAX_ERROR_BYTES


@pytest.mark.parametrize(
    ("fields", "headers", "same_as"),
    [
        pytest.param({"idempotency_key": "k1"}, [], "a", id="the envelope's key"),
        pytest.param({"idempotency_key": "k1"}, [("ce_id", b"h1")], "a", id="goes before a header"),
        pytest.param({"idempotency_key": "k1", "app": "wallets"}, [], "b", id="another app's key"),
        pytest.param({"idempotency_key": "k2"}, [], "c", id="another key"),
        pytest.param({"idempotency_key": ""}, [("ce_id", b"h1")], "d", id="a header, where the key is empty"),
        pytest.param({"idempotency_key": 5}, [("ce_id", b"h1")], "d", id="or no text"),
        pytest.param({}, [("x", b"y"), ("ce_id", b"h1")], "d", id="or not there"),
        pytest.param({}, [("_watermill_message_uuid", b"w1"), ("ce_id", b"h1")], "d", id="this one goes first"),
        pytest.param({}, [("_watermill_message_uuid", b"w1"), ("ce_id", b"")], "e", id="the other one"),
        pytest.param({}, [("_watermill_message_uuid", b"w1"), ("ce_id", None)], "e", id="a header without a value"),
        pytest.param({}, [("ce_id", b"h1"), ("ce_id", b"h2")], "d", id="a header that comes twice"),
        pytest.param({}, [("ce_id", b"\xff")], "f", id="bytes"),
        pytest.param({}, [("ce_id", b"\xfe")], "g", id="other bytes"),
        pytest.param({}, [("ce_id", b"\0\0\0\x81")], "h", id="a counter"),
        pytest.param({"idempotency_key": 5}, [], "i", id="a number, where nothing else is there"),
        pytest.param({"idempotency_key": 6}, [("ce_id", b"")], "j", id="another number"),
        pytest.param({}, [("x", b"y")], None, id="nothing"),
        pytest.param({"idempotency_key": None}, [], None, id="null"),
        pytest.param({"idempotency_key": 0}, [], None, id="zero"),
        pytest.param({"idempotency_key": True}, [], None, id="a boolean"),
    ],
)
def test_what_tells_a_message_from_others(fields: dict[str, Any], headers: Any, same_as: str | None) -> None:
    known = {
        "a": identity({"idempotency_key": "k1"}),
        "b": identity({"idempotency_key": "k1", "app": "wallets"}),
        "c": identity({"idempotency_key": "k2"}),
        "d": identity({"idempotency_key": "h1"}),
        "e": identity({"idempotency_key": "w1"}),
        "f": identity({}, [("ce_id", b"\xff")]),
        "g": identity({}, [("ce_id", b"\xfe")]),
        "h": identity({}, [("ce_id", b"\0\0\0\x81")]),
        "counter before": identity({}, [("ce_id", b"\0\0\0\x80")]),
        "i": identity({"idempotency_key": "5"}),
        "j": identity({"idempotency_key": "6"}),
    }
    assert len(set(known.values())) == len(known)
    assert identity(fields, headers) == (known[same_as] if same_as else None)


def identity(fields: dict[str, Any], headers: Any = ()) -> str | None:
    """What tells a message with these fields."""
    value = msgspec.json.encode({"type": "X", "app": "ledger", **fields})
    return read_message("ledger/0", 7, value, headers).identity


async def test_the_command_carries_the_identity() -> None:
    command = await fired(message(idempotency_key="k1", app="ledger"))
    assert command is not None
    assert command.identity == identity({"idempotency_key": "k1"})
    assert len(command.identity or "") == 32


# Filters that tell nothing


@pytest.mark.parametrize(
    ("filter_", "reason"),
    [
        ("event.amount > 1000", "error"),
        ("event.nobody.name == 1", "error"),
        ("event.", "error"),
        ("1+1", "no_boolean"),
        ("nobody_knows", "no_boolean"),
        ("event.ledger == 'other'", None),
        ("true", None),
    ],
)
async def test_filters_that_tell_nothing_are_counted(
    filter_: str, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    failures = FilterFailures(Metrics(registry))
    for _ in range(3):
        given = message({"amount": "1,250", "ledger": "main"})
        assert (await fire(compiled(filter=filter_), given, definitions(), failures) is None) is (filter_ != "true")
    for possible in ("error", "no_boolean"):
        labels = {"trigger": TRIGGER, "reason": possible}
        counted = registry.get_sample_value("orchestration_engine_trigger_filter_failures_total", labels)
        assert counted == (3 if possible == reason else None)
    assert caplog.text.count("could not be evaluated") == (1 if reason else 0)


def test_triggers_with_failing_filters_are_told_apart_up_to_a_number(caplog: pytest.LogCaptureFixture) -> None:
    registry, now = CollectorRegistry(), [0.0]
    failures = FilterFailures(Metrics(registry), lambda: now[0])
    for n in range(MAX_LABELLED + 20):
        failures.note(f"t{n}", "error", "boom")
    name = "orchestration_engine_trigger_filter_failures_total"
    assert registry.get_sample_value(name, {"trigger": "t0", "reason": "error"}) == 1
    assert registry.get_sample_value(name, {"trigger": OTHERS, "reason": "error"}) == 20
    assert len(caplog.records) == MAX_LABELLED + 1
    now[0] = LOG_SECONDS
    for _ in range(2):
        failures.note("t0", "error", "boom")
        failures.note("t119", "error", "boom")
    assert [record.args[0] for record in caplog.records[-2:] if isinstance(record.args, tuple)] == ["t0", "t119"]
    assert len(caplog.records) == MAX_LABELLED + 3


# Definitions


def trigger(trigger_id: str, version: int = 1, event: str = "X") -> Current:
    return Current(trigger_id, version, CurrentTrigger(event=event, workflow_id=WORKFLOW))


def listening(known: Definitions, event: str = "X") -> Iterator[str]:
    return (trigger.id for trigger in known.triggers(event))


def test_triggers_are_known_by_what_they_listen_to() -> None:
    known = definitions(trigger("b"), trigger("a"), trigger("c", event="Y"))
    assert list(listening(known)) == ["a", "b"]
    assert list(listening(known, "Y")) == ["c"]
    assert list(listening(known, "x")) == []


def test_the_newest_version_counts_in_whatever_order_they_come() -> None:
    known = definitions(trigger("a"), Current("a", 2, None), trigger("a"))
    assert list(listening(known)) == []
    known = definitions(Current("a", 2, None), trigger("a"))
    assert list(listening(known)) == []


def test_a_workflow_is_kept_as_it_is_written() -> None:
    stages = [{"wait_event": {"event": f"e{n}"}} for n in range(16_000)]
    record = encode_current(Current(WORKFLOW, 1, CurrentWorkflow(stages=Raw(msgspec.json.encode(stages)))), 0)
    assert record.value is not None
    stored = StoredRecord(0, record.key, record.value, tuple(record.headers))
    known = Definitions()
    tracemalloc.start()
    try:
        known.apply(decode_current(stored))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1.2 * len(record.value), "decoded it takes twenty times as much"
    workflow = known.workflow(WORKFLOW)
    assert workflow is not None
    assert msgspec.json.decode(workflow.stages) == stages


@pytest.mark.parametrize("value", [b'{"kind":"workflow","stages":5}', b'{"kind":"workflow","stages":[5]}', b"{}"])
def test_what_is_no_definition(value: bytes) -> None:
    with pytest.raises(UndecodableRecord):
        decode_current(StoredRecord(0, WORKFLOW.encode(), value, (("version", b"1"),)))


async def test_a_deleted_workflow_starts_nothing() -> None:
    known = definitions(Current(WORKFLOW, 2, None))
    command = await judged(compiled(), message(), known)
    assert isinstance(command, FireTrigger)
    assert (command.stages, command.error) == (NO_STAGES, None)
    assert known.workflow(WORKFLOW) is None
    assert known.workflow("unknown") is None


def test_a_superseded_engine_can_not_bring_a_deleted_workflow_back() -> None:
    """What it writes late is what compaction keeps of the definition, but not of the deletion."""
    created = Current(WORKFLOW, 1, CurrentWorkflow(stages=STAGES))
    deleted = Current(WORKFLOW, 2, None)
    written = [record for current in (created, deleted, created) for record in records_of(current, 0)]
    kept = {record.key: record for record in written}
    assert kept[WORKFLOW.encode()].value is not None
    for order in (list(kept.values()), list(reversed(kept.values()))):
        known = Definitions()
        for record in order:
            known.apply(decode_current(StoredRecord(0, record.key, record.value, record.headers)))
        assert known.workflow(WORKFLOW) is None
