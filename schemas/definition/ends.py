"""The two ends of a `send`: an account, a wallet or a payment.

Contract: `workflows`, "Stages and what `input` of the stage history shows".
"""

from typing import Any, ClassVar, Final

import msgspec

from schemas.definition.fields import Fields

MAIN_BALANCE: Final = "main"
"""The balance of a wallet that is meant where none is named."""


class AccountEnd(msgspec.Struct, frozen=True, tag_field="end", tag="account"):
    """An account of a ledger, as source or destination.

    Attributes:
        id: Its address, such as `users:7`.
        ledger: The ledger that it is on.
        through_account: The account of the same ledger that money goes through on its way from or to elsewhere.
        allow_overdraft: Whether the account that pays may go below zero: as source the account itself, as destination
            the one that money goes through.
    """

    kind: ClassVar[str] = "account"
    id: str
    ledger: str = "default"
    through_account: str = "world"
    allow_overdraft: bool = False

    @classmethod
    def read(cls, fields: Fields) -> "AccountEnd":
        """Read an account; raises `InvalidField`."""
        return cls(
            id=fields.required_text("id"),
            ledger=fields.text("ledger", "default"),
            through_account=fields.text("throughAccount", "world"),
            allow_overdraft=fields.boolean("allowOverdraft"),
        )

    def shown(self) -> dict[str, Any]:
        """`{"id", "ledger", "throughAccount", "allowOverdraft"}`."""
        return {
            "id": self.id,
            "ledger": self.ledger,
            "throughAccount": self.through_account,
            "allowOverdraft": self.allow_overdraft,
        }


class WalletEnd(msgspec.Struct, frozen=True, tag_field="end", tag="wallet"):
    """A wallet, as source or destination, known by id or by name.

    Attributes:
        id: Its id, if it is not known by name.
        name: Its name, if it is not known by id.
        balance: The balance to debit or credit.
    """

    kind: ClassVar[str] = "wallet"
    id: str = ""
    name: str = ""
    balance: str = MAIN_BALANCE

    @classmethod
    def read(cls, fields: Fields) -> "WalletEnd":
        """Read a wallet; raises `InvalidField`."""
        balance = fields.text("balance", MAIN_BALANCE)
        if fields.one_text_of("id", "name") == "id":
            return cls(id=fields.text("id"), balance=balance)
        return cls(name=fields.text("name"), balance=balance)

    def shown(self) -> dict[str, Any]:
        """`{"id", "name", "balance"}`."""
        return {"id": self.id, "name": self.name, "balance": self.balance}


class PaymentSource(msgspec.Struct, frozen=True, tag_field="end", tag="payment_source"):
    """A payment that came in, as source.

    Attributes:
        id: The id that the payments service gave it.
        through_account: The account that it is ingested from.
        allow_overdraft: Whether that account may go below zero.
        ledger: The ledger to ingest it on; an internal one if not given.
        holding_account: The account to ingest it into, which no other payment may share: the ledger would take that one
            for ingested before. One named after the payment if not given.
    """

    kind: ClassVar[str] = "payment"
    id: str
    through_account: str = "world"
    allow_overdraft: bool = False
    ledger: str = ""
    holding_account: str = ""

    @classmethod
    def read(cls, fields: Fields) -> "PaymentSource":
        """Read a payment; raises `InvalidField`."""
        return cls(
            id=fields.required_text("id"),
            through_account=fields.text("throughAccount", "world"),
            allow_overdraft=fields.boolean("allowOverdraft"),
            ledger=fields.text("ledger"),
            holding_account=fields.text("holdingAccount"),
        )

    def shown(self) -> dict[str, Any]:
        """`{"id", "throughAccount", "allowOverdraft"}`, plus `ledger` and `holdingAccount` when given."""
        shown = {"id": self.id, "throughAccount": self.through_account, "allowOverdraft": self.allow_overdraft}
        return shown | _given(ledger=self.ledger, holdingAccount=self.holding_account)


class PaymentDestination(msgspec.Struct, frozen=True, tag_field="end", tag="payment_destination"):
    """A payment to make through a payment service provider, as destination.

    Attributes:
        psp: The provider's name, such as `stripe`.
        type: `TRANSFER` or `PAYOUT`.
        metadata: The metadata key of the source (account or wallet) that names the account to pay to.
        waiting_validation: Whether somebody has to approve the transfer before it is made.
        source_account: The provider's account to pay from; the payments service chooses if not given.
        connector_id: The connector to use; the payments service chooses if not given.
    """

    kind: ClassVar[str] = "payment"
    psp: str
    type: str = "TRANSFER"
    metadata: str = "formanceAccountID"
    waiting_validation: bool = False
    source_account: str = ""
    connector_id: str = ""

    @classmethod
    def read(cls, fields: Fields) -> "PaymentDestination":
        """Read a payment; raises `InvalidField`."""
        return cls(
            psp=fields.required_text("psp"),
            type=fields.choice("type", ("TRANSFER", "PAYOUT")),
            metadata=fields.text("metadata", "formanceAccountID"),
            waiting_validation=fields.boolean("waitingValidation"),
            source_account=fields.text("sourceAccount"),
            connector_id=fields.text("connectorId"),
        )

    def shown(self) -> dict[str, Any]:
        """`{"psp", "type", "metadata", "waitingValidation"}`, plus `sourceAccount` and `connectorId` when given."""
        shown = {
            "psp": self.psp,
            "type": self.type,
            "metadata": self.metadata,
            "waitingValidation": self.waiting_validation,
        }
        return shown | _given(sourceAccount=self.source_account, connectorId=self.connector_id)


def _given(**texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}
