"""What a scenario begins with, put into a sandbox that runs somewhere else, over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

from deploy.sandbox.ledger import INITIAL_LEDGERS
from deploy.sandbox.wallets import MAIN_BALANCE
from deploy.scenarios.model import Stack, Wallet

Post = Callable[[str, Any], Awaitable[Any]]
"""Posts a body to a path of the sandbox; returns `data` of the answer, if it has one."""


async def put_in(stack: Stack, post: Post) -> dict[str, str]:
    """Add accounts, wallets, payments and money, in the order of the runner, so that transactions get the same ids.

    Args:
        stack: what to put in; no amount is below zero.
        post: posts to the sandbox, which has just been reset.

    Returns:
        The ids of wallets by those of the scenario: over HTTP nobody can choose them.
    """
    for ledger, accounts in stack.ledgers.items():
        path = f"/api/ledger/v2/{ledger}"
        if ledger not in INITIAL_LEDGERS:
            await post(path, None)
        for address, account in accounts.items():
            for asset, amount in account.balances.items():
                posting = {"source": "world", "destination": address, "amount": amount, "asset": asset}
                await post(f"{path}/transactions", {"postings": [posting]})
            if account.metadata:
                await post(f"{path}/accounts/{address}/metadata", account.metadata)
    wallets = {name: await _put_wallet(name, wallet, post) for name, wallet in stack.wallets.items()}
    for name, payment in stack.payments.items():
        await post("/sandbox/payments", {"id": name, "asset": payment.asset, "initialAmount": payment.amount})
    return wallets


async def _put_wallet(name: str, wallet: Wallet, post: Post) -> str:
    made = await post("/api/wallets/wallets", {"name": wallet.name or name, "metadata": wallet.metadata})
    id: str = made["id"]
    for balance, amounts in wallet.balances.items():
        if balance != MAIN_BALANCE:
            await post(f"/api/wallets/wallets/{id}/balances", {"name": balance})
        for asset, amount in amounts.items():
            money = {"amount": {"amount": amount, "asset": asset}, "balance": balance}
            await post(f"/api/wallets/wallets/{id}/credit", money)
    return id
