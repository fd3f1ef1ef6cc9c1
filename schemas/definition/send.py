"""The stage `send`: moves money from a source to a destination (the ends are in `ends`)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from schemas.definition.ends import AccountEnd, PaymentDestination, PaymentSource, WalletEnd
from schemas.definition.fields import Fields
from schemas.definition.instants import format_instant

Source = AccountEnd | WalletEnd | PaymentSource
Destination = AccountEnd | WalletEnd | PaymentDestination

SOURCES: Final[Mapping[str, type[Source]]] = {"account": AccountEnd, "wallet": WalletEnd, "payment": PaymentSource}
DESTINATIONS: Final[Mapping[str, type[Destination]]] = {
    "account": AccountEnd,
    "wallet": WalletEnd,
    "payment": PaymentDestination,
}
"""By the key that stands for the kind."""


class Amount(msgspec.Struct, frozen=True):
    """So much of an asset.

    Attributes:
        amount: How much, in the asset's smallest unit: an integer of any size, zero or more.
        asset: What it is an amount of, such as `EUR/2`.
    """

    amount: int
    asset: str

    @classmethod
    def read(cls, fields: Fields) -> "Amount":
        """Read an amount; raises `InvalidField`. Once the object is there, both fields are required."""
        return cls(fields.amount("amount"), fields.required_text("asset"))

    def shown(self) -> dict[str, Any]:
        """`{"amount": 1250, "asset": "EUR/2"}`, as in a stage's input and in calls of the stack."""
        return {"amount": self.amount, "asset": self.asset}


class Send(msgspec.Struct, frozen=True, tag="send"):
    """Moves money from a source to a destination.

    This is the resolved stage.

    Attributes:
        source: Where the money comes from: an account, a wallet, or a payment that came in.
        destination: Where it goes: an account, a wallet, or a payment to make. From a payment to a payment is not
            supported.
        amount: How much. Only a payment as source needs none: then it is all that was paid.
        metadata: What every transaction, debit and credit of the stage gets as metadata.
        timestamp: What every transaction, debit and credit of the stage gets as its date (RFC 3339).
    """

    name: ClassVar[str] = "RunSend"
    source: Source
    destination: Destination
    amount: Amount | None = None
    metadata: dict[str, str] | None = None
    timestamp: datetime | None = None

    @classmethod
    def read(cls, fields: Fields) -> "Send":
        """Read the stage; raises `InvalidField`."""
        source = fields.one_child_of("source", SOURCES)
        destination = fields.one_child_of("destination", DESTINATIONS)
        if isinstance(source, PaymentSource) and isinstance(destination, PaymentDestination):
            fields.refuse("send from payment to payment is not supported", knowing=("source", "destination"))
        amount = fields.child("amount", Amount)
        if amount is None and not isinstance(source, PaymentSource):
            fields.refuse("amount must be specified", "amount", knowing=("source", "amount"))
        return cls(
            source=source,
            destination=destination,
            amount=amount,
            metadata=fields.texts("metadata"),
            timestamp=fields.instant("timestamp"),
        )

    def shown(self) -> dict[str, Any]:
        """The `input` of the stage history: `source` and `destination` with defaults, the rest when given."""
        shown: dict[str, Any] = {
            "source": {self.source.kind: self.source.shown()},
            "destination": {self.destination.kind: self.destination.shown()},
        }
        if self.amount is not None:
            shown["amount"] = self.amount.shown()
        if self.metadata is not None:
            shown["metadata"] = self.metadata
        if self.timestamp is not None:
            shown["timestamp"] = format_instant(self.timestamp)
        return shown
