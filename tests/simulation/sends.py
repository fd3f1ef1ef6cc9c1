"""`send` stages of all pairs, most of which can succeed, and the deposits that let the poor among them succeed."""

import random
from collections.abc import Iterator
from typing import Any

from tests.simulation.money import INTERNAL_LEDGER
from tests.simulation.stack import ABROAD_LEDGER, LATE_PAYMENT, wallet_id

Json = dict[str, Any]

LEDGERS = ("default", "main", "wallets-002", ABROAD_LEDGER)
DEPOSIT = 10**24
"""More than all stages of a seed can ask for."""


def send_stage(rng: random.Random, mark: str) -> Json:
    """A stage that moves money."""
    kind = rng.choices(("account", "wallet", "payment"), (5, 3, 2))[0]
    source = {"account": _source_account, "wallet": _wallet, "payment": _payment_source}[kind](rng)
    to = rng.choices(("account", "wallet", "payment"), (4, 3, 0.1 if kind == "payment" else 2))[0]
    destination = {"account": _account, "wallet": _wallet, "payment": _payment_destination}[to](rng)
    stage: Json = {"source": {kind: source}, "destination": {to: destination}, "metadata": {"mark": mark}}
    if kind != "payment" or rng.random() < 0.5:
        stage["amount"] = {"amount": rng.choice((1, 40, 90, 10**20)), "asset": "EUR/2"}
    if rng.random() < 0.2:
        stage["timestamp"] = "2026-02-03T04:05:06Z"
    return {"send": stage}


def _account(rng: random.Random) -> Json:
    account: Json = {"id": rng.choice(("users:1", "users:2", "users:3")), "ledger": rng.choice(LEDGERS)}
    if rng.random() < 0.3:
        account |= {"throughAccount": "bank", "allowOverdraft": rng.random() < 0.5}
    return account


def _source_account(rng: random.Random) -> Json:
    account = _account(rng)
    if rng.random() < 0.5:
        account["id"] = "world"
    if rng.random() < 0.02:
        account["id"] = "no address"
    if rng.random() < 0.3:
        account["allowOverdraft"] = True
    return account


def _wallet(rng: random.Random) -> Json:
    name = rng.choice(("alice", "bob", "carol-abroad", "dave-abroad"))
    wallet = {"name": name} if rng.random() < 0.5 else {"id": wallet_id(name)}
    chance = rng.random()
    if chance < 0.03:
        wallet = {"name": "twin"}
    elif chance < 0.06:
        wallet = rng.choice(({"name": "nobody"}, {"id": "00000000-0000-0000-0000-0000000000ff"}))
    return wallet | ({"balance": "savings"} if rng.random() < 0.3 else {})


def _payment_source(rng: random.Random) -> Json:
    payment: Json = {"id": rng.choice(("pay-1", "pay-2", "pay-3")) if rng.random() < 0.95 else LATE_PAYMENT}
    if rng.random() < 0.3:
        payment |= {"throughAccount": "bank", "allowOverdraft": rng.random() < 0.5}
    if rng.random() < 0.5:
        payment["ledger"] = rng.choice(LEDGERS)
    if rng.random() < 0.3:
        payment["holdingAccount"] = f"holding:{payment['id']}"
    return payment


def _payment_destination(rng: random.Random) -> Json:
    key = "stripe" if rng.random() < 0.9 else "missing"
    payment: Json = {"psp": "stripe", "metadata": key, "type": rng.choice(("TRANSFER", "PAYOUT"))}
    return payment | ({"sourceAccount": "acct_0", "connectorId": "c-1"} if rng.random() < 0.3 else {})


def deposits(shown: Json, mark: str) -> list[Json]:
    """Stages that bring money to wherever a `send`, as its history shows it, may miss it."""
    ends = list(_finite_ends(shown))
    return [_deposit(end, f"{mark}/{number}") for number, end in enumerate(ends)]


def _deposit(end: Json, mark: str) -> Json:
    ledger = end.get("account", {}).get("ledger", "default")
    return {
        "send": {
            "source": {"account": {"id": "world", "ledger": ledger}},
            "destination": end,
            "amount": {"amount": DEPOSIT, "asset": "EUR/2"},
            "metadata": {"mark": mark},
        }
    }


def _finite_ends(shown: Json) -> Iterator[Json]:
    (kind, source), (_, destination) = *shown["source"].items(), *shown["destination"].items()
    if kind == "wallet":
        reference = {"id": source["id"]} if source["id"] else {"name": source["name"]}
        yield from ({"wallet": reference | {"balance": balance}} for balance in {"main": 0, source["balance"]: 0})
    elif kind == "account":
        yield _account_end(source["ledger"], source["id"])
        # On its way to a wallet the money passes through this account on the wallet's ledger.
        yield from (_account_end(ledger, source["throughAccount"]) for ledger in ("wallets-002", ABROAD_LEDGER))
    else:
        ledger = source.get("ledger", INTERNAL_LEDGER)
        yield _account_end(ledger, source["throughAccount"])
        yield _account_end(ledger, source.get("holdingAccount") or f"payment:{source['id'].replace('-', '_')}")
    if "throughAccount" in destination:
        yield _account_end(destination["ledger"], destination["throughAccount"])


def _account_end(ledger: str, account: str) -> Json:
    return {"account": {"id": account, "ledger": ledger}}
