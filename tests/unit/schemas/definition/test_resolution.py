"""Stages made ready to run, and what the history shows of them (contract: `workflows`, "Resolution", "Stages")."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.definition import (
    AccountEnd,
    Amount,
    Delay,
    Noop,
    Send,
    StageUnresolvable,
    Update,
    WaitEvent,
    format_duration,
    parse_duration,
    resolve_stage,
    stage_name,
    unresolved_input,
)

HOUR = 3_600_000_000_000
SECOND = 1_000_000_000
AMOUNT = {"amount": 1250, "asset": "EUR/2"}


def account(**fields: Any) -> dict[str, Any]:
    return {"account": {"id": "users:7"} | fields}


def send(**fields: Any) -> dict[str, Any]:
    return {"send": {"source": account(), "destination": account(), "amount": AMOUNT} | fields}


def resolved_send(stage: dict[str, Any], **variables: str) -> Send:
    resolved = resolve_stage(stage, variables)
    assert isinstance(resolved, Send)
    return resolved


SHOWN_ACCOUNT = {"id": "users:7", "ledger": "default", "throughAccount": "world", "allowOverdraft": False}

SHOWN: list[tuple[dict[str, Any], dict[str, str], str, dict[str, Any]]] = [
    ({"noop": None}, {}, "RunNoop", {}),
    ({"noop": {"unknown": 1}}, {}, "RunNoop", {}),
    ({"wait_event": {"event": "approved", "unknown": 1}}, {}, "RunWaitEvent", {"event": "approved"}),
    ({"wait_event": {"event": "${a}-${b}${c}"}}, {"a": "x", "b": "y", "c": ""}, "RunWaitEvent", {"event": "x-y"}),
    ({"wait_event": {"event": "${a}"}}, {"a": "${b}", "b": "no"}, "RunWaitEvent", {"event": "${b}"}),
    ({"wait_event": {"event": "${}${"}}, {"": "no"}, "RunWaitEvent", {"event": "${}${"}),
    ({"delay": {"duration": "1500ms"}}, {}, "RunDelay", {"duration": "1.5s"}),
    ({"delay": {"duration": "${n}s"}}, {"n": "90"}, "RunDelay", {"duration": "1m30s"}),
    ({"delay": {"duration": "${d}", "until": "${u}"}}, {"d": "1h"}, "RunDelay", {"duration": "1h0m0s"}),
    ({"delay": {"until": "2026-04-01T00:00:00Z"}}, {}, "RunDelay", {"until": "2026-04-01T00:00:00Z"}),
    ({"delay": {"until": "2026-04-01t02:00:00.1200+02:00"}}, {}, "RunDelay", {"until": "2026-04-01T00:00:00.12Z"}),
    ({"delay": {"until": "2026-04-01T00:00:10.123456789Z"}}, {}, "RunDelay", {"until": "2026-04-01T00:00:10.123456Z"}),
    ({"delay": {"until": "${d}T00:00:00Z"}}, {"d": "0900-01-01"}, "RunDelay", {"until": "0900-01-01T00:00:00Z"}),
    (
        {
            "update": {
                "account": {
                    "id": "users:${n}",
                    "ledger": "${l}",
                    "metadata": {"k": "${v}", "${n}": "key", "whole": "${none}", "mixed": "order-${none}-${v}"},
                }
            }
        },
        {"n": "7", "v": "w"},
        "RunUpdate",
        {
            "account": {
                "id": "users:7",
                "ledger": "main",
                "metadata": {"k": "w", "${n}": "key", "whole": "", "mixed": "order--w"},
            }
        },
    ),
    (
        send(),
        {},
        "RunSend",
        {"source": {"account": SHOWN_ACCOUNT}, "destination": {"account": SHOWN_ACCOUNT}, "amount": AMOUNT},
    ),
    (
        send(
            source=account(ledger="a", throughAccount="t", allowOverdraft="${o}"),
            destination={"wallet": {"name": "alice", "id": "${none}"}},
            amount={"amount": "${n}", "asset": "EUR/2"},
            metadata={"order": "${id}"},
            timestamp="2026-03-01T10:00:00+00:00",
        ),
        {"o": "True", "n": "1250", "id": "A-1"},
        "RunSend",
        {
            "source": {"account": {"id": "users:7", "ledger": "a", "throughAccount": "t", "allowOverdraft": True}},
            "destination": {"wallet": {"id": "", "name": "alice", "balance": "main"}},
            "amount": AMOUNT,
            "metadata": {"order": "A-1"},
            "timestamp": "2026-03-01T10:00:00Z",
        },
    ),
    (
        send(source={"payment": {"id": "pay-1", "psp": "unknown field"}}, amount=None, timestamp="${none}"),
        {},
        "RunSend",
        {
            "source": {"payment": {"id": "pay-1", "throughAccount": "world", "allowOverdraft": False}},
            "destination": {"account": SHOWN_ACCOUNT},
        },
    ),
    (
        send(source={"payment": {"id": "p", "ledger": "l", "holdingAccount": "h", "allowOverdraft": "FALSE"}}),
        {},
        "RunSend",
        {
            "source": {
                "payment": {
                    "id": "p",
                    "throughAccount": "world",
                    "allowOverdraft": False,
                    "ledger": "l",
                    "holdingAccount": "h",
                }
            },
            "destination": {"account": SHOWN_ACCOUNT},
            "amount": AMOUNT,
        },
    ),
    (
        send(
            source={"wallet": {"id": "w-1", "balance": "savings"}},
            destination={"payment": {"psp": "stripe", "sourceAccount": "${none}"}},
        ),
        {},
        "RunSend",
        {
            "source": {"wallet": {"id": "w-1", "name": "", "balance": "savings"}},
            "destination": {
                "payment": {
                    "psp": "stripe",
                    "type": "TRANSFER",
                    "metadata": "formanceAccountID",
                    "waitingValidation": False,
                }
            },
            "amount": AMOUNT,
        },
    ),
    (
        send(
            destination={
                "payment": {
                    "psp": "wise",
                    "type": "${t}",
                    "metadata": "iban",
                    "waitingValidation": "${w}",
                    "sourceAccount": "s",
                    "connectorId": "c",
                }
            }
        ),
        {"t": "payout", "w": "TRUE"},
        "RunSend",
        {
            "source": {"account": SHOWN_ACCOUNT},
            "destination": {
                "payment": {
                    "psp": "wise",
                    "type": "PAYOUT",
                    "metadata": "iban",
                    "waitingValidation": True,
                    "sourceAccount": "s",
                    "connectorId": "c",
                }
            },
            "amount": AMOUNT,
        },
    ),
]

# A stage, its variables, and what the error names.
UNRESOLVABLE: list[tuple[dict[str, Any], dict[str, str], str]] = [
    ({"wait_event": {"event": "${e}"}}, {}, "wait_event.event: is required"),
    ({"delay": {"duration": "${n}s"}}, {"n": ""}, 'must be a duration such as 1h30m or 250ms, not "s"'),
    ({"delay": {"duration": "${d}"}}, {"d": "soon"}, "delay.duration: must be a duration"),
    ({"delay": {"duration": "${d}"}}, {}, "delay: one of duration, until is required"),
    ({"delay": {"until": "${u}"}}, {}, "delay: one of duration, until is required"),
    ({"delay": {"until": "${u}"}}, {"u": "2026-13-01T00:00:00Z"}, "delay.until: must be an RFC 3339"),
    ({"delay": {"duration": "${d}", "until": "${u}"}}, {"d": "1s", "u": "x"}, "delay: only one of duration, until"),
    (send(amount={"amount": "${n}", "asset": "EUR/2"}), {}, "send.amount.amount: amount must be specified"),
    (
        send(amount={"amount": "${n}", "asset": "EUR/2"}),
        {"n": "1.5"},
        'send.amount.amount: must be an integer, not "1.5"',
    ),
    (send(amount={"amount": "${n}", "asset": "EUR/2"}), {"n": "-3"}, "send.amount.amount: must not be negative"),
    (send(amount={"amount": 1, "asset": "${a}"}), {}, "send.amount.asset: is required"),
    (
        send(source={"payment": {"id": "p"}}, amount={"amount": "${n}", "asset": "EUR/2"}),
        {},
        "send.amount.amount: amount must be specified",
    ),
    (send(source=account(id="${id}")), {}, "send.source.account.id: is required"),
    (send(source=account(allowOverdraft="${o}")), {"o": "yes"}, "send.source.account.allowOverdraft: must be true"),
    (send(source={"wallet": {"id": "${i}", "name": "${n}"}}), {}, "send.source.wallet: one of id, name is required"),
    (send(source={"wallet": {"id": "${i}", "name": "n"}}), {"i": "1"}, "send.source.wallet: only one of id, name"),
    (send(destination={"payment": {"psp": "${p}"}}), {}, "send.destination.payment.psp: is required"),
    (send(destination={"payment": {"psp": "s", "type": "${t}"}}), {"t": "X"}, "payment.type: must be TRANSFER or"),
    (send(timestamp="${t}"), {"t": "now"}, "send.timestamp: must be an RFC 3339"),
    ({"update": {"account": {"id": "${id}", "metadata": {}}}}, {}, "update.account.id: is required"),
    # Whatever slipped into a log is checked again.
    ({"sned": {}}, {}, 'unknown stage "sned"'),
    ({}, {}, "must be an object with one key"),
    ({"noop": []}, {}, "noop: must be an object, not a list"),
    (send(amount=None), {}, "send.amount: amount must be specified"),
    (send(source={"payment": {"id": "p"}}, destination={"payment": {"psp": "s"}}), {}, "payment to payment"),
]


@pytest.mark.parametrize(("stage", "variables", "name", "shown"), SHOWN)
def test_what_the_history_shows(
    stage: dict[str, Any], variables: dict[str, str], name: str, shown: dict[str, Any]
) -> None:
    resolved = resolve_stage(stage, variables)
    assert resolved.shown() == shown
    assert resolved.name == stage_name(stage) == name


@pytest.mark.parametrize(("stage", "variables", "message"), UNRESOLVABLE)
def test_stages_that_fail_before_they_run(stage: dict[str, Any], variables: dict[str, str], message: str) -> None:
    with pytest.raises(StageUnresolvable) as caught:
        resolve_stage(stage, variables)
    assert message in str(caught.value)


def end(kind: str, **fields: Any) -> dict[str, Any]:
    required = {"account": {"id": "a"}, "wallet": {"id": "w"}, "payment": {"id": "p", "psp": "stripe"}}[kind]
    return {kind: required | fields}


# A stage for every field that is a text, with the text in it.
TEXTS: list[Callable[[str], dict[str, Any]]] = [
    lambda text: send(source=account(id=text)),
    lambda text: send(destination=account(id=text)),
    lambda text: send(source=account(ledger=text)),
    lambda text: send(source=account(throughAccount=text)),
    lambda text: send(source=account(allowOverdraft=text)),
    lambda text: send(source={"wallet": {"id": text}}),
    lambda text: send(destination={"wallet": {"name": text}}),
    lambda text: send(destination={"wallet": {"id": "w", "name": text}}),
    lambda text: send(source=end("wallet", balance=text)),
    lambda text: send(source=end("payment", id=text)),
    lambda text: send(source=end("payment", ledger=text)),
    lambda text: send(source=end("payment", holdingAccount=text)),
    lambda text: send(source=end("payment", throughAccount=text)),
    lambda text: send(source=end("payment", allowOverdraft=text)),
    lambda text: send(destination=end("payment", psp=text)),
    lambda text: send(destination=end("payment", type=text)),
    lambda text: send(destination=end("payment", metadata=text)),
    lambda text: send(destination=end("payment", waitingValidation=text)),
    lambda text: send(destination=end("payment", sourceAccount=text)),
    lambda text: send(destination=end("payment", connectorId=text)),
    lambda text: send(amount={"amount": text, "asset": "EUR/2"}),
    lambda text: send(amount={"amount": 1, "asset": text}),
    lambda text: send(timestamp=text),
    lambda text: {"wait_event": {"event": text}},
    lambda text: {"delay": {"duration": text}},
    lambda text: {"delay": {"until": text}},
    lambda text: {"update": {"account": {"id": text, "metadata": {}}}},
    lambda text: {"update": {"account": {"id": "a", "ledger": text, "metadata": {}}}},
]


@pytest.mark.parametrize("stage", TEXTS)
@pytest.mark.parametrize("text", ["merchant-${id}", "${id}s", "${a}${id}", "${id}${id}", " ${id}", "${a}-${id}-${b}"])
def test_a_variable_that_is_not_given_fails_the_stage(stage: Callable[[str], dict[str, Any]], text: str) -> None:
    with pytest.raises(StageUnresolvable) as caught:
        resolve_stage(stage(text), {"a": "", "ID": "7"})
    assert str(caught.value) == 'variable "id" is not given'


def resolved(stage: dict[str, Any]) -> object:
    """The stage without any variables, or its error."""
    try:
        return resolve_stage(stage, {})
    except StageUnresolvable as error:
        return str(error)


@pytest.mark.parametrize("stage", TEXTS)
def test_a_variable_that_is_the_whole_text_may_be_missing(stage: Callable[[str], dict[str, Any]]) -> None:
    """Then the field counts as empty: it takes its default, or the error says that it is required."""
    assert resolved(stage("${id}")) == resolved(stage(""))
    assert "is not given" not in str(resolved(stage("${id}")))


def test_the_name_of_a_missing_variable_is_quoted_and_cut() -> None:
    with pytest.raises(StageUnresolvable) as caught:
        resolve_stage({"wait_event": {"event": "x${a\n" + "b" * 5000 + "}"}}, {})
    assert str(caught.value) == 'variable "a\\n' + "b" * 98 + '…" is not given'


def test_what_the_engine_works_with() -> None:
    assert resolve_stage({"noop": {}}, {}) == Noop()
    assert resolve_stage({"wait_event": {"event": "e"}}, {}) == WaitEvent("e")
    assert resolve_stage({"delay": {"duration": "-5s"}}, {}) == Delay(duration_nanoseconds=-5 * SECOND)
    assert resolve_stage({"delay": {"until": "2026-04-01T02:00:00+02:00"}}, {}) == Delay(
        until=datetime(2026, 4, 1, tzinfo=UTC)
    )
    assert resolve_stage({"update": {"account": {"id": "a", "metadata": {"k": "v"}}}}, {}) == Update(
        "a", "main", {"k": "v"}
    )
    assert resolve_stage(send(metadata={}), {}) == Send(
        AccountEnd("users:7"), AccountEnd("users:7"), Amount(1250, "EUR/2"), metadata={}
    )


@pytest.mark.parametrize("amount", [0, 2**53 + 1, 2**64, 10**60])
def test_amounts_stay_exact(amount: int) -> None:
    as_number = resolved_send(send(amount={"amount": amount, "asset": "EUR/2"}))
    as_text = resolved_send(send(amount={"amount": f"${{n}}{amount}", "asset": "EUR/2"}), n="")
    assert as_number.amount == as_text.amount == Amount(amount, "EUR/2")


@pytest.mark.parametrize(
    ("given", "overdraft"),
    [(True, True), (False, False), (None, False), ("", False), ("true", True), ("TRUE", True), ("fAlSe", False)],
)
def test_booleans(given: object, overdraft: bool) -> None:
    source = resolved_send(send(source=account(allowOverdraft=given))).source
    assert source == AccountEnd("users:7", allow_overdraft=overdraft)


@pytest.mark.parametrize(
    ("text", "nanoseconds", "shown"),
    [
        ("0", 0, "0s"),
        ("-0", 0, "0s"),
        ("0h", 0, "0s"),
        ("1ns", 1, "1ns"),
        ("1.5us", 1500, "1.5µs"),
        ("1.5µs", 1500, "1.5µs"),
        ("1.5μs", 1500, "1.5µs"),
        ("250ms", 250_000_000, "250ms"),
        ("1500ms", 1_500_000_000, "1.5s"),
        ("1.000000001s", 1_000_000_001, "1.000000001s"),
        ("0.0000000019s", 1, "1ns"),
        (".5s", 500_000_000, "500ms"),
        ("1.s", SECOND, "1s"),
        ("+90s", 90 * SECOND, "1m30s"),
        ("-5s", -5 * SECOND, "-5s"),
        ("10m", 600 * SECOND, "10m0s"),
        ("1.5h", HOUR + HOUR // 2, "1h30m0s"),
        ("1h30m", HOUR + HOUR // 2, "1h30m0s"),
        ("1s1s1h", HOUR + 2 * SECOND, "1h0m2s"),
        ("100h", 100 * HOUR, "100h0m0s"),
        ("-1h0.25s", -HOUR - SECOND // 4, "-1h0m0.25s"),
        ("9223372036854775807ns", 2**63 - 1, "2562047h47m16.854775807s"),
    ],
)
def test_durations(text: str, nanoseconds: int, shown: str) -> None:
    assert parse_duration(text) == nanoseconds
    assert format_duration(nanoseconds) == shown


@pytest.mark.parametrize("text", ["", "-", "1", "00", "1d", "s", ".s", "1 s", "1s ", "--1s", "1ns1", "1e3s", "1" * 300])
def test_texts_that_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_duration(text)


def test_resolution_leaves_the_definition_alone() -> None:
    stage = send(metadata={"k": "${v}"})
    resolved = resolved_send(stage, v="x")
    assert resolved.metadata == {"k": "x"}
    assert stage["send"]["metadata"] == {"k": "${v}"}


@pytest.mark.parametrize(
    ("stage", "name", "fields"),
    [
        ({"wait_event": {"event": "${e}", "x": 1}}, "RunWaitEvent", {"event": "${e}", "x": 1}),
        ({"noop": None}, "RunNoop", {}),
        ({"delay": "10s"}, "RunDelay", {}),
        ({"sned": {"a": 1}}, "RunUnknown", {"a": 1}),
        ({}, "RunUnknown", {}),
    ],
)
def test_what_the_history_shows_of_an_unresolvable_stage(
    stage: dict[str, Any], name: str, fields: dict[str, Any]
) -> None:
    assert (stage_name(stage), unresolved_input(stage)) == (name, fields)


@pytest.mark.parametrize(
    "stage",
    [
        {"wait_event": {"event": "${x}" * 3}},
        {"update": {"account": {"id": "a", "metadata": {str(key): "${x}" for key in range(3)}}}},
    ],
)
def test_a_variable_that_multiplies_is_refused(stage: dict[str, Any]) -> None:
    variables = {"x": "y" * 400_000}
    with pytest.raises(StageUnresolvable, match="longer than 1048576 characters"):
        resolve_stage(stage, variables)
