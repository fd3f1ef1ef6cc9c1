"""Payments and transfer initiations (contract: `stack-api`, part Payments).

No bank is behind them: payments are put in by the sandbox's own API, and transfer initiations are just recorded.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from deploy.sandbox.errors import NotFoundError, TransferReferenceConflictError, ValidationError
from deploy.sandbox.values import Amount, Asset

Required = Annotated[str, msgspec.Meta(min_length=1)]


class Payment(msgspec.Struct, frozen=True, rename="camel"):
    """A payment as the API shows it, and the body of `POST /sandbox/payments`, where most may be left out."""

    asset: Asset
    initial_amount: Amount
    id: str = ""
    reference: str = ""
    source_account_id: str = msgspec.field(default="", name="sourceAccountID")
    destination_account_id: str = msgspec.field(default="", name="destinationAccountID")
    connector_id: str = msgspec.field(default="", name="connectorID")
    provider: str = "SANDBOX"
    type: str = "PAY-IN"
    status: str = "SUCCEEDED"
    scheme: str = "other"
    amount: Amount | None = None
    created_at: datetime | None = None
    metadata: dict[str, str] = {}
    adjustments: list[Any] = []


class TransferRequest(msgspec.Struct, frozen=True, rename="camel"):
    """The body of `POST /transfer-initiations`."""

    reference: Required
    amount: Amount
    asset: Asset
    destination_account_id: Required = msgspec.field(name="destinationAccountID")
    type: Literal["TRANSFER", "PAYOUT"]
    source_account_id: str | None = msgspec.field(default=None, name="sourceAccountID")
    connector_id: str | None = msgspec.field(default=None, name="connectorID")
    provider: str | None = None
    description: str | None = None
    validated: bool = False
    metadata: dict[str, str] | None = None


class TransferInitiation(msgspec.Struct, frozen=True, rename="camel"):
    """A transfer initiation as the API shows it."""

    id: str
    reference: str
    created_at: datetime
    description: str
    source_account_id: str = msgspec.field(name="sourceAccountID")
    destination_account_id: str = msgspec.field(name="destinationAccountID")
    connector_id: str = msgspec.field(name="connectorID")
    provider: str
    type: str
    amount: int
    initial_amount: int
    asset: str
    status: str
    error: str
    metadata: dict[str, str]


class Payments:
    """All payments and transfer initiations."""

    def __init__(self, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._now = now
        self._new_id = new_id
        self._payments: dict[str, Payment] = {}
        self._transfers: dict[str, TransferInitiation] = {}

    def get(self, payment_id: str) -> Payment:
        """The payment; raises `NotFoundError`."""
        payment = self._payments.get(payment_id)
        if payment is None:
            raise NotFoundError("payment not found")
        return payment

    def add(self, seed: Payment) -> Payment:
        """Puts a payment in, with an id and a date if it has none; raises `ValidationError` if the id is taken."""
        payment = msgspec.structs.replace(
            seed,
            id=seed.id or self._new_id(),
            amount=seed.initial_amount if seed.amount is None else seed.amount,
            created_at=seed.created_at or self._now(),
        )
        if payment.id in self._payments:
            raise ValidationError(f"payment '{payment.id}' exists already")
        self._payments[payment.id] = payment
        return payment

    @property
    def transfers(self) -> Sequence[TransferInitiation]:
        """All transfer initiations, oldest first."""
        return list(self._transfers.values())

    def initiate_transfer(self, request: TransferRequest) -> TransferInitiation:
        """Records a transfer; its `reference` makes it unique. Raises `TransferReferenceConflictError`."""
        if request.reference in self._transfers:
            raise TransferReferenceConflictError(f"transfer initiation '{request.reference}' exists already")
        transfer = TransferInitiation(
            id=self._new_id(),
            reference=request.reference,
            created_at=self._now(),
            description=request.description or "",
            source_account_id=request.source_account_id or "",
            destination_account_id=request.destination_account_id,
            connector_id=request.connector_id or "",
            provider=request.provider or "",
            type=request.type,
            amount=request.amount,
            initial_amount=request.amount,
            asset=request.asset,
            status="VALIDATED" if request.validated else "WAITING_FOR_VALIDATION",
            error="",
            metadata=request.metadata or {},
        )
        self._transfers[request.reference] = transfer
        return transfer
