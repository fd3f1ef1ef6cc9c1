"""The stage `update`: sets metadata of an account."""

from typing import Any, ClassVar

import msgspec

from schemas.definition.fields import Fields


class Update(msgspec.Struct, frozen=True, tag="update"):
    """A resolved `update` stage.

    Attributes:
        account: The address of the account.
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
        account = fields.required_child("account")
        return cls(account.required_text("id"), account.text("ledger", "main"), account.required_texts("metadata"))

    def shown(self) -> dict[str, Any]:
        """The `input` of the stage history: `{"account": {"id", "ledger", "metadata"}}`."""
        return {"account": {"id": self.account, "ledger": self.ledger, "metadata": self.metadata}}
