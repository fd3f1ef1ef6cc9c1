"""Wallets as an end of a `send`: look-up, credit and debit. A wallet's ledger is known from the look-up alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.core.errors import StageFailed
from engine.core.send.steps import Move, Plan, answered, call
from schemas.activities import GET_WALLET, LIST_WALLETS, Activity, credit_wallet, debit_wallet, get_wallet, list_wallets
from schemas.definition import WalletEnd


class Wallet(msgspec.Struct, frozen=True):
    """A wallet that was found.

    Attributes:
        id: Its id.
        ledger: The ledger that its money is on.
        balance: The balance that the stage names.
        metadata: As the wallets service answered it.
    """

    id: str
    ledger: str
    balance: str
    metadata: Any


def look_up(end: WalletEnd) -> Plan[Wallet]:
    """Find a wallet by id or by name.

    Raises:
        StageFailed: No wallet has the name, or more than one, or the answer can't be used, or has a wallet of another
            name: a gateway that loses the query would let money go there.
    """
    if end.id:
        lookup = GET_WALLET
        found = answered((yield from call(get_wallet(end.id))), lookup, "data", kind=dict)
    else:
        lookup = LIST_WALLETS
        wallets = answered((yield from call(list_wallets(end.name))), lookup, "cursor", "data", kind=list)
        if not wallets:
            raise StageFailed("wallet not found")
        if len(wallets) > 1:
            raise StageFailed("found multiple wallets with the same name")
        found = wallets[0]
        if isinstance(found, dict) and found.get("name", end.name) != end.name:
            raise StageFailed(f"{lookup}: the stack's answer has a wallet of another name")
    return Wallet(
        id=answered(found, lookup, "id", kind=str),
        ledger=answered(found, lookup, "ledger", kind=str),
        balance=end.balance,
        metadata=found.get("metadata"),
    )


def credit(
    wallet: Wallet,
    move: Move,
    *,
    sources: Sequence[Mapping[str, Any]] = (),
    extra_metadata: Mapping[str, str] | None = None,
) -> Activity:
    """Credit the wallet from the sources; without any, from outside of its ledger."""
    return credit_wallet(
        wallet.id,
        amount=move.amount.shown(),
        balance=wallet.balance,
        sources=sources,
        metadata={**move.metadata, **(extra_metadata or {})},
        timestamp=move.timestamp,
    )


def debit(
    wallet: Wallet,
    move: Move,
    *,
    destination: Mapping[str, Any] | None = None,
    extra_metadata: Mapping[str, str] | None = None,
) -> Activity:
    """Debit the wallet to the destination; without one, out of its ledger."""
    return debit_wallet(
        wallet.id,
        amount=move.amount.shown(),
        balances=[wallet.balance],
        destination=destination,
        metadata={**move.metadata, **(extra_metadata or {})},
        timestamp=move.timestamp,
    )
