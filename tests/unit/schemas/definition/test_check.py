"""All errors and warnings of a definition at once, and the variables that it uses."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings

from schemas.definition import InvalidDefinition, Report, check_definition, parse_definition, shown_path
from schemas.definition.errors import located
from schemas.definition.findings import MAX_FINDINGS
from schemas.definition.suggestions import SMALLEST_UNIT
from tests.definition_strategies import definitions
from tests.unit.schemas.definition.test_definition import (
    ACCEPTED_STAGES,
    ACCOUNT,
    AMOUNT,
    PAYMENT_IN,
    PAYMENT_OUT,
    REFUSED_BODIES,
    REFUSED_STAGES,
    send,
    send_amount,
    update,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def check(*stages: Any) -> Report:
    return check_definition({"name": "payout", "stages": list(stages)}, NOW)


def said(report: Report) -> list[tuple[str, str, str]]:
    return [(found.severity, shown_path(found.path), found.message) for found in report.findings]


def creation_says(value: object) -> str | None:
    try:
        parse_definition(value)
    except InvalidDefinition as error:
        return str(error)
    return None


def first_error(report: Report) -> str | None:
    errors = [found for found in report.findings if found.severity == "error"]
    return located(errors[0].path, errors[0].message) if errors else None


@settings(max_examples=500)
@given(definitions)
def test_creation_refuses_what_has_errors_and_says_the_first(value: object) -> None:
    report = check_definition(value, NOW)
    assert creation_says(value) == first_error(report)
    assert (report.errors == 0) == (creation_says(value) is None)


@pytest.mark.parametrize("body", [body for body, _ in REFUSED_BODIES], ids=str)
def test_bodies_that_are_refused_have_one_error(body: object) -> None:
    report = check_definition(body, NOW)
    assert first_error(report) == creation_says(body)
    assert report.errors == 1


@pytest.mark.parametrize("stage", [stage for stage, _ in REFUSED_STAGES])
def test_stages_that_are_refused_have_the_error_of_creation(stage: object) -> None:
    assert first_error(check({"noop": {}}, stage)) == creation_says({"stages": [{"noop": {}}, stage]}) is not None


@pytest.mark.parametrize("stage", ACCEPTED_STAGES)
def test_stages_that_are_accepted_have_no_errors(stage: object) -> None:
    assert check(stage).errors == 0


def test_a_good_definition_has_nothing_to_say() -> None:
    report = check(send(destination={"account": {"id": "b"}}), {"delay": {"duration": "1h"}}, {"noop": None})
    assert (said(report), report.uses) == ([], [])


def test_all_errors_are_found_at_once() -> None:
    wrong = send(
        source={"account": {"ledger": 5, "allowOverdraft": "yes"}},
        destination={"payment": {"type": "GIFT"}},
        amount={"amount": -1},
        metadata={"a": 1, "b": "fine", "c": None},
        timestamp="yesterday",
    )
    report = check_definition({"name": 7, "stages": [wrong, None, {"delay": {"duration": 5, "until": "x"}}]}, NOW)
    assert [(path, message) for severity, path, message in said(report) if severity == "error"] == [
        ("name", "must be a string, not an integer"),
        ("stages[0].send.source.account.id", "is required"),
        ("stages[0].send.source.account.ledger", "must be a string, not an integer"),
        ("stages[0].send.source.account.allowOverdraft", 'must be true or false, not "yes"'),
        ("stages[0].send.destination.payment.psp", "is required"),
        ("stages[0].send.destination.payment.type", 'must be TRANSFER or PAYOUT, not "GIFT"'),
        ("stages[0].send.amount.amount", "must not be negative"),
        ("stages[0].send.amount.asset", "is required"),
        ("stages[0].send.metadata.a", "must be a string, not an integer"),
        ("stages[0].send.metadata.c", "must be a string, not null"),
        ("stages[0].send.timestamp", 'must be an RFC 3339 date and time, not "yesterday"'),
        ("stages[1]", "must be an object with one key, the name of the stage"),
        ("stages[2].delay.duration", "must be a string, not an integer"),
        ("stages[2].delay.until", 'must be an RFC 3339 date and time, not "x"'),
    ]


@pytest.mark.parametrize(
    ("stage", "errors"),
    [
        # whether there has to be an amount, and whether payment goes to payment, is not known
        ({"send": {"source": {"bank": {}}, "destination": ACCOUNT}}, ["stages[0].send.source"]),
        ({"send": {"source": "x", "destination": PAYMENT_OUT}}, ["stages[0].send.source"]),
        ({"send": {"source": PAYMENT_IN, "destination": {}}}, ["stages[0].send.destination"]),
        (send(amount=7), ["stages[0].send.amount"]),
        # it is known
        ({"send": {"source": {"account": 1}, "destination": ACCOUNT}}, ["stages[0].send.source.account"] * 1
         + ["stages[0].send.amount"]),
        ({"send": {"source": PAYMENT_IN, "destination": PAYMENT_OUT, "metadata": 1}},
         ["stages[0].send", "stages[0].send.metadata"]),
        # of what excludes each other, everything is looked at
        (send(source={"account": {}, "wallet": {"id": 1}}),
         ["stages[0].send.source", "stages[0].send.source.account.id", "stages[0].send.source.wallet.id"]),
        ({"delay": {}}, ["stages[0].delay"]),
        ({"update": {}}, ["stages[0].update.account"]),
        (update(id=None, metadata=None), ["stages[0].update.account.id", "stages[0].update.account.metadata"]),
    ],
)  # fmt: skip
def test_an_error_does_not_lead_to_others(stage: Any, errors: list[str]) -> None:
    assert [path for severity, path, _ in said(check(stage)) if severity == "error"] == errors


@pytest.mark.parametrize(
    ("value", "path", "suggestion"),
    [
        ({"stages": [], "nmae": "x"}, "nmae", "did you mean `name`?"),
        ({"stages": [{"noop": {}}], "Name": "x"}, "Name", "did you mean `name`?"),
        ({"stages": [send(metdata={})]}, "stages[0].send.metdata", "did you mean `metadata`?"),
        ({"stages": [send(quite="else")]}, "stages[0].send.quite", ""),
        ({"stages": [{"noop": {"x": 1}}]}, "stages[0].noop.x", ""),
        (
            {"stages": [send(source={"account": {"id": "a", "allow_overdraft": "x"}})]},
            "stages[0].send.source.account.allow_overdraft",
            "did you mean `allowOverdraft`?",
        ),
        ({"stages": [send(source=ACCOUNT | {"wollet": {}})]}, "stages[0].send.source.wollet", "did you mean `wallet`?"),
        ({"stages": [{"wait_event": {"event": "e", "x" * 10_000: 1}}]}, f"stages[0].wait_event.{'x' * 10_000}", ""),
    ],
)
def test_unknown_fields_are_warnings(value: Any, path: str, suggestion: str) -> None:
    found = [found for found in check_definition(value, NOW).findings if "unknown field" in found.message]
    assert [(shown_path(one.path), one.severity, one.suggestion, one.at_key) for one in found] == [
        (path, "warning", suggestion, True)
    ]


def test_an_unknown_field_comes_with_the_known_ones() -> None:
    message = "unknown field, which has no effect (known here: duration, until)"
    assert ("warning", "stages[0].delay.for", message) in said(check({"delay": {"for": "1h", "duration": "1s"}}))
    assert said(check({"noop": {"x": 1}}))[0][2].endswith("(there are no fields here)")


@pytest.mark.parametrize(
    ("stage", "suggestion"),
    [
        ({"sned": {}}, "did you mean `send`?"),
        ({"waitEvent": {}}, "did you mean `wait_event`?"),
        ({"pay": {}}, "the stages are send, wait_event, delay, update, noop"),
        ({"noop": {}, "delay": {}}, "make each stage an item of its own"),
        ({"send": None, "source": {}}, "move the other fields into `send`: in YAML, indent them further"),
        ({"source": {}, "destination": {}}, "the stages are send, wait_event, delay, update, noop"),
        ("noop", "did you mean `noop: {}`?"),
        (7, ""),
    ],
)
def test_what_to_do_about_what_is_not_a_stage(stage: Any, suggestion: str) -> None:
    (found,) = check(stage).findings
    assert (found.severity, found.suggestion) == ("error", suggestion)


@pytest.mark.parametrize(
    ("stage", "suggestion"),
    [
        ({"delay": "5m"}, "did you mean `delay: {duration: 5m}`?"),
        ({"wait_event": "${e}"}, 'did you mean `wait_event: {event: "${e}"}`?'),
        (send(source={"account": "users:7"}), "did you mean `account: {id: users:7}`?"),
        (send(source={"wallet": "${w}"}), 'did you mean `wallet: {id: "${w}"}`?'),
        (send(amount="1250 EUR/2"), "did you mean `amount: {amount: 1250, asset: EUR/2}`?"),
        (send(amount="1250"), ""),
        ({"update": {"account": "users:7"}}, "did you mean `account: {id: users:7}`?"),
        (send_amount(12.5), SMALLEST_UNIT),
        (send_amount("12,50"), SMALLEST_UNIT),
        (send_amount("12.50"), SMALLEST_UNIT),
        (send_amount("1e3"), ""),
        (send_amount(-5), ""),
        ({"delay": {"duration": "1d"}}, "did you mean `24h`?"),
        ({"delay": {"duration": "2 weeks"}}, "did you mean `336h`?"),
        ({"delay": {"duration": "5 minutes"}}, "did you mean `5m`?"),
        ({"delay": {"duration": "30"}}, "did you mean `30s`?"),
        ({"delay": {"duration": "a month"}}, ""),
        ({"delay": {"until": "2026-04-01"}}, "did you mean `2026-04-01T00:00:00Z`?"),
        ({"delay": {"until": "2026-04-01 10:30"}}, "did you mean `2026-04-01T10:30:00Z`?"),
        ({"delay": {"until": "2026-13-01"}}, ""),
        ({"delay": {"until": "tomorrow"}}, ""),
        (send(timestamp="2026-04-01T10:30:05"), "did you mean `2026-04-01T10:30:05Z`?"),
    ],
)
def test_what_was_probably_meant(stage: Any, suggestion: str) -> None:
    (found,) = [found for found in check(stage).findings if found.severity == "error"]
    assert found.suggestion == suggestion


@pytest.mark.parametrize(
    ("stage", "path", "suggestion"),
    [
        (send(source={"account": {"id": "users:$user"}}), "source.account.id", "did you mean `users:${user}`?"),
        (send(source={"account": {"id": "users:{{ user }}"}}), "source.account.id", "did you mean `users:${user}`?"),
        (send(source={"account": {"id": "my shop"}}), "source.account.id", ""),
        (send(source={"account": {"id": "b", "throughAccount": "a:"}}), "source.account.throughAccount", ""),
        (send(source={"payment": {"id": "p", "throughAccount": "ä"}}), "source.payment.throughAccount", ""),
        (send(source={"payment": {"id": "p", "holdingAccount": "a b"}}), "source.payment.holdingAccount", ""),
        (send(source={"wallet": {"id": "w"}}, amount=AMOUNT | {"asset": "eur/2"}), "amount.asset",
         "did you mean `EUR/2`?"),
        (send(source={"wallet": {"id": "w"}}, amount=AMOUNT | {"asset": "EUR 2"}), "amount.asset", ""),
    ],
)  # fmt: skip
def test_what_no_ledger_takes(stage: Any, path: str, suggestion: str) -> None:
    (found,) = check(stage).findings
    assert (found.severity, shown_path(found.path), found.suggestion) == (
        "warning",
        f"stages[0].send.{path}",
        suggestion,
    )
    assert found.message.startswith("no ledger takes ")


@pytest.mark.parametrize(
    ("stages", "path", "message"),
    [
        ([], "stages", "there are no stages"),
        (
            [{"delay": {"until": "2026-02-28T23:59:59Z"}}],
            "stages[0].delay.until",
            "2026-02-28T23:59:59Z is in the past",
        ),
        ([{"delay": {"duration": "-5s"}}], "stages[0].delay.duration", "not above zero"),
        ([{"delay": {"duration": "0"}}], "stages[0].delay.duration", "not above zero"),
        (
            [{"wait_event": {"event": "go"}}, {"noop": {}}, {"wait_event": {"event": "go"}}],
            "stages[2].wait_event.event",
            'stages[0] waits for "go" too',
        ),
        ([send()], "stages[0].send", "source and destination are the same account"),
        (
            [send(source={"account": {"id": "a", "allowOverdraft": "TRUE"}})],
            "stages[0].send.source.account.allowOverdraft",
            "has no effect between two accounts of one ledger",
        ),
        (
            [send(source={"wallet": {"id": "w"}}, destination={"wallet": {"id": "w"}})],
            "stages[0].send",
            "source and destination are the same wallet",
        ),
        (
            [send(source={"wallet": {"id": "w", "balance": "savings"}}, destination={"wallet": {"id": "v"}})],
            "stages[0].send.source.wallet.balance",
            'has no effect between wallets of one ledger: the money comes from the balance "main"',
        ),
        (
            [send(source={"wallet": {"id": "w"}}), update()],
            "stages[1].update.account",
            'without `ledger` this is an account of ledger "main", but stages[0].send.destination.account is on '
            'ledger "default"',
        ),
        (
            [send(source={"payment": {"id": "${p}", "holdingAccount": "incoming"}})],
            "stages[0].send.source.payment.holdingAccount",
            "each payment needs an account of its own",
        ),
        (
            [
                send(source={"payment": {"id": "p1", "holdingAccount": "incoming"}}),
                send(source={"payment": {"id": "p2", "holdingAccount": "incoming"}}),
            ],
            "stages[1].send.source.payment.holdingAccount",
            "the first is ingested, and the others count as ingested before",
        ),
        ([update(id="my shop")], "stages[0].update.account.id", 'no ledger takes "my shop" as an address'),
        ([{"wait_event": {"event": "${}"}}], "stages[0].wait_event.event", "`${` without a name"),
        ([{"wait_event": {"event": "${a} ${b"}}], "stages[0].wait_event.event", "`${` without a name"),
        ([update(metadata={"${k}": "v"})], "stages[0].update.account.metadata.${k}", "not in keys"),
    ],
)
def test_warnings(stages: list[Any], path: str, message: str) -> None:
    ((severity, at, told),) = said(check(*stages))
    assert (severity, at) == ("warning", path)
    assert message in told


@pytest.mark.parametrize(
    "stages",
    [
        [{"delay": {"until": "2026-03-01T00:00:00.1Z"}}],
        [{"delay": {"until": "${u}"}}],
        [{"delay": {"duration": "${d}"}}],
        [send(source={"payment": {"id": "p", "holdingAccount": "incoming"}})] * 2,
        [send(source={"payment": {"id": "${p}", "holdingAccount": "incoming:${p}"}})] * 2,
        [
            send(source={"payment": {"id": "p1", "holdingAccount": "incoming"}}),
            send(source={"payment": {"id": "p2", "holdingAccount": "incoming", "ledger": "other"}}),
        ],
        [{"delay": {"duration": "1h", "until": None}}],
        [{"wait_event": {"event": "go"}}, {"wait_event": {"event": "Go"}}],
        [send(source={"account": {"id": "a", "allowOverdraft": "${x}"}})],
        [send(source={"account": {"id": "a", "allowOverdraft": True, "ledger": "other"}})],
        [send(source={"wallet": {"id": "users:7"}})],
        [send(source={"account": {"id": "m-${who} x"}}, amount=AMOUNT | {"asset": "${cur}/2"})],
        [send(source={"wallet": {"id": "w"}}, destination={"wallet": {"id": "w", "balance": "savings"}})],
        [send(source={"wallet": {"id": "w", "balance": "${b}"}}, destination={"wallet": {"name": "w"}})],
        [send(source={"wallet": {"id": "w"}}), update(ledger="main")],
        [send(source={"wallet": {"id": "w"}}), update(id="c")],
    ],
)
def test_nothing_is_said_where_nothing_is_sure(stages: list[Any]) -> None:
    assert said(check(*stages)) == []


def uses(*stages: Any) -> list[tuple[str, str, str, bool]]:
    return [(use.variable, shown_path(use.path)[10:], use.read_as, use.required) for use in check(*stages).uses]


def test_variables_and_where_they_are_used() -> None:
    stage = send(
        source={"account": {"id": "m-${who}", "ledger": "${ledger}", "allowOverdraft": "${od}"}},
        destination={"wallet": {"id": "${wallet}"}},
        amount={"amount": "${n}", "asset": "${cur}/${digits}${cur}"},
        metadata={"order": "${order} of ${who}", "${key}": "x"},
        timestamp="${at}",
        comment="${nowhere}",
    )
    assert uses(stage) == [
        ("who", "send.source.account.id", "string", True),
        ("ledger", "send.source.account.ledger", "string", False),
        ("od", "send.source.account.allowOverdraft", "boolean", False),
        ("wallet", "send.destination.wallet.id", "string", True),
        ("n", "send.amount.amount", "integer", True),
        ("cur", "send.amount.asset", "string", True),
        ("digits", "send.amount.asset", "string", True),
        ("order", "send.metadata.order", "string", False),
        ("who", "send.metadata.order", "string", False),
        ("at", "send.timestamp", "date-time", False),
    ]


@pytest.mark.parametrize(
    ("stage", "found"),
    [
        ({"delay": {"duration": "${d}s"}}, [("d", "delay.duration", "duration", True)]),
        ({"delay": {"duration": "${d}"}}, [("d", "delay.duration", "duration", True)]),
        ({"delay": {"until": "${u}"}}, [("u", "delay.until", "date-time", True)]),
        (
            {"delay": {"duration": "${d}", "until": "${u}"}},
            [("d", "delay.duration", "duration", False), ("u", "delay.until", "string", False)],
        ),
        ({"wait_event": {"event": "${e}"}}, [("e", "wait_event.event", "string", True)]),
        (
            send_amount("1${zeros}"),
            [("zeros", "send.amount.amount", "integer", True)],
        ),
        (
            send(source={"payment": {"id": "p"}}, amount=None, destination={"wallet": {"name": "${w}"}}),
            [("w", "send.destination.wallet.name", "string", True)],
        ),
        (
            send(destination={"payment": {"psp": "${psp}", "type": "${type}"}}),
            [
                ("psp", "send.destination.payment.psp", "string", True),
                ("type", "send.destination.payment.type", "choice", False),
            ],
        ),
        ({"noop": {"x": "${y}"}}, []),
    ],
)
def test_what_a_variable_is_read_as_and_whether_it_is_required(stage: Any, found: list[Any]) -> None:
    assert uses(stage) == found


def test_the_name_of_a_workflow_uses_no_variables() -> None:
    assert check_definition({"name": "${x}", "stages": []}, NOW).uses == []


def test_findings_are_bounded_and_the_rest_is_counted() -> None:
    many = MAX_FINDINGS + 7
    report = check(*[{"noop": {"x": 1}}] * many, *[{}] * many, *[{"wait_event": {"event": "${x}"}}] * many)
    warnings = many + many - 1  # unknown fields; events of one name
    assert (report.errors, report.omitted) == (many, many + warnings - 2 * MAX_FINDINGS)
    assert len(report.findings) == 2 * MAX_FINDINGS
    assert len(report.uses) == MAX_FINDINGS
    assert report.omitted_uses == 7


def test_amounts_of_any_size_are_checked() -> None:
    assert check(send(source={"wallet": {"id": "w"}}, amount=AMOUNT | {"amount": 2**200})).findings == []
