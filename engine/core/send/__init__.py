"""What `send` and `update` call, one activity after the other. Pure: activities are data.

| module | holds |
|---|---|
| `from_account`, `from_wallet`, `from_payment` | the plan of each pair of ends, by source |
| `transactions`, `wallets`, `payments` | the activities of one end: ledger account, wallet, payment to make |
| `steps` | what a plan is made of, and what recorded outcomes must offer |

A plan is a generator that is sent the outcome of each activity that it yields. Nothing of it is kept between two
decisions: it is played again from the outcomes recorded so far, at most five of them.
"""

from collections.abc import Sequence

from engine.core.errors import StageFailed
from engine.core.send.from_account import from_account
from engine.core.send.from_payment import from_payment
from engine.core.send.from_wallet import from_wallet
from engine.core.send.steps import Move, Outcome, Plan, call
from schemas.activities import Activity, add_account_metadata
from schemas.definition import AccountEnd, PaymentSource, Send, Update, WalletEnd, format_instant

__all__ = ["Outcome", "next_activity"]


def next_activity(stage: Send | Update, outcomes: Sequence[Outcome]) -> Activity | None:
    """What a stage has to call next.

    Args:
        stage: The resolved stage.
        outcomes: How its activities ended so far, in order; none of them is still running.

    Returns:
        The next activity; None when the stage has succeeded.

    Raises:
        StageFailed: The stage ends with an error: an activity failed for good, or what it answered can't be used.
        ValueError: There are more outcomes than the stage has activities.
    """
    plan = _plan(stage)
    try:
        activity = next(plan)
        for outcome in outcomes[:-1]:
            activity = plan.send(outcome)
    except StopIteration:
        raise ValueError("more outcomes than activities") from None
    if not outcomes:
        return activity
    try:
        return plan.send(outcomes[-1])
    except StopIteration:
        return None


def _plan(stage: Send | Update) -> Plan[None]:
    if isinstance(stage, Update):
        return call(add_account_metadata(stage.ledger, stage.account, stage.metadata))
    metadata = stage.metadata or {}
    timestamp = "" if stage.timestamp is None else format_instant(stage.timestamp)
    if isinstance(stage.source, PaymentSource):
        return from_payment(stage.source, stage.destination, stage.amount, metadata, timestamp)
    if stage.amount is None:
        raise StageFailed("amount must be specified")
    move = Move(stage.amount, metadata, timestamp)
    match stage.source:
        case AccountEnd() as account:
            return from_account(account, stage.destination, move)
        case WalletEnd() as wallet:
            return from_wallet(wallet, stage.destination, move)
