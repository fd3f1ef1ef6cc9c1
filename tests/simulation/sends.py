"""`send` stages of all pairs, most of which can succeed, and the deposits that let the poor among them succeed."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulation.money import INTERNAL_LEDGER

Json = dict[str, Any]

ASSET = "EUR/2"
DEPOSIT = 10**24
"""More than all stages of a run can ask for."""
ACCOUNTS = ("users:1", "users:2", "users:3")
BALANCES = ("main", "savings")


@dataclass
class Sends:
    """Makes stages that move money.

    Args:
        rng: decides everything.
        ledgers: where accounts are.
        wallets: that exist, once each: id by name.
        payments: ids of those that exist; some of the stages ask for `late_payment` instead.
        late_payment: one that will exist.
        mishaps: how often a stage is made to fail, from 0 to 1 about.
    """

    rng: random.Random
    ledgers: Sequence[str]
    wallets: Mapping[str, str]
    payments: Sequence[str]
    late_payment: str
    mishaps: float = 0.03

    def stage(self, mark: str) -> Json:
        """A stage whose metadata tells it from all others."""
        rng = self.rng
        kind = rng.choices(("account", "wallet", "payment"), (5, 3, 2))[0]
        source = {"account": self._source_account, "wallet": self._wallet, "payment": self._payment_source}[kind]()
        to = rng.choices(("account", "wallet", "payment"), (4, 3, 0 if kind == "payment" else 2))[0]
        destination = {"account": self._account, "wallet": self._wallet, "payment": self._payment_destination}[to]()
        stage: Json = {"source": {kind: source}, "destination": {to: destination}, "metadata": {"mark": mark}}
        if kind != "payment" or rng.random() < 0.5:
            stage["amount"] = {"amount": rng.choice((1, 40, 90, 10**20)), "asset": ASSET}
        if rng.random() < 0.2:
            stage["timestamp"] = "2026-02-03T04:05:06Z"
        return {"send": stage}

    def _account(self) -> Json:
        account: Json = {"id": self.rng.choice(ACCOUNTS), "ledger": self.rng.choice(self.ledgers)}
        if self.rng.random() < 0.3:
            account |= {"throughAccount": "bank", "allowOverdraft": self.rng.random() < 0.5}
        return account

    def _source_account(self) -> Json:
        account = self._account()
        if self.rng.random() < 0.5:
            account["id"] = "world"
        if self.rng.random() < self.mishaps:
            account["id"] = "no address"
        if self.rng.random() < 0.3:
            account["allowOverdraft"] = True
        return account

    def _wallet(self) -> Json:
        name = self.rng.choice(list(self.wallets))
        wallet = {"name": name} if self.rng.random() < 0.5 else {"id": self.wallets[name]}
        if self.rng.random() < 2 * self.mishaps:
            unknown = "00000000-0000-0000-0000-0000000000ff"
            wallet = self.rng.choice(({"name": "twin"}, {"name": "nobody"}, {"id": unknown}))
        return wallet | ({"balance": self.rng.choice(BALANCES)} if self.rng.random() < 0.5 else {})

    def _payment_source(self) -> Json:
        is_late = self.rng.random() < 0.05
        payment: Json = {"id": self.late_payment if is_late else self.rng.choice(self.payments)}
        if self.rng.random() < 0.3:
            payment |= {"throughAccount": "bank", "allowOverdraft": self.rng.random() < 0.5}
        if self.rng.random() < 0.5:
            payment["ledger"] = self.rng.choice(self.ledgers)
        if self.rng.random() < 0.3:
            payment["holdingAccount"] = f"holding:{payment['id']}"
        return payment

    def _payment_destination(self) -> Json:
        key = "missing" if self.rng.random() < 3 * self.mishaps else "stripe"
        payment: Json = {"psp": "stripe", "metadata": key, "type": self.rng.choice(("TRANSFER", "PAYOUT"))}
        return payment | ({"sourceAccount": "acct_0", "connectorId": "c-1"} if self.rng.random() < 0.3 else {})

    def deposits(self, shown: Json, mark: str) -> list[Json]:
        """Stages that bring money to wherever a `send`, as its history shows it, may miss it."""
        return [deposit(end, f"{mark}/{number}") for number, end in enumerate(self._finite_ends(shown))]

    def _finite_ends(self, shown: Json) -> Iterator[Json]:
        ((kind, source),) = shown["source"].items()
        (destination,) = shown["destination"].values()
        if kind == "wallet":
            reference = {"id": source["id"]} if source["id"] else {"name": source["name"]}
            yield from ({"wallet": reference | {"balance": balance}} for balance in BALANCES)
        elif kind == "account":
            yield account_end(source["ledger"], source["id"])
            # On its way to a wallet the money passes through this account on the wallet's ledger.
            yield from (account_end(ledger, source["throughAccount"]) for ledger in self.ledgers)
        else:
            ledger = source.get("ledger", INTERNAL_LEDGER)
            yield account_end(ledger, source["throughAccount"])
            yield account_end(ledger, source.get("holdingAccount") or f"payment:{source['id'].replace('-', '_')}")
        if "throughAccount" in destination:
            yield account_end(destination["ledger"], destination["throughAccount"])


def deposit(end: Json, mark: str) -> Json:
    """A stage that brings money to an end."""
    ledger = end.get("account", {}).get("ledger", "default")
    return {
        "send": {
            "source": {"account": {"id": "world", "ledger": ledger}},
            "destination": end,
            "amount": {"amount": DEPOSIT, "asset": ASSET},
            "metadata": {"mark": mark},
        }
    }


def account_end(ledger: str, account: str) -> Json:
    """An account as source or destination."""
    return {"account": {"id": account, "ledger": ledger}}
