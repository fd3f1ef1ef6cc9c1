"""The sandbox as a stack with wallets, payments and named payout accounts; and its books, read over HTTP."""

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.integration.http_client import Json
from tests.integration.sandbox_client import SandboxClient
from tests.simulation.money import BANK, INTERNAL_LEDGER, Books
from tests.simulation.sends import ACCOUNTS, BALANCES, account_end, deposit

LEDGERS = ("default", "main", "orchestration-000-internal", "wallets-002")
PAYMENTS = tuple(f"pay-{number}" for number in range(20))
LATE_PAYMENT = "pay-late"
PAYOUT_ACCOUNT = {"stripe": "acct_1"}
FAULTS: list[dict[str, Any]] = [
    {"endpoint": "*", "kind": "error", "probability": 0.1, "status": 503},
    {"endpoint": "*", "kind": "error", "probability": 0.04, "after": True},
    {"endpoint": "*", "kind": "drop", "probability": 0.04},
    {"endpoint": "*", "kind": "garbage", "probability": 0.03},
]
"""A fifth of all calls fails, half of those after they were done."""


@dataclass
class Bank:
    """A sandbox and what is in it."""

    sandbox: SandboxClient
    wallets: dict[str, str]
    """Id by name, of those whose name is theirs alone."""

    async def add_payment(self, payment_id: str) -> None:
        """Let a payment be known."""
        body = {"id": payment_id, "asset": "EUR/2", "initialAmount": 100}
        await self.sandbox.call("POST", "/sandbox/payments", body)

    async def books(self) -> Books:
        """All that was done, and what is left where."""
        books = Books()
        for ledger in LEDGERS:
            for transaction in await self.sandbox.transactions(ledger):
                books.add_transaction(ledger, transaction)
        for transfer in await self.sandbox.transfers():
            books.add_transfer(transfer)
        accounts = {(e.ledger, account) for e in books.entries if e.ledger != BANK for account in e.posting[:2]}
        limit = asyncio.Semaphore(20)

        async def read(ledger: str, account: str) -> None:
            async with limit:
                shown = await self.sandbox.call("GET", f"/api/ledger/{ledger}/accounts/{account}")
            books.balances |= {((ledger, account), asset): n for asset, n in shown["data"]["balances"].items()}

        await asyncio.gather(*(read(*account) for account in accounts))
        return books


async def furnish(sandbox: SandboxClient) -> Bank:
    """Put in what no workflow makes."""
    wallets: dict[str, str] = {}
    for name in ("alice", "bob", "carol", "twin", "twin"):
        body = {"name": name, "metadata": PAYOUT_ACCOUNT if name != "bob" else {"stripe": ""}}
        wallet_id = (await sandbox.call("POST", "/api/wallets/wallets", body))["data"]["id"]
        await sandbox.call("POST", f"/api/wallets/wallets/{wallet_id}/balances", {"name": "savings"})
        wallets[name] = wallet_id
    del wallets["twin"]
    for ledger in LEDGERS:
        for account in ("world", "users:1", "payment:pay_1"):
            path = f"/api/ledger/v2/{ledger}/accounts/{account}/metadata"
            await sandbox.call("POST", path, PAYOUT_ACCOUNT)
    bank = Bank(sandbox, wallets)
    for payment_id in PAYMENTS:
        await bank.add_payment(payment_id)
    return bank


def deposits(bank: Bank) -> list[list[Json]]:
    """Instances, as stages, that bring money to every end that may miss it."""
    ends = [account_end(ledger, account) for ledger in LEDGERS for account in (*ACCOUNTS, "bank")]
    ends += [{"wallet": {"id": i, "balance": balance}} for i in bank.wallets.values() for balance in BALANCES]
    for payment in (*PAYMENTS, LATE_PAYMENT):
        holding = (f"payment:{payment.replace('-', '_')}", f"holding:{payment}")
        ends += [account_end(ledger, account) for ledger in {*LEDGERS, INTERNAL_LEDGER} for account in holding]
    stages = [deposit(end, f"deposit {number} ${{run}}") for number, end in enumerate(ends)]
    return [stages[start : start + 10] for start in range(0, len(stages), 10)]
