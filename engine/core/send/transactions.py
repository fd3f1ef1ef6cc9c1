"""Transactions of a `send`: one posting, or a script where an overdraft is allowed.

Contract: `workflows`, "`send`, by pair" and the table of `allowOverdraft`.
"""

from collections.abc import Mapping
from typing import Final

from engine.core.errors import StageFailed
from engine.core.send.steps import Move
from schemas.activities import Activity, create_transaction
from schemas.definition import AccountEnd, Amount
from schemas.definition.ledger_texts import ADDRESS, ASSET

# The one account that may always go below zero.
WORLD: Final = "world"


def move_to(ledger: str) -> dict[str, str]:
    """The metadata of the half that leaves for another ledger."""
    return {"orchestration/move-to-ledger": ledger}


def move_from(ledger: str) -> dict[str, str]:
    """The metadata of the half that comes from another ledger."""
    return {"orchestration/move-from-ledger": ledger}


def transaction(
    ledger: str,
    source: str,
    destination: str,
    move: Move,
    *,
    overdraft: bool = False,
    extra_metadata: Mapping[str, str] | None = None,
    reference: str = "",
) -> Activity:
    """Move money between two accounts of a ledger; with `overdraft`, by a script that lets the source go below zero.

    Raises:
        StageFailed: An account or asset that can't be written into a script.
    """
    amount = move.amount
    posting = {"source": source, "destination": destination, **amount.shown()}
    return create_transaction(
        ledger,
        postings=() if overdraft else [posting],
        script=_overdraft_script(source, destination, amount) if overdraft else "",
        metadata={**move.metadata, **(extra_metadata or {})},
        reference=reference,
        timestamp=move.timestamp,
    )


def leave(source: AccountEnd, move: Move, extra_metadata: Mapping[str, str] | None = None) -> Activity:
    """The half on the source's ledger: from the account to the account that it goes through."""
    return transaction(
        source.ledger,
        source.id,
        source.through_account,
        move,
        overdraft=source.allow_overdraft,
        extra_metadata=extra_metadata,
    )


def arrive(destination: AccountEnd, move: Move, source_ledger: str) -> Activity:
    """The half on the destination's ledger: from the account that it goes through to the account."""
    return transaction(
        destination.ledger,
        destination.through_account,
        destination.id,
        move,
        overdraft=needs_overdraft(destination.through_account, allowed=destination.allow_overdraft),
        extra_metadata=move_from(source_ledger),
    )


def needs_overdraft(through_account: str, *, allowed: bool) -> bool:
    """Whether money that comes from a through account needs a script: `world` may go below zero by itself."""
    return allowed and through_account != WORLD


def _overdraft_script(source: str, destination: str, amount: Amount) -> str:
    # In a posting the ledger checks texts; in a script, one that breaks out of its place would become part of the
    # program and could move other money.
    for what, text, grammar in (
        ("account", source, ADDRESS),
        ("account", destination, ADDRESS),
        ("asset", amount.asset, ASSET),
    ):
        if grammar.fullmatch(text) is None:
            raise StageFailed(f"invalid {what}: {text[:100]!r}")
    return (
        f"send [{amount.asset} {amount.amount}] (\n"
        f"  source = @{source} allowing unbounded overdraft\n"
        f"  destination = @{destination}\n"
        ")"
    )
