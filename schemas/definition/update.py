"""The stage `update`: sets metadata of an account."""

from typing import Any, ClassVar

import msgspec

from schemas.definition.fields import Fields


class AccountMetadata(msgspec.Struct, frozen=True):
    """An account of a ledger, and the metadata to set.

    Attributes:
        id: The address of the account.
        ledger: The ledger that it is on.
        metadata: What to set; other keys of the account stay.
    """

    id: str
    ledger: str
    metadata: dict[str, str]

    @classmethod
    def read(cls, fields: Fields) -> "AccountMetadata":
        """Read an account; raises `InvalidField`."""
        return cls(fields.required_text("id"), fields.text("ledger", "main"), fields.required_texts("metadata"))


class Update(msgspec.Struct, frozen=True, tag="update"):
    """Sets metadata of an account.

    This is the resolved stage.

    Attributes:
        account: Which account.
        ledger: The ledger that it is on.
        metadata: What to set; other keys of the account stay.
    """

    name: ClassVar[str] = "RunUpdate"
    account: str
    ledger: str
    metadata: dict[str, str]

    @classmethod
    def read(cls, fields: Fields) -> "Update":
        """Read the stage; raises `InvalidField`."""
        account = fields.required_child("account", AccountMetadata)
        return cls(account.id, account.ledger, account.metadata)

    def shown(self) -> dict[str, Any]:
        """The `input` of the stage history: `{"account": {"id", "ledger", "metadata"}}`."""
        return {"account": {"id": self.account, "ledger": self.ledger, "metadata": self.metadata}}
