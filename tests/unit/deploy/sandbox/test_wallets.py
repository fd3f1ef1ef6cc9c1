"""The sandbox's wallets and payments: what moves on the ledger underneath, holds, and that money is conserved."""

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.sandbox.errors import (
    HoldClosedError,
    InsufficientFundError,
    InternalError,
    NotFoundError,
    SandboxError,
    TransferReferenceConflictError,
    ValidationError,
    WalletNotFoundError,
)
from deploy.sandbox.ledger import Ledger, Posting
from deploy.sandbox.payments import Payment, Payments, TransferRequest
from deploy.sandbox.wallets import Confirm, CreateWallet, Credit, Debit, Hold, Monetary, Subject, Wallets

NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
EUR = "EUR/2"
UNKNOWN = "00000000-0000-4000-8000-00000000ffff"


def numbered_ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"00000000-0000-4000-8000-{next(numbers):012d}"


def address(wallet_id: str, balance: str = "main") -> str:
    return f"wallets:{wallet_id.replace('-', '')}:{balance}"


def eur(amount: int) -> Monetary:
    return Monetary(amount, EUR)


class Bank:
    """Wallets `alice` and `bob` on a fresh ledger."""

    def __init__(self) -> None:
        self.ledger = Ledger(lambda: NOW)
        self.wallets = Wallets(self.ledger, lambda: NOW, numbered_ids())
        self.alice = self.wallets.create(CreateWallet("alice", {"k": "v"}), None).value.id
        self.bob = self.wallets.create(CreateWallet("bob"), None).value.id

    def main(self, wallet_id: str) -> int:
        return self.ledger.balance(address(wallet_id), EUR)

    def pending(self, amount: int, destination: Subject | None = None) -> Hold:
        request = Debit(eur(amount), pending=True, destination=destination)
        hold = self.wallets.debit(self.alice, request, None).value
        assert hold is not None
        return hold


@pytest.fixture
def bank() -> Bank:
    return Bank()


def test_a_wallet_shows_its_money(bank: Bank) -> None:
    bank.wallets.credit(bank.alice, Credit(eur(67)), None)
    assert bank.wallets.view(bank.alice) == {
        "id": bank.alice,
        "name": "alice",
        "metadata": {"k": "v"},
        "createdAt": NOW,
        "ledger": "wallets-002",
        "balances": {"main": {"expiresAt": None, "priority": 0, "assets": {EUR: 67}}},
    }
    assert bank.ledger.balance("world", EUR) == -67


def test_wallets_are_found_by_exact_name(bank: Bank) -> None:
    second = bank.wallets.create(CreateWallet("alice"), None).value
    assert [wallet.id for wallet in bank.wallets.find("alice", 10)] == [bank.alice, second.id]
    assert len(bank.wallets.find("alice", 1)) == 1
    assert not bank.wallets.find("Alice", 10)
    assert not bank.wallets.find("ali", 10)
    assert len(bank.wallets.find(None, 10)) == 3


def test_creating_a_wallet_twice_under_one_key_creates_one(bank: Bank) -> None:
    first = bank.wallets.create(CreateWallet("carol"), "k").value
    assert bank.wallets.create(CreateWallet("carol"), "k").value is first
    assert len(bank.wallets.find("carol", 10)) == 1
    with pytest.raises(ValidationError):
        bank.wallets.create(CreateWallet(""), None)


def test_an_unknown_wallet_can_be_credited_but_not_debited_or_shown(bank: Bank) -> None:
    bank.wallets.credit(UNKNOWN, Credit(eur(5)), None)
    assert bank.main(UNKNOWN) == 5
    with pytest.raises(WalletNotFoundError):
        bank.wallets.view(UNKNOWN)
    with pytest.raises(InternalError):
        bank.wallets.debit(UNKNOWN, Debit(eur(5)), None)


@pytest.mark.parametrize("wallet_id", ["a b", "a:", "", "ü"])
def test_an_id_that_makes_no_address(bank: Bank, wallet_id: str) -> None:
    with pytest.raises(ValidationError):
        bank.wallets.credit(wallet_id, Credit(eur(5), balance=""), None)


def test_a_credit_drains_its_sources_in_order(bank: Bank) -> None:
    bank.ledger.post([Posting("world", "till", 30, EUR)], metadata={})
    bank.wallets.credit(bank.bob, Credit(eur(50)), None)
    sources = [Subject("ACCOUNT", "till"), Subject("WALLET", bank.bob)]
    bank.wallets.credit(bank.alice, Credit(eur(70), sources=sources, metadata={"m": "1"}), None)
    assert (bank.main(bank.alice), bank.main(bank.bob), bank.ledger.balance("till", EUR)) == (70, 10, 0)
    assert bank.ledger.transactions[-1].metadata == {"m": "1"}
    with pytest.raises(InternalError, match="insufficient funds"):
        bank.wallets.credit(bank.alice, Credit(eur(11), sources=sources), None)
    assert bank.main(bank.alice) == 70


@pytest.mark.parametrize("sources", [None, [], [Subject("ACCOUNT", "world")]])
def test_a_credit_without_sources_comes_from_world(bank: Bank, sources: list[Subject] | None) -> None:
    bank.wallets.credit(bank.alice, Credit(eur(5), sources=sources), None)
    assert bank.ledger.transactions[-1].postings == (Posting("world", address(bank.alice), 5, EUR),)


def test_the_same_source_twice_is_not_spent_twice(bank: Bank) -> None:
    bank.wallets.credit(bank.bob, Credit(eur(5)), None)
    with pytest.raises(InternalError):
        bank.wallets.credit(bank.alice, Credit(eur(10), sources=[Subject("WALLET", bank.bob)] * 2), None)
    assert bank.main(bank.bob) == 5


def test_credits_and_debits_are_applied_once_per_key(bank: Bank) -> None:
    for _ in range(2):
        bank.wallets.credit(bank.alice, Credit(eur(10)), "c")
        bank.wallets.debit(bank.alice, Debit(eur(4)), "d")
    assert bank.main(bank.alice) == 6
    with pytest.raises(ValidationError):
        bank.wallets.credit(bank.bob, Credit(eur(10)), "c")


def test_a_debit_goes_to_world_or_to_its_destination(bank: Bank) -> None:
    bank.wallets.credit(bank.alice, Credit(eur(10)), None)
    assert bank.wallets.debit(bank.alice, Debit(eur(1)), None).value is None
    bank.wallets.debit(bank.alice, Debit(eur(2), destination=Subject("ACCOUNT", "shop")), None)
    bank.wallets.debit(bank.alice, Debit(eur(3), destination=Subject("WALLET", bank.bob, "bonus")), None)
    assert bank.main(bank.alice) == 4
    assert bank.ledger.balance("shop", EUR) == 2
    assert bank.ledger.balance(address(bank.bob, "bonus"), EUR) == 3
    with pytest.raises(InsufficientFundError):
        bank.wallets.debit(bank.alice, Debit(eur(5)), None)


def test_balances_have_to_be_created_before_a_debit_names_them(bank: Bank) -> None:
    bank.wallets.credit(bank.alice, Credit(eur(5), balance="bonus"), None)
    bank.wallets.credit(bank.alice, Credit(eur(5)), None)
    debit = Debit(eur(7), balances=["bonus", "main"])
    with pytest.raises(InternalError, match="'bonus'"):
        bank.wallets.debit(bank.alice, debit, None)
    bank.wallets.create_balance(bank.alice, "bonus", None)
    bank.wallets.debit(bank.alice, debit, None)
    balances = bank.wallets.view(bank.alice)["balances"]
    assert (balances["bonus"]["assets"], balances["main"]["assets"]) == ({EUR: 0}, {EUR: 3})
    with pytest.raises(ValidationError):
        bank.wallets.create_balance(bank.alice, "bonus", None)
    with pytest.raises(WalletNotFoundError):
        bank.wallets.create_balance(UNKNOWN, "bonus", None)


def test_a_pending_debit_holds_the_money_until_confirmed(bank: Bank) -> None:
    bank.wallets.credit(bank.alice, Credit(eur(10)), None)
    hold = bank.pending(8, Subject("ACCOUNT", "shop"))
    assert hold.view() == {
        "id": hold.id,
        "walletID": bank.alice,
        "destination": {"type": "ACCOUNT", "identifier": "shop"},
        "asset": EUR,
        "metadata": {},
        "description": "",
    }
    assert (bank.main(bank.alice), bank.ledger.balance(hold.address, EUR)) == (2, 8)
    bank.wallets.confirm(hold.id, Confirm(amount=3), None)
    with pytest.raises(InsufficientFundError):
        bank.wallets.confirm(hold.id, Confirm(amount=6), None)
    bank.wallets.confirm(hold.id, Confirm(amount=1, final=True), None)
    assert (bank.main(bank.alice), bank.ledger.balance("shop", EUR), bank.ledger.balance(hold.address, EUR)) == (
        6,
        4,
        0,
    )
    with pytest.raises(HoldClosedError):
        bank.wallets.confirm(hold.id, Confirm(), None)


def test_voiding_gives_each_balance_its_part_back(bank: Bank) -> None:
    bank.wallets.create_balance(bank.alice, "bonus", None)
    bank.wallets.credit(bank.alice, Credit(eur(5), balance="bonus"), None)
    bank.wallets.credit(bank.alice, Credit(eur(5)), None)
    hold = bank.wallets.debit(bank.alice, Debit(eur(8), pending=True, balances=["bonus", "main"]), None).value
    assert hold is not None
    bank.wallets.confirm(hold.id, Confirm(amount=2), None)
    for _ in range(2):
        bank.wallets.void(hold.id, "k")
    assert (bank.ledger.balance(address(bank.alice, "bonus"), EUR), bank.main(bank.alice)) == (3, 5)
    with pytest.raises(HoldClosedError):
        bank.wallets.void(hold.id, None)
    with pytest.raises(WalletNotFoundError):
        bank.wallets.void(UNKNOWN, None)


operations = st.tuples(
    st.sampled_from(["credit", "credit_from", "debit", "hold", "confirm", "final", "void"]),
    st.integers(0, 1),
    st.integers(0, 12),
    st.none() | st.sampled_from(["k1", "k2"]),
)


@given(st.lists(operations, max_size=40))
def test_money_is_conserved(steps: list[tuple[str, int, int, str | None]]) -> None:
    bank = Bank()
    holds: list[Hold] = []
    for kind, who, amount, key in steps:
        wallet, other = (bank.alice, bank.bob) if who else (bank.bob, bank.alice)
        hold_id = holds[amount % len(holds)].id if holds else UNKNOWN
        try:
            match kind:
                case "credit":
                    bank.wallets.credit(wallet, Credit(eur(amount)), key)
                case "credit_from":
                    bank.wallets.credit(wallet, Credit(eur(amount), sources=[Subject("WALLET", other)]), key)
                case "debit":
                    bank.wallets.debit(wallet, Debit(eur(amount), destination=Subject("WALLET", other)), key)
                case "hold":
                    hold = bank.wallets.debit(wallet, Debit(eur(amount), pending=True), key).value
                    holds += [hold] if hold is not None else []
                case "void":
                    bank.wallets.void(hold_id, key)
                case _:
                    bank.wallets.confirm(hold_id, Confirm(amount, final=kind == "final"), key)
        except SandboxError:
            pass
        sums: Counter[str] = Counter()
        for name, account in bank.ledger.accounts.items():
            for asset, volumes in account.volumes.items():
                sums[asset] += volumes.balance
                assert name == "world" or volumes.balance >= 0
        assert not any(sums.values())
        for hold in holds:
            assert bank.ledger.balance(hold.address, EUR) == sum(part for _, part in hold.parts)
            assert not (hold.closed and hold.parts)


def test_payments_are_put_in_and_shown() -> None:
    payments = Payments(lambda: NOW, numbered_ids())
    seed = msgspec.json.decode(b'{"asset": "EUR/2", "initialAmount": 12345678901234567890123}', type=Payment)
    payment = payments.add(seed)
    assert payments.get(payment.id) == payment
    assert (payment.amount, payment.created_at) == (12345678901234567890123, NOW)
    with pytest.raises(ValidationError):
        payments.add(payment)
    with pytest.raises(NotFoundError):
        payments.get("other")


@pytest.mark.parametrize(("validated", "status"), [(True, "VALIDATED"), (False, "WAITING_FOR_VALIDATION")])
def test_a_transfer_reference_is_taken_once(validated: bool, status: str) -> None:
    payments = Payments(lambda: NOW, numbered_ids())
    request = TransferRequest("r", 5, EUR, "acc", "PAYOUT", validated=validated)
    assert payments.initiate_transfer(request).status == status
    with pytest.raises(TransferReferenceConflictError):
        payments.initiate_transfer(request)
    assert len(payments.transfers) == 1
