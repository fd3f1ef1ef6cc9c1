"""What is checked when a workflow is created (contract: `workflows`, "Creating a workflow: what is checked")."""

from typing import Any

import msgspec
import pytest

from schemas.definition import InvalidDefinition, parse_definition

ACCOUNT = {"account": {"id": "users:7"}}
WALLET = {"wallet": {"name": "alice"}}
PAYMENT_IN = {"payment": {"id": "pay-1"}}
PAYMENT_OUT = {"payment": {"psp": "stripe"}}
AMOUNT = {"amount": 1250, "asset": "EUR/2"}


def send(**fields: Any) -> dict[str, Any]:
    """A good `send` with some fields replaced."""
    return {"send": {"source": ACCOUNT, "destination": ACCOUNT, "amount": AMOUNT} | fields}


def send_amount(amount: Any) -> dict[str, Any]:
    return send(amount={"amount": amount, "asset": "EUR/2"})


def update(**fields: Any) -> dict[str, Any]:
    return {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}} | fields}}


REFUSED_BODIES: list[tuple[object, str]] = [
    (None, "must be an object"),
    ([], "must be an object"),
    ("stages", "must be an object"),
    ({}, "stages: is required"),
    ({"stages": None}, "stages: is required"),
    ({"stages": {}}, "stages: must be a list"),
    ({"stages": "noop"}, "stages: must be a list"),
    ({"name": 7, "stages": []}, "name: must be a string"),
    ({"name": {}, "stages": []}, "name: must be a string"),
]

# A stage and what the message says behind `stages[1]`.
REFUSED_STAGES: list[tuple[object, str]] = [
    (None, ": must be an object with one key"),
    ({}, ": must be an object with one key"),
    ([], ": must be an object with one key"),
    ("noop", ": must be an object with one key"),
    ({"noop": {}, "delay": {"duration": "1s"}}, ": must be an object with one key"),
    ({"sned": {}}, ': unknown stage "sned"'),
    ({"Noop": {}}, ': unknown stage "Noop"'),
    ({"": {}}, ': unknown stage ""'),
    # values that are not objects
    ({"noop": []}, ".noop: must be an object, not a list"),
    ({"noop": "x"}, '.noop: must be an object, not the string "x"'),
    ({"noop": False}, ".noop: must be an object, not a boolean"),
    ({"delay": "10s"}, ".delay: must be an object"),
    ({"send": "${x}"}, ".send: must be an object"),
    # wait_event
    ({"wait_event": {}}, ".wait_event.event: is required"),
    ({"wait_event": None}, ".wait_event.event: is required"),
    ({"wait_event": {"event": None}}, ".wait_event.event: is required"),
    ({"wait_event": {"event": ""}}, ".wait_event.event: is required"),
    ({"wait_event": {"event": 7}}, ".wait_event.event: must be a string, not an integer"),
    ({"wait_event": {"Event": "x"}}, ".wait_event.event: is required"),
    # delay
    ({"delay": {}}, ".delay: one of duration, until is required"),
    ({"delay": None}, ".delay: one of duration, until is required"),
    ({"delay": {"duration": None, "until": ""}}, ".delay: one of duration, until is required"),
    ({"delay": {"duration": "1s", "until": "2026-04-01T00:00:00Z"}}, ".delay: only one of duration, until"),
    ({"delay": {"duration": "${n}s", "until": "2026-04-01T00:00:00Z"}}, ".delay: only one of duration, until"),
    ({"delay": {"duration": 10}}, ".delay.duration: must be a string, not an integer"),
    ({"delay": {"duration": "10"}}, '.delay.duration: must be a duration such as 1h30m or 250ms, not "10"'),
    ({"delay": {"duration": "1d"}}, ".delay.duration: must be a duration"),
    ({"delay": {"duration": "1 s"}}, ".delay.duration: must be a duration"),
    ({"delay": {"duration": "s"}}, ".delay.duration: must be a duration"),
    ({"delay": {"duration": ".s"}}, ".delay.duration: must be a duration"),
    ({"delay": {"duration": "1s-5s"}}, ".delay.duration: must be a duration"),
    ({"delay": {"duration": "-"}}, ".delay.duration: must be a duration"),
    ({"delay": {"duration": "${}s"}}, ".delay.duration: must be a duration"),
    ({"delay": {"duration": "2562048h"}}, ".delay.duration: must be a duration"),
    ({"delay": {"until": "tomorrow"}}, '.delay.until: must be an RFC 3339 date and time, not "tomorrow"'),
    ({"delay": {"until": "2026-04-01"}}, ".delay.until: must be an RFC 3339"),
    ({"delay": {"until": "2026-04-01T00:00:00"}}, ".delay.until: must be an RFC 3339"),
    ({"delay": {"until": "2026-04-01 00:00:00Z"}}, ".delay.until: must be an RFC 3339"),
    ({"delay": {"until": "2026-02-30T00:00:00Z"}}, ".delay.until: must be an RFC 3339"),
    ({"delay": {"until": "2026-04-01T24:00:00Z"}}, ".delay.until: must be an RFC 3339"),
    ({"delay": {"until": "0001-01-01T00:00:00+01:00"}}, ".delay.until: must be an RFC 3339"),
    ({"delay": {"until": 1774999999}}, ".delay.until: must be a string, not an integer"),
    # update
    ({"update": {}}, ".update.account: is required"),
    ({"update": {"account": None}}, ".update.account: is required"),
    ({"update": {"account": "users:7"}}, ".update.account: must be an object"),
    ({"update": {"account": {"metadata": {}}}}, ".update.account.id: is required"),
    ({"update": {"account": {"id": "users:7"}}}, ".update.account.metadata: is required"),
    (update(metadata=None), ".update.account.metadata: is required"),
    (update(metadata=""), ".update.account.metadata: must be an object"),
    (update(metadata="${m}"), ".update.account.metadata: must be an object"),
    (update(metadata={"k": 1}), ".update.account.metadata.k: must be a string, not an integer"),
    (update(ledger=1), ".update.account.ledger: must be a string"),
    # send: the ends
    (send(source=None), ".send.source: is required"),
    (send(destination=None), ".send.destination: is required"),
    (send(source={}), ".send.source: one of account, wallet, payment is required"),
    (send(source={"account": None}), ".send.source: one of account, wallet, payment is required"),
    (send(source={"bank": {"id": "x"}}), ".send.source: one of account, wallet, payment is required"),
    (send(source=ACCOUNT | WALLET), ".send.source: only one of account, wallet, payment is allowed"),
    (send(destination=ACCOUNT | {"wallet": {}}), ".send.destination: only one of account, wallet, payment"),
    (send(destination=WALLET | PAYMENT_OUT), ".send.destination: only one of"),
    (send(source="world"), ".send.source: must be an object"),
    (send(source={"account": "world"}), ".send.source.account: must be an object"),
    (send(source={"account": {}}), ".send.source.account.id: is required"),
    (send(source={"account": {"id": ""}}), ".send.source.account.id: is required"),
    (send(source={"account": {"id": ["a"]}}), ".send.source.account.id: must be a string, not a list"),
    (send(source={"account": {"id": "a", "ledger": 2}}), ".send.source.account.ledger: must be a string"),
    (send(source={"account": {"id": "a", "throughAccount": {}}}), ".send.source.account.throughAccount: must be a"),
    (send(source={"account": {"id": "a", "allowOverdraft": "yes"}}), ".allowOverdraft: must be true or false"),
    (send(source={"account": {"id": "a", "allowOverdraft": 1}}), ".allowOverdraft: must be a boolean, not an integer"),
    (send(source={"wallet": {}}), ".send.source.wallet: one of id, name is required"),
    (send(source={"wallet": {"id": "", "name": None}}), ".send.source.wallet: one of id, name is required"),
    (send(source={"wallet": {"id": "1", "name": "a"}}), ".send.source.wallet: only one of id, name is allowed"),
    (send(source={"wallet": {"id": "1", "name": "u-${a}"}}), ".send.source.wallet: only one of id, name is allowed"),
    (send(source={"wallet": {"name": "a", "balance": 1}}), ".send.source.wallet.balance: must be a string"),
    (send(source={"payment": {}}), ".send.source.payment.id: is required"),
    (send(source={"payment": {"id": "p", "holdingAccount": 1}}), ".send.source.payment.holdingAccount: must be"),
    (send(destination={"payment": {}}), ".send.destination.payment.psp: is required"),
    (send(destination={"payment": {"psp": "s", "type": "REFUND"}}), '.type: must be TRANSFER or PAYOUT, not "REFUND"'),
    (send(destination={"payment": {"psp": "s", "waitingValidation": "maybe"}}), ".waitingValidation: must be true or"),
    (send(destination={"payment": {"psp": "s", "metadata": {}}}), ".metadata: must be a string, not an object"),
    (send(destination={"payment": {"psp": "s", "connectorId": 5}}), ".connectorId: must be a string"),
    (send(source=PAYMENT_IN, destination=PAYMENT_OUT), ".send: send from payment to payment is not supported"),
    # send: amount
    (send(amount=None), ".send.amount: amount must be specified"),
    (send(source=WALLET, amount=None), ".send.amount: amount must be specified"),
    (send(amount=100), ".send.amount: must be an object"),
    (send(amount={}), ".send.amount.amount: amount must be specified"),
    (send(source=PAYMENT_IN, amount={}), ".send.amount.amount: amount must be specified"),
    (send(amount={"amount": 1}), ".send.amount.asset: is required"),
    (send(amount={"amount": 1, "asset": ""}), ".send.amount.asset: is required"),
    (send_amount(""), ".send.amount.amount: amount must be specified"),
    (send_amount(10.5), ".send.amount.amount: must be an integer, not the number 10.5"),
    (send_amount(10.0), ".send.amount.amount: must be an integer, not the number 10.0"),
    (send_amount(-1), ".send.amount.amount: must not be negative"),
    (send_amount("-1"), ".send.amount.amount: must not be negative"),
    (send_amount("10.5"), '.send.amount.amount: must be an integer, not "10.5"'),
    (send_amount("1e3"), ".send.amount.amount: must be an integer"),
    (send_amount("1_000"), ".send.amount.amount: must be an integer"),
    (send_amount(" 1"), ".send.amount.amount: must be an integer"),
    (send_amount("٣"), ".send.amount.amount: must be an integer"),
    (send_amount("9" * 5000), ".send.amount.amount: must be an integer"),
    (send_amount("ten"), ".send.amount.amount: must be an integer"),
    (send_amount(True), ".send.amount.amount: must be an integer, not a boolean"),
    (send_amount([1]), ".send.amount.amount: must be an integer, not a list"),
    # send: the rest
    (send(metadata=[]), ".send.metadata: must be an object"),
    (send(metadata={"k": None}), ".send.metadata.k: must be a string, not null"),
    (send(metadata={"k": True}), ".send.metadata.k: must be a string, not a boolean"),
    (send(metadata={"k": {"n": "v"}}), ".send.metadata.k: must be a string, not an object"),
    (send(timestamp="yesterday"), ".send.timestamp: must be an RFC 3339"),
    (send(timestamp=0), ".send.timestamp: must be a string"),
]

ACCEPTED_STAGES: list[dict[str, Any]] = [
    {"noop": {}},
    {"noop": None},
    {"noop": {"unknown": [1, {"deep": None}]}},
    {"wait_event": {"event": "approved", "color": 7}},
    {"wait_event": {"event": "${e}"}},
    {"delay": {"duration": "1h30m"}},
    {"delay": {"duration": "-5s"}},
    {"delay": {"duration": "0"}},
    {"delay": {"duration": "1.5h", "until": None}},
    {"delay": {"duration": "250ms", "until": ""}},
    {"delay": {"duration": "${n}s"}},
    {"delay": {"duration": "${d}"}},
    # Variables can make one of the two empty.
    {"delay": {"duration": "${d}", "until": "${u}"}},
    {"delay": {"duration": "1s", "until": "${u}"}},
    {"delay": {"until": "2026-04-01T00:00:00Z"}},
    {"delay": {"until": "2026-04-01T00:00:00.123456789+02:00"}},
    {"delay": {"until": "${day}T00:00:00Z"}},
    update(),
    update(ledger="", metadata={}),
    update(id="${id}", metadata={"k": "${v}"}),
    send(),
    send(comment="kept"),
    send(source=WALLET, destination=PAYMENT_OUT),
    send(source=ACCOUNT | {"wallet": None}),
    send(source=PAYMENT_IN, amount=None),
    send(source=PAYMENT_IN | {"unknown": {}}),
    send(source={"account": {"id": "${id}", "allowOverdraft": "${x}"}}),
    send(source={"account": {"id": "a", "allowOverdraft": "TRUE"}}),
    send(source={"account": {"id": "a", "allowOverdraft": None, "ledger": None}}),
    send(source={"account": {"id": "a", "allowOverdraft": ""}}),
    send(source={"wallet": {"id": "w-1", "name": ""}}),
    send(source={"wallet": {"id": "${id}", "name": "${name}"}}),
    send(destination={"payment": {"psp": "${psp}", "type": "${type}", "waitingValidation": "${w}"}}),
    send(destination={"payment": {"psp": "wise", "type": "PAYOUT"}}),
    send(destination={"payment": {"psp": "wise", "type": "payout"}}),
    send_amount(0),
    send_amount(2**200),
    send_amount("1250"),
    send_amount("${n}"),
    send_amount("${n}.5"),
    send_amount("1${zeros}"),
    send(amount={"amount": 1, "asset": "${asset}"}),
    send(metadata=None, timestamp=None),
    send(metadata={}, timestamp=""),
    send(timestamp="${t}"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED_BODIES)
def test_bodies_that_are_refused(body: object, message: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_definition(body)
    assert message in str(caught.value)


@pytest.mark.parametrize(("stage", "message"), REFUSED_STAGES)
def test_stages_that_are_refused(stage: object, message: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_definition({"stages": [{"noop": {}}, stage]})
    text = str(caught.value)
    assert text.startswith("stages[1].") or text.startswith("stages[1]:")
    assert message in text


@pytest.mark.parametrize("stage", ACCEPTED_STAGES)
def test_stages_that_are_accepted_stay_as_given(stage: dict[str, Any]) -> None:
    before = msgspec.json.encode(stage)
    definition = parse_definition({"name": "payout", "stages": [stage], "unknown": 1})
    assert definition.name == "payout"
    assert [msgspec.json.encode(kept) for kept in definition.stages] == [before]


@pytest.mark.parametrize("body", [{"stages": []}, {"name": None, "stages": []}, {"name": "", "stages": []}])
def test_no_stages_and_no_name(body: dict[str, Any]) -> None:
    definition = parse_definition(body)
    assert (definition.name, definition.stages) == ("", [])


def test_the_message_for_an_unknown_stage_is_the_one_of_the_contract() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_definition({"stages": [{"sned": {}}]})
    assert str(caught.value) == 'stages[0]: unknown stage "sned"'


def test_a_message_does_not_repeat_long_texts() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_definition({"stages": [{"x" * 10_000: {}}]})
    assert len(str(caught.value)) < 200
