"""Payments as the destination of a `send`: money leaves through a payment service provider."""

from typing import Any

from engine.core.errors import StageFailed
from engine.core.send.steps import Move
from schemas.activities import Activity, create_transfer_initiation
from schemas.definition import PaymentDestination


def destination_account(payment: PaymentDestination, metadata: Any) -> str:
    """The account to pay to, which the source's metadata names.

    Raises:
        StageFailed: The metadata key is missing or empty. This must show before any money moves.
    """
    key = payment.metadata
    if not isinstance(metadata, dict) or key not in metadata:
        raise StageFailed(f"expected metadata {key!r} of the source to name the account to pay to")
    account = metadata[key]
    if not isinstance(account, str) or not account:
        raise StageFailed(f"metadata {key!r} of the source must name the account to pay to, but is empty or not a text")
    return account


def transfer_initiation(payment: PaymentDestination, account: str, move: Move) -> Activity:
    """Pay to the account."""
    return create_transfer_initiation(
        amount=move.amount.amount,
        asset=move.amount.asset,
        provider=payment.psp,
        type=payment.type,
        source=payment.source_account,
        destination=account,
        connector_id=payment.connector_id,
        waiting_validation=payment.waiting_validation,
        metadata=move.metadata,
    )
