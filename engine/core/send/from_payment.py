"""`send` from a payment: it is ingested into a holding account, and money goes on from there as from any account.

Contract: `workflows`, "`send`, by pair".
"""

from collections.abc import Mapping
from typing import Final

from engine.core.errors import StageFailed
from engine.core.send.from_account import from_account
from engine.core.send.steps import Move, Plan, answered, call
from engine.core.send.transactions import needs_overdraft, transaction
from schemas.activities import GET_PAYMENT, get_payment
from schemas.definition import AccountEnd, Amount, Destination, PaymentDestination, PaymentSource

INTERNAL_LEDGER: Final = "orchestration-000-internal"


def from_payment(
    source: PaymentSource,
    destination: Destination,
    amount: Amount | None,
    metadata: Mapping[str, str],
    timestamp: str,
) -> Plan[None]:
    """Move what was paid, or `amount` of it.

    Raises:
        StageFailed: The destination is a payment too (nothing is called then), or the answer can't be used.
    """
    if isinstance(destination, PaymentDestination):
        raise StageFailed("send from payment to payment is not supported")
    answer = yield from call(get_payment(source.id))
    paid = Amount(
        answered(answer, GET_PAYMENT, "data", "initialAmount", kind=int),
        answered(answer, GET_PAYMENT, "data", "asset", kind=str),
    )
    holding = AccountEnd(
        id=source.holding_account or f"payment:{source.id.replace('-', '_')}",
        ledger=source.ledger or INTERNAL_LEDGER,
    )
    yield from _ingest(source, holding, Move(paid, metadata, timestamp))
    yield from from_account(holding, destination, Move(amount or paid, metadata, timestamp))


def _ingest(source: PaymentSource, holding: AccountEnd, move: Move) -> Plan[None]:
    outcome = yield transaction(
        holding.ledger,
        source.through_account,
        holding.id,
        move,
        overdraft=needs_overdraft(source.through_account, allowed=source.allow_overdraft),
        # The ledger takes a reference once, so a payment is ingested once, whoever sends it and how often.
        reference=holding.id,
    )
    if outcome.error is not None and outcome.code != "CONFLICT":
        raise StageFailed(outcome.error)
