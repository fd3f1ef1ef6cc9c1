"""The sandbox's ledger: balances, references, idempotency keys, scripts, and that money is conserved."""

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.sandbox.errors import (
    CompilationFailedError,
    InsufficientFundError,
    LedgerExistsError,
    LedgerNotFoundError,
    NoPostingsError,
    ReferenceConflictError,
    SandboxError,
    ValidationError,
)
from deploy.sandbox.ledger import Ledger, Ledgers, Posting, Script, TransactionRequest
from deploy.sandbox.numscript import Send, compile_script
from deploy.sandbox.values import MAX_AMOUNT

NOW = datetime(2026, 3, 1, 10, 0, 5, 580_000, tzinfo=UTC)
EUR = "EUR/2"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(lambda: NOW)


def move(source: str, destination: str, amount: int, reference: str | None = None) -> TransactionRequest:
    return TransactionRequest(postings=[Posting(source, destination, amount, EUR)], reference=reference)


def script(source: str, destination: str, amount: int, clause: str = "") -> TransactionRequest:
    return TransactionRequest(
        script=Script(f"send [{EUR} {amount}] (\n  source = @{source}{clause}\n  destination = @{destination}\n)")
    )


def totals(ledger: Ledger) -> Counter[str]:
    sums: Counter[str] = Counter()
    for account in ledger.accounts.values():
        for asset, volumes in account.volumes.items():
            sums[asset] += volumes.balance
    return sums


def test_a_transaction_shows_volumes_before_and_after(ledger: Ledger) -> None:
    ledger.create_transaction(move("world", "users:7", 1000), None)
    view = ledger.create_transaction(move("users:7", "shop", 250), None).value.view()
    assert view["id"] == 2
    assert view["timestamp"] == view["insertedAt"] == view["updatedAt"] == NOW
    assert view["reverted"] is False
    assert "reference" not in view
    assert view["preCommitVolumes"] == {
        "users:7": {EUR: {"input": 1000, "output": 0, "balance": 1000}},
        "shop": {EUR: {"input": 0, "output": 0, "balance": 0}},
    }
    assert view["postCommitVolumes"] == {
        "users:7": {EUR: {"input": 1000, "output": 250, "balance": 750}},
        "shop": {EUR: {"input": 250, "output": 0, "balance": 250}},
    }


def test_amounts_beyond_floats_and_machine_words_stay_exact(ledger: Ledger) -> None:
    amount = 2**200 + 1
    ledger.create_transaction(move("world", "a", amount), None)
    ledger.create_transaction(move("a", "b", amount - 1), None)
    assert (ledger.balance("a", EUR), ledger.balance("world", EUR)) == (1, -amount)


def test_an_amount_that_could_not_be_written_as_a_sum_is_refused(ledger: Ledger) -> None:
    ledger.create_transaction(move("world", "a", MAX_AMOUNT), None)
    with pytest.raises(ValidationError, match="digits"):
        ledger.create_transaction(move("world", "a", MAX_AMOUNT + 1), None)


def test_a_refused_transaction_changes_nothing_and_uses_no_id(ledger: Ledger) -> None:
    ledger.create_transaction(move("world", "a", 10), None)
    postings = [Posting("a", "b", 10, EUR), Posting("a", "c", 1, EUR)]
    with pytest.raises(InsufficientFundError, match="account @a has insufficient funds"):
        ledger.create_transaction(TransactionRequest(postings=postings), None)
    assert (ledger.balance("a", EUR), ledger.balance("b", EUR)) == (10, 0)
    assert set(ledger.accounts) == {"world", "a"}
    assert ledger.create_transaction(move("world", "a", 1), None).value.id == 2


def test_a_posting_may_spend_what_an_earlier_one_brought(ledger: Ledger) -> None:
    postings = [Posting("world", "a", 5, EUR), Posting("a", "b", 5, EUR), Posting("b", "b", 5, EUR)]
    ledger.create_transaction(TransactionRequest(postings=postings), None)
    assert (ledger.balance("a", EUR), ledger.balance("b", EUR)) == (0, 5)


def test_zero_may_be_moved_from_an_account_in_debt(ledger: Ledger) -> None:
    ledger.create_transaction(script("a", "b", 5, " allowing unbounded overdraft"), None)
    ledger.create_transaction(move("a", "b", 0), None)
    assert ledger.balance("a", EUR) == -5


def test_a_taken_reference_conflicts_and_uses_up_an_id(ledger: Ledger) -> None:
    assert ledger.create_transaction(move("world", "a", 1, reference="r1"), None).value.view()["reference"] == "r1"
    with pytest.raises(ReferenceConflictError):
        ledger.create_transaction(move("world", "a", 1, reference="r1"), None)
    assert ledger.balance("a", EUR) == 1
    assert ledger.create_transaction(move("world", "a", 1, reference="r2"), None).value.id == 3


def test_an_empty_reference_is_none(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.create_transaction(move("world", "a", 1, reference=""), None)
    assert ledger.balance("a", EUR) == 2


def test_the_same_key_and_body_give_the_first_answer_again(ledger: Ledger) -> None:
    first = ledger.create_transaction(move("world", "a", 7, reference="r"), "k")
    again = ledger.create_transaction(move("world", "a", 7, reference="r"), "k")
    assert (first.hit, again.hit) == (False, True)
    assert again.value == first.value
    assert ledger.balance("a", EUR) == 7


def test_the_same_key_with_another_body_or_operation_is_refused(ledger: Ledger) -> None:
    ledger.create_transaction(move("world", "a", 7), "k")
    with pytest.raises(ValidationError, match="invalid idempotency hash"):
        ledger.create_transaction(move("world", "a", 8), "k")
    with pytest.raises(ValidationError, match="invalid idempotency hash"):
        ledger.add_metadata("a", {}, "k")
    assert ledger.balance("a", EUR) == 7


def test_a_failed_attempt_leaves_its_key_unused(ledger: Ledger) -> None:
    with pytest.raises(InsufficientFundError):
        ledger.create_transaction(move("a", "b", 7), "k")
    ledger.create_transaction(move("world", "a", 7), None)
    assert not ledger.create_transaction(move("a", "b", 7), "k").hit
    assert ledger.balance("b", EUR) == 7


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (TransactionRequest(), NoPostingsError),
        (TransactionRequest(postings=[], script=Script("")), NoPostingsError),
        (TransactionRequest(postings=[Posting("a", "b", 1, EUR)], script=Script("send")), ValidationError),
        (TransactionRequest(script=Script("vars { account $a }")), CompilationFailedError),
        (TransactionRequest(script=Script("send", vars={"a": "b"})), ValidationError),
        (
            TransactionRequest(
                postings=[Posting("world", "b", 1, EUR)],
                timestamp=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            ),
            ValidationError,
        ),
    ],
)
def test_requests_that_make_no_transaction(
    ledger: Ledger, request_: TransactionRequest, error: type[SandboxError]
) -> None:
    with pytest.raises(error):
        ledger.create_transaction(request_, None)
    assert not ledger.transactions


def test_only_a_script_with_the_clause_may_overdraw(ledger: Ledger) -> None:
    with pytest.raises(InsufficientFundError):
        ledger.create_transaction(script("a", "b", 5), None)
    transaction = ledger.create_transaction(script("a", "b", 5, " allowing unbounded overdraft"), None).value
    assert transaction.postings == (Posting("a", "b", 5, EUR),)
    assert (ledger.balance("a", EUR), ledger.balance("b", EUR)) == (-5, 5)


@pytest.mark.parametrize(
    ("plain", "send"),
    [
        ("send [EUR/2 1250] (\n  source = @a\n  destination = @b\n)", Send("a", "b", 1250, EUR, False)),
        (
            "send [EUR/2 1250] (\n  source = @a:b allowing unbounded overdraft\n  destination = @b:c_d-e\n)\n",
            Send("a:b", "b:c_d-e", 1250, EUR, True),
        ),
        ("send [COIN 0] (\r\n\tsource=@world\r\n\tdestination=@b\r\n)", Send("world", "b", 0, "COIN", False)),
    ],
)
def test_scripts_that_compile(plain: str, send: Send) -> None:
    assert compile_script(plain) == send


@pytest.mark.parametrize(
    "plain",
    [
        "send [EUR/2 *] (\n  source = @a\n  destination = @b\n)",
        "send [EUR/2 -1] (\n  source = @a\n  destination = @b\n)",
        "send [eur 1] (\n  source = @a\n  destination = @b\n)",
        "send [EUR/2 1] (\n  source = {@a @c}\n  destination = @b\n)",
        "send [EUR/2 1] (\n  source = @a allowing overdraft up to [EUR/2 5]\n  destination = @b\n)",
        "send [EUR/2 1] (\n  source = @a destination = @b\n)",
        "send [EUR/2 1] (\n  source = @a:\n  destination = @b\n)",
        "send [EUR/2 1] (\n  source = @a\n  destination = @b\n)\nset_tx_meta(1, 2)",
        "send [EUR/2 " + "9" * 5000 + "] (\n  source = @a\n  destination = @b\n)",
        "send [EUR/2 1] (\n  source = @a" + "\n" * 200_000,
        "\n",
    ],
)
def test_scripts_that_do_not_compile(plain: str) -> None:
    with pytest.raises(CompilationFailedError) as caught:
        compile_script(plain)
    assert "\x1b[31m" in str(caught.value)
    assert "\n" in str(caught.value)


def test_a_timestamp_is_shown_in_utc_and_moves_the_first_usage_back(ledger: Ledger) -> None:
    ledger.create_transaction(move("world", "a", 1), None)
    earlier = datetime(2026, 1, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    request = TransactionRequest(postings=[Posting("world", "a", 1, EUR)], timestamp=earlier)
    assert ledger.create_transaction(request, None).value.timestamp.isoformat() == "2026-01-01T00:00:00+00:00"
    account = ledger.account_view("a")
    assert (account["firstUsage"], account["insertionDate"]) == (earlier, NOW)


def test_metadata_is_merged(ledger: Ledger) -> None:
    ledger.add_metadata("users:7", {"a": "1", "b": "1"}, None)
    assert not ledger.add_metadata("users:7", {"b": "2"}, "k").hit
    ledger.add_metadata("users:7", {"b": "3"}, None)
    assert ledger.add_metadata("users:7", {"b": "2"}, "k").hit
    assert ledger.account_view("users:7")["metadata"] == {"a": "1", "b": "3"}


def test_an_account_never_used_is_shown_empty_and_not_created(ledger: Ledger) -> None:
    view = ledger.account_view("nobody")
    assert view["metadata"] == view["volumes"] == view["balances"] == {}
    assert view["firstUsage"] == view["insertionDate"] == view["updatedAt"] == datetime(1, 1, 1, tzinfo=UTC)
    assert not ledger.accounts


@pytest.mark.parametrize("address", ["", "a:", ":a", "a::b", "a b", "ü", "a\n"])
def test_bad_addresses(ledger: Ledger, address: str) -> None:
    with pytest.raises(ValidationError):
        ledger.account_view(address)
    with pytest.raises(ValidationError):
        ledger.add_metadata(address, {}, None)


def test_ledgers_are_created_and_count_their_own_ids() -> None:
    ledgers = Ledgers(lambda: NOW)
    with pytest.raises(LedgerNotFoundError):
        ledgers.get("new")
    ledgers.create("new")
    for name in ("default", "main", "orchestration-000-internal", "wallets-002", "new"):
        assert ledgers.get(name).create_transaction(move("world", "a", 1), None).value.id == 1
    with pytest.raises(LedgerExistsError):
        ledgers.create("new")
    for name in ("a:b", "", "x" * 64):
        with pytest.raises(ValidationError):
            ledgers.create(name)


accounts = st.sampled_from(["world", "a", "b", "c:d"])
amounts = st.integers(0, 20) | st.integers(0, 10**30)
postings = st.builds(Posting, accounts, accounts, amounts, st.sampled_from([EUR, "COIN"]))
keys = st.none() | st.sampled_from(["k1", "k2", "k3"])
references = st.none() | st.sampled_from(["r1", "r2"])
requests = st.builds(TransactionRequest, postings=st.lists(postings, max_size=4), reference=references) | st.builds(
    script, accounts, accounts, amounts, st.sampled_from(["", " allowing unbounded overdraft"])
)


@given(st.lists(st.tuples(requests, keys), max_size=30))
def test_money_is_conserved_and_debts_are_allowed_ones(operations: list[tuple[TransactionRequest, str | None]]) -> None:
    ledger = Ledger(lambda: NOW)
    may_owe = {"world"}
    for request, key in operations:
        before = {address: dict(account.volumes) for address, account in ledger.accounts.items()}
        count = len(ledger.transactions)
        try:
            outcome = ledger.create_transaction(request, key)
        except SandboxError:
            assert {address: account.volumes for address, account in ledger.accounts.items()} == before
            assert len(ledger.transactions) == count
        else:
            assert len(ledger.transactions) == count + (not outcome.hit)
            if request.script is not None and "overdraft" in request.script.plain:
                may_owe.add(outcome.value.postings[0].source)
        assert not any(totals(ledger).values())
        for address, account in ledger.accounts.items():
            assert address in may_owe or all(volumes.balance >= 0 for volumes in account.volumes.values())
    ids = [transaction.id for transaction in ledger.transactions]
    assert ids == sorted(set(ids))
