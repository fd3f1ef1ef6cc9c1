"""Every activity's request, exactly; and that no id reaches an endpoint other than the activity's."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.activities.attempts import OPERATIONS, as_failure
from engine.activities.operations import Request, segment
from engine.core.retries import is_final
from schemas import activities
from schemas.activities import Activity
from schemas.stack.errors import NotSendable

KEY = "i1:0:2"
HUGE = 2**70 + 1
MOVED = {"amount": HUGE, "asset": "EUR/2"}


def request(activity: Activity) -> Request:
    return OPERATIONS[activity.name].request(activity.input, KEY)


def transfer(**changes: Any) -> Activity:
    given: dict[str, Any] = {
        "amount": HUGE,
        "asset": "EUR/2",
        "provider": "stripe",
        "type": "PAYOUT",
        "destination": "acc-1",
        "waiting_validation": False,
        "metadata": {"k": "v"},
    }
    return activities.create_transfer_initiation(**(given | changes))


POSTING = {"source": "world", "destination": "users:7", "amount": HUGE, "asset": "EUR/2"}

READS = [
    (activities.get_account("main", "users:7"), "/api/ledger/main/accounts/users:7"),
    (activities.get_account("main", "a b?c#d%2F..é"), "/api/ledger/main/accounts/a%20b%3Fc%23d%252F..%C3%A9"),
    (activities.get_payment("eyJ_-=="), "/api/payments/payments/eyJ_-%3D%3D"),
    (activities.get_wallet("w-1"), "/api/wallets/wallets/w-1"),
    (activities.list_wallets("alice"), "/api/wallets/wallets?name=alice"),
    (activities.list_wallets("a&b=../c +%"), "/api/wallets/wallets?name=a%26b%3D..%2Fc%20%2B%25"),
]


@pytest.mark.parametrize(("activity", "path"), READS)
def test_a_reading_activity_sends_a_path_alone(activity: Activity, path: str) -> None:
    assert request(activity) == Request(method="GET", path=path)


WRITES: list[tuple[Activity, str, Any]] = [
    (
        activities.add_account_metadata("main", "users:7", {"k": "v"}),
        "/api/ledger/v2/main/accounts/users:7/metadata",
        {"k": "v"},
    ),
    (
        activities.create_transaction("main", postings=[POSTING], metadata={}, reference="r", timestamp="2026-03-01Z"),
        "/api/ledger/v2/main/transactions",
        {"postings": [POSTING], "metadata": {}, "reference": "r", "timestamp": "2026-03-01Z"},
    ),
    (
        activities.create_transaction("main", script="send [EUR/2 1] ()", metadata={"k": "v"}),
        "/api/ledger/v2/main/transactions",
        {"script": {"plain": "send [EUR/2 1] ()"}, "metadata": {"k": "v"}},
    ),
    (
        activities.credit_wallet("w-1", amount=MOVED, balance="main", metadata={}),
        "/api/wallets/wallets/w-1/credit",
        {"amount": MOVED, "balance": "main", "sources": [], "metadata": {}},
    ),
    (
        activities.debit_wallet(
            "w-1",
            amount=MOVED,
            balances=["main"],
            destination=activities.account_subject("a"),
            metadata={},
            timestamp="2026-03-01Z",
        ),
        "/api/wallets/wallets/w-1/debit",
        {
            "amount": MOVED,
            "balances": ["main"],
            "destination": {"type": "ACCOUNT", "identifier": "a"},
            "metadata": {},
            "timestamp": "2026-03-01Z",
        },
    ),
    (
        transfer(source="acc-0", connector_id="c-1", waiting_validation=True),
        "/api/payments/transfer-initiations",
        {
            "reference": KEY,
            "amount": HUGE,
            "asset": "EUR/2",
            "destinationAccountID": "acc-1",
            "sourceAccountID": "acc-0",
            "connectorID": "c-1",
            "provider": "STRIPE",
            "type": "PAYOUT",
            "description": "stripe PAYOUT",
            "validated": False,
            "metadata": {"k": "v"},
        },
    ),
    (
        transfer(provider=""),
        "/api/payments/transfer-initiations",
        {
            "reference": KEY,
            "amount": HUGE,
            "asset": "EUR/2",
            "destinationAccountID": "acc-1",
            "type": "PAYOUT",
            "description": "PAYOUT",
            "validated": True,
            "metadata": {"k": "v"},
        },
    ),
]


@pytest.mark.parametrize(("activity", "path", "body"), WRITES)
def test_a_writing_activity_sends_a_body_under_its_idempotency_key(activity: Activity, path: str, body: Any) -> None:
    assert request(activity) == Request(method="POST", path=path, body=body, idempotency_key=KEY)


def test_every_activity_of_the_schema_can_be_called() -> None:
    names = {value for name, value in vars(activities).items() if name.isupper() and isinstance(value, str)}
    assert names == OPERATIONS.keys()
    assert names == {case[0].name for case in READS} | {case[0].name for case in WRITES}


HOSTILE = ["", ".", "..", "/", "../x", "a/b", "a\\b", "..\\x", "a\nb", "a\x00b", "a\x7fb", "\ud800"]


def with_id(value: str) -> list[Activity]:
    """Every activity that has an id in its path, with this id in each place."""
    return [
        activities.get_account("main", value),
        activities.get_account(value, "users:7"),
        activities.add_account_metadata("main", value, {}),
        activities.add_account_metadata(value, "users:7", {}),
        activities.create_transaction(value, postings=[POSTING], metadata={}),
        activities.get_payment(value),
        activities.get_wallet(value),
        activities.credit_wallet(value, amount=MOVED, balance="main", metadata={}),
        activities.debit_wallet(value, amount=MOVED, balances=["main"], metadata={}),
    ]


@pytest.mark.parametrize("value", HOSTILE)
def test_an_id_that_is_no_single_segment_is_not_sent_and_not_tried_again(value: str) -> None:
    for activity in with_id(value):
        with pytest.raises(NotSendable) as caught:
            request(activity)
        assert is_final(activity.name, as_failure(caught.value))
        assert "\n" not in str(caught.value)
        str(caught.value).encode()


@pytest.mark.parametrize("name", ["", "\ud800"])
def test_wallets_are_not_looked_up_without_a_name(name: str) -> None:
    with pytest.raises(NotSendable):
        request(activities.list_wallets(name))


def test_the_newer_ledger_is_not_reached_by_a_ledger_of_its_name() -> None:
    with pytest.raises(NotSendable):
        request(activities.get_account("v2", "transactions"))
    written = request(activities.create_transaction("v2", postings=[POSTING], metadata={}))
    assert written.path == "/api/ledger/v2/v2/transactions"


@given(st.text())
def test_whatever_the_id_the_path_has_as_many_segments_and_no_query(value: str) -> None:
    try:
        quoted = segment("id", value)
    except NotSendable:
        return
    assert quoted not in ("", ".", "..")
    assert quoted.isascii()
    assert not set(quoted) & set('/\\?#;& "\t\r\n')
