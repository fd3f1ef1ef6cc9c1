"""What `send` and `update` call, for every pair of ends (contract: `workflows`, "`send`, by pair", "Activities")."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from engine.core.errors import StageFailed
from engine.core.send import next_activity
from schemas.definition import (
    AccountEnd,
    Amount,
    Destination,
    PaymentDestination,
    PaymentSource,
    Send,
    Source,
    Update,
    WalletEnd,
)

INTERNAL = "orchestration-000-internal"
TIMESTAMP = datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)
SHOWN_TIMESTAMP = "2026-03-01T10:00:00.5Z"
EUROS = {"amount": 1250, "asset": "EUR/2"}
PAID = {"amount": 2000, "asset": "USD/2"}
USER = {"order": "A-1"}

Call = tuple[str, dict[str, Any]]


class Outcome(NamedTuple):
    output: Any = None
    error: str | None = None
    code: str | None = None


# What the stack answers to look-ups, by the id or name that is asked for.
ANSWERS: dict[tuple[str, str], Any] = {
    ("GetWallet", "w-1"): {"data": {"id": "w-1", "ledger": "wallets-002", "metadata": {"formanceAccountID": "acc-1"}}},
    ("GetWallet", "w-far"): {"data": {"id": "w-far", "ledger": "wallets-far", "metadata": {}}},
    ("ListWallets", "alice"): {
        "cursor": {"data": [{"id": "w-2", "name": "alice", "ledger": "wallets-002", "metadata": {"iban": "DE1"}}]}
    },
    ("GetAccount", "users:7"): {"data": {"address": "users:7", "metadata": {"formanceAccountID": "acc-7"}}},
    ("GetPayment", "pay-1-x"): {"data": {"id": "pay-1-x", "initialAmount": 2000, "amount": 1, "asset": "USD/2"}},
}


def answer(name: str, asked: dict[str, Any]) -> Outcome:
    return Outcome(ANSWERS.get((name, asked.get("id", asked.get("name", "")))))


def run(stage: Send | Update) -> list[Call]:
    """All activities of a stage, every one of which succeeds."""
    calls: list[Call] = []
    outcomes: list[Outcome] = []
    while (activity := next_activity(stage, outcomes)) is not None:
        calls.append((activity.name, activity.input))
        outcomes.append(answer(activity.name, activity.input))
        assert len(calls) <= 5
    return calls


def send(source: Source, destination: Destination, amount: Amount | None = Amount(1250, "EUR/2")) -> Send:  # noqa: B008
    return Send(source, destination, amount, metadata=USER, timestamp=TIMESTAMP)


# The expected calls, written down as the contract's shapes.


def transaction(ledger: str, data: dict[str, Any]) -> Call:
    return "CreateTransaction", {"ledger": ledger, "data": data}


def posted(
    ledger: str, source: str, destination: str, amount: dict[str, Any] = EUROS, reference: str = "", **extra: str
) -> Call:
    data: dict[str, Any] = {
        "postings": [{"source": source, "destination": destination} | amount],
        "metadata": USER | metadata(extra),
        "timestamp": SHOWN_TIMESTAMP,
    }
    return transaction(ledger, data | ({"reference": reference} if reference else {}))


def scripted(ledger: str, plain: str, reference: str = "", **extra: str) -> Call:
    data = {"script": {"plain": plain}, "metadata": USER | metadata(extra), "timestamp": SHOWN_TIMESTAMP}
    return transaction(ledger, data | ({"reference": reference} if reference else {}))


def overdraft(source: str, destination: str, amount: str = "EUR/2 1250") -> str:
    return f"send [{amount}] (\n  source = @{source} allowing unbounded overdraft\n  destination = @{destination}\n)"


def metadata(extra: dict[str, str]) -> dict[str, str]:
    keys = {"to": "orchestration/move-to-ledger", "from_": "orchestration/move-from-ledger"}
    return {keys[key]: ledger for key, ledger in extra.items()}


def credited(
    wallet: str, *sources: dict[str, str], amount: dict[str, Any] = EUROS, balance: str = "main", **extra: str
) -> Call:
    data = {
        "amount": amount,
        "balance": balance,
        "sources": list(sources),
        "metadata": USER | metadata(extra),
        "timestamp": SHOWN_TIMESTAMP,
    }
    return "CreditWallet", {"id": wallet, "data": data}


def debited(wallet: str, destination: str = "", balance: str = "main", **extra: str) -> Call:
    data: dict[str, Any] = {
        "amount": EUROS,
        "balances": [balance],
        "metadata": USER | metadata(extra),
        "timestamp": SHOWN_TIMESTAMP,
    }
    if destination:
        data["destination"] = {"type": "ACCOUNT", "identifier": destination}
    return "DebitWallet", {"id": wallet, "data": data}


def initiated(destination: str, provider: str = "stripe", type_: str = "TRANSFER", **optional: Any) -> Call:
    shown = EUROS | {"provider": provider, "type": type_, "destination": destination, "waitingValidation": False}
    return "CreateTransferInitiation", shown | {"metadata": USER} | optional


def account_subject(address: str) -> dict[str, str]:
    return {"type": "ACCOUNT", "identifier": address}


GET_W1: Call = ("GetWallet", {"id": "w-1"})
GET_FAR: Call = ("GetWallet", {"id": "w-far"})
LIST_ALICE: Call = ("ListWallets", {"name": "alice"})
GET_USER: Call = ("GetAccount", {"id": "users:7", "ledger": "default"})
GET_PAYMENT: Call = ("GetPayment", {"id": "pay-1-x"})

USER_7 = AccountEnd("users:7")
USER_7_OVER = AccountEnd("users:7", allow_overdraft=True)
USER_7_THROUGH = AccountEnd("users:7", through_account="out:s", allow_overdraft=True)
SHOP = AccountEnd("shop:1")
SHOP_FAR = AccountEnd("shop:1", ledger="far")
SHOP_FAR_OVER = AccountEnd("shop:1", ledger="far", allow_overdraft=True)
SHOP_FAR_THROUGH = AccountEnd("shop:1", ledger="far", through_account="in:d")
SHOP_FAR_THROUGH_OVER = AccountEnd("shop:1", ledger="far", through_account="in:d", allow_overdraft=True)
W1 = WalletEnd(id="w-1")
FAR = WalletEnd(id="w-far", balance="savings")
ALICE = WalletEnd(name="alice", balance="savings")
ON_W = "wallets-002"
STRIPE = PaymentDestination("stripe")
HOLD = "payment:pay_1_x"

INGEST = posted(INTERNAL, "world", HOLD, PAID, reference=HOLD)
HALVES = (posted("default", "users:7", "world", to="far"), posted("far", "world", "shop:1", from_="default"))

PLANS: dict[str, tuple[Send, list[Call]]] = {
    "account, account": (send(USER_7, SHOP), [posted("default", "users:7", "shop:1")]),
    "account, account: no overdraft on one ledger": (
        send(USER_7_THROUGH, AccountEnd("shop:1", through_account="in:d", allow_overdraft=True)),
        [posted("default", "users:7", "shop:1")],
    ),
    "account, account far": (send(USER_7, SHOP_FAR), list(HALVES)),
    "account, account far: source may overdraw": (
        send(USER_7_OVER, SHOP_FAR),
        [scripted("default", overdraft("users:7", "world"), to="far"), HALVES[1]],
    ),
    "account, account far: destination may overdraw world": (send(USER_7, SHOP_FAR_OVER), list(HALVES)),
    "account, account far: through an account": (
        send(AccountEnd("users:7", through_account="out:s"), SHOP_FAR_THROUGH),
        [posted("default", "users:7", "out:s", to="far"), posted("far", "in:d", "shop:1", from_="default")],
    ),
    "account, account far: both may overdraw": (
        send(USER_7_THROUGH, SHOP_FAR_THROUGH_OVER),
        [
            scripted("default", overdraft("users:7", "out:s"), to="far"),
            scripted("far", overdraft("in:d", "shop:1"), from_="default"),
        ],
    ),
    "account, wallet on its ledger": (
        send(AccountEnd("users:7", ledger=ON_W, through_account="out:s", allow_overdraft=True), ALICE),
        [LIST_ALICE, credited("w-2", account_subject("users:7"), balance="savings")],
    ),
    "account, wallet far": (
        send(USER_7, W1),
        [
            GET_W1,
            posted("default", "users:7", "world", to=ON_W),
            credited("w-1", account_subject("world"), from_="default"),
        ],
    ),
    "account, wallet far: may overdraw": (
        send(USER_7_THROUGH, W1),
        [
            GET_W1,
            scripted("default", overdraft("users:7", "out:s"), to=ON_W),
            credited("w-1", account_subject("out:s"), from_="default"),
        ],
    ),
    "account, payment": (
        send(USER_7, STRIPE),
        [GET_USER, posted("default", "users:7", "world"), initiated("acc-7")],
    ),
    "account, payment: may overdraw, everything given": (
        send(
            USER_7_THROUGH,
            PaymentDestination(
                "wise", type="PAYOUT", waiting_validation=True, source_account="src", connector_id="conn"
            ),
        ),
        [
            GET_USER,
            scripted("default", overdraft("users:7", "out:s")),
            initiated("acc-7", "wise", "PAYOUT", source="src", connectorID="conn", waitingValidation=True),
        ],
    ),
    "wallet, account on its ledger": (
        send(W1, AccountEnd("shop:1", ledger=ON_W, through_account="in:d", allow_overdraft=True)),
        [GET_W1, debited("w-1", "shop:1")],
    ),
    "wallet, account far": (
        send(ALICE, SHOP_FAR),
        [LIST_ALICE, debited("w-2", balance="savings", to="far"), posted("far", "world", "shop:1", from_=ON_W)],
    ),
    "wallet, account far: may overdraw world": (
        send(W1, SHOP_FAR_OVER),
        [GET_W1, debited("w-1", to="far"), posted("far", "world", "shop:1", from_=ON_W)],
    ),
    "wallet, account far: may overdraw": (
        send(W1, SHOP_FAR_THROUGH_OVER),
        [GET_W1, debited("w-1", to="far"), scripted("far", overdraft("in:d", "shop:1"), from_=ON_W)],
    ),
    "wallet, wallet": (
        send(ALICE, W1),
        [
            LIST_ALICE,
            GET_W1,
            credited("w-1", {"type": "WALLET", "identifier": "w-2", "balance": "main"}),
        ],
    ),
    "wallet, wallet far": (
        send(ALICE, FAR),
        [
            LIST_ALICE,
            GET_FAR,
            debited("w-2", balance="savings", to="wallets-far"),
            credited("w-far", balance="savings", from_=ON_W),
        ],
    ),
    "wallet, payment": (send(W1, STRIPE), [GET_W1, debited("w-1"), initiated("acc-1")]),
    "wallet, payment: key of its own": (
        send(ALICE, PaymentDestination("Wise", metadata="iban")),
        [LIST_ALICE, debited("w-2", balance="savings"), initiated("DE1", "Wise")],
    ),
    "payment, account": (
        send(PaymentSource("pay-1-x"), SHOP),
        [
            GET_PAYMENT,
            INGEST,
            posted(INTERNAL, HOLD, "world", to="default"),
            posted("default", "world", "shop:1", from_=INTERNAL),
        ],
    ),
    "payment, account: the payment's own amount": (
        send(PaymentSource("pay-1-x"), SHOP, None),
        [
            GET_PAYMENT,
            INGEST,
            posted(INTERNAL, HOLD, "world", PAID, to="default"),
            posted("default", "world", "shop:1", PAID, from_=INTERNAL),
        ],
    ),
    "payment, account on its ledger": (
        send(PaymentSource("pay-1-x", "in:psp", False, "default", "hold:1"), SHOP),
        [
            GET_PAYMENT,
            posted("default", "in:psp", "hold:1", PAID, reference="hold:1"),
            posted("default", "hold:1", "shop:1"),
        ],
    ),
    "payment, account: may overdraw": (
        send(PaymentSource("pay-1-x", "in:psp", True, "bank"), SHOP_FAR_THROUGH_OVER),
        [
            GET_PAYMENT,
            scripted("bank", overdraft("in:psp", HOLD, "USD/2 2000"), reference=HOLD),
            posted("bank", HOLD, "world", to="far"),
            scripted("far", overdraft("in:d", "shop:1"), from_="bank"),
        ],
    ),
    "payment, account: may overdraw world": (
        send(PaymentSource("pay-1-x", allow_overdraft=True), AccountEnd("shop:1", ledger=INTERNAL)),
        [GET_PAYMENT, INGEST, posted(INTERNAL, HOLD, "shop:1")],
    ),
    "payment, wallet": (
        send(PaymentSource("pay-1-x"), W1, None),
        [
            GET_PAYMENT,
            INGEST,
            GET_W1,
            posted(INTERNAL, HOLD, "world", PAID, to=ON_W),
            credited("w-1", account_subject("world"), amount=PAID, from_=INTERNAL),
        ],
    ),
    "payment, wallet on its ledger": (
        send(PaymentSource("pay-1-x", ledger=ON_W), ALICE),
        [
            GET_PAYMENT,
            posted(ON_W, "world", HOLD, PAID, reference=HOLD),
            LIST_ALICE,
            credited("w-2", account_subject(HOLD), balance="savings"),
        ],
    ),
}


@pytest.mark.parametrize("case", PLANS)
def test_the_activities_of_each_pair(case: str) -> None:
    stage, calls = PLANS[case]
    assert run(stage) == calls


def test_update() -> None:
    assert run(Update("users:7", "main", {"k": "v"})) == [
        ("AddAccountMetadata", {"id": "users:7", "account": "users:7", "ledger": "main", "metadata": {"k": "v"}})
    ]


def test_what_is_not_given_is_left_out_but_maps_and_lists_stay() -> None:
    bare = Amount(5, "EUR")
    posting = {"source": "users:7", "destination": "shop:1", "amount": 5, "asset": "EUR"}
    amount = {"amount": 5, "asset": "EUR"}
    assert run(Send(USER_7, SHOP, bare)) == [transaction("default", {"postings": [posting], "metadata": {}})]
    assert run(Send(W1, AccountEnd("a", ledger=ON_W), bare))[1] == (
        "DebitWallet",
        {
            "id": "w-1",
            "data": {
                "amount": amount,
                "balances": ["main"],
                "destination": account_subject("a"),
                "metadata": {},
            },
        },
    )
    assert run(Send(W1, FAR, bare))[3] == (
        "CreditWallet",
        {
            "id": "w-far",
            "data": {
                "amount": amount,
                "balance": "savings",
                "sources": [],
                "metadata": {"orchestration/move-from-ledger": ON_W},
            },
        },
    )


def test_big_amounts_stay_exact() -> None:
    over = run(Send(USER_7_OVER, SHOP_FAR, Amount(10**60 + 1, "EUR/2")))
    assert over[0][1]["data"]["script"]["plain"] == overdraft("users:7", "world", f"EUR/2 {10**60 + 1}")
    assert over[1][1]["data"]["postings"][0]["amount"] == 10**60 + 1


def test_a_payment_that_was_ingested_before_goes_on() -> None:
    stage, calls = PLANS["payment, account"]
    ingested = [answer(*GET_PAYMENT), Outcome(error="conflict error on reference", code="CONFLICT")]
    activity = next_activity(stage, ingested)
    assert activity is not None
    assert (activity.name, activity.input) == calls[2]


CONFLICT = Outcome(error="conflict error on reference", code="CONFLICT")
INVALID = Outcome(error="invalid asset", code="VALIDATION")
NO_CODE = Outcome(error="something went wrong")

# A stage, the outcomes so far, and the error that it ends with.
FAILURES: dict[str, tuple[Send | Update, list[Outcome], str]] = {
    "account without amount": (send(USER_7, SHOP, None), [], "amount must be specified"),
    "wallet without amount": (send(W1, FAR, None), [], "amount must be specified"),
    "payment to payment": (send(PaymentSource("p"), STRIPE), [], "send from payment to payment is not supported"),
    "wallet id unknown": (send(W1, SHOP), [Outcome(error="wallet not found")], "wallet not found"),
    "no wallet of the name": (send(ALICE, SHOP), [Outcome({"cursor": {"data": []}})], "wallet not found"),
    "two wallets of the name": (
        send(USER_7, ALICE),
        [Outcome({"cursor": {"data": [{"id": "1", "ledger": "l"}, {"id": "2", "ledger": "l"}]}})],
        "found multiple wallets with the same name",
    ),
    "a wallet of another name": (
        send(ALICE, SHOP),
        [Outcome({"cursor": {"data": [{"id": "1", "name": "bob", "ledger": "l"}]}})],
        "ListWallets: the stack's answer has a wallet of another name",
    ),
    "second wallet unknown": (
        send(ALICE, FAR),
        [answer(*LIST_ALICE), Outcome(error="wallet not found")],
        "wallet not found",
    ),
    "account's metadata lacks the key": (
        send(USER_7, PaymentDestination("s", metadata="iban")),
        [answer(*GET_USER)],
        "expected metadata 'iban' of the source to name the account to pay to",
    ),
    "account without metadata": (
        send(USER_7, STRIPE),
        [Outcome({"data": {"address": "users:7"}})],
        "expected metadata 'formanceAccountID' of the source to name the account to pay to",
    ),
    "account's metadata is empty": (
        send(USER_7, STRIPE),
        [Outcome({"data": {"metadata": {"formanceAccountID": ""}}})],
        "metadata 'formanceAccountID' of the source must name the account to pay to, but is empty or not a text",
    ),
    "wallet's metadata lacks the key": (
        send(FAR, STRIPE),
        [answer(*GET_FAR)],
        "expected metadata 'formanceAccountID' of the source to name the account to pay to",
    ),
    "wallet's metadata is not a text": (
        send(W1, STRIPE),
        [Outcome({"data": {"id": "w-1", "ledger": "l", "metadata": {"formanceAccountID": 7}}})],
        "metadata 'formanceAccountID' of the source must name the account to pay to, but is empty or not a text",
    ),
    "wallet without ledger": (
        send(W1, SHOP),
        [Outcome({"data": {"id": "w-1"}})],
        "GetWallet: the stack's answer has no usable ledger",
    ),
    "wallet without id": (
        send(ALICE, SHOP),
        [Outcome({"cursor": {"data": [{"id": "", "ledger": "l"}]}})],
        "ListWallets: the stack's answer has no usable id",
    ),
    "wallet without data": (send(W1, SHOP), [Outcome(None)], "GetWallet: the stack's answer has no usable data"),
    "wallets without cursor": (
        send(ALICE, SHOP),
        [Outcome({"data": []})],
        "ListWallets: the stack's answer has no usable cursor.data",
    ),
    "wallets of something else": (
        send(ALICE, SHOP),
        [Outcome({"cursor": {"data": ["w-2"]}})],
        "ListWallets: the stack's answer has no usable id",
    ),
    "account without data": (send(USER_7, STRIPE), [Outcome([])], "GetAccount: the stack's answer has no usable data"),
    "payment without amount": (
        send(PaymentSource("p"), SHOP),
        [Outcome({"data": {"initialAmount": 1.5, "asset": "EUR"}})],
        "GetPayment: the stack's answer has no usable data.initialAmount",
    ),
    "payment without asset": (
        send(PaymentSource("p"), SHOP),
        [Outcome({"data": {"initialAmount": 15}})],
        "GetPayment: the stack's answer has no usable data.asset",
    ),
    "transaction refused": (send(USER_7, SHOP), [INVALID], "invalid asset"),
    "transaction conflicts": (send(USER_7, SHOP), [CONFLICT], "conflict error on reference"),
    "ingestion refused": (send(PaymentSource("p"), SHOP), [answer(*GET_PAYMENT), INVALID], "invalid asset"),
    "ingestion failed without a code": (
        send(PaymentSource("p"), SHOP),
        [answer(*GET_PAYMENT), NO_CODE],
        "something went wrong",
    ),
    "transaction behind the ingestion conflicts": (
        send(PaymentSource("p"), SHOP),
        [answer(*GET_PAYMENT), CONFLICT, CONFLICT],
        "conflict error on reference",
    ),
    "second half refused": (send(USER_7, SHOP_FAR), [Outcome({"data": []}), INVALID], "invalid asset"),
    "credit refused": (
        send(USER_7, W1),
        [answer(*GET_W1), Outcome({"data": []}), NO_CODE],
        "something went wrong",
    ),
    "update refused": (Update("users:7", "main", {}), [INVALID], "invalid asset"),
    "account breaks out of the script": (
        send(AccountEnd("a\n  destination = @thief\n)", allow_overdraft=True), SHOP_FAR),
        [],
        "invalid account: 'a\\n  destination = @thief\\n)'",
    ),
    "through account breaks out of the script": (
        send(AccountEnd("a", through_account="b/**/)", allow_overdraft=True), SHOP_FAR),
        [],
        "invalid account: 'b/**/)'",
    ),
    "asset breaks out of the script": (
        send(USER_7_OVER, SHOP_FAR, Amount(1, "EUR/2 100")),
        [],
        "invalid asset: 'EUR/2 100'",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_how_a_stage_fails(case: str) -> None:
    stage, outcomes, error = FAILURES[case]
    for number in range(len(outcomes)):
        assert next_activity(stage, outcomes[:number]) is not None
    with pytest.raises(StageFailed) as caught:
        next_activity(stage, outcomes)
    assert str(caught.value) == error


def test_more_outcomes_than_activities_are_a_fault() -> None:
    with pytest.raises(ValueError, match="more outcomes than activities"):
        next_activity(send(USER_7, SHOP), [Outcome(), Outcome()])
