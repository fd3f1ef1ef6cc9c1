"""The stage `wait_event`: waits for an event of a name."""

from typing import Any, ClassVar

import msgspec

from schemas.definition.fields import Fields


class WaitEvent(msgspec.Struct, frozen=True, tag="wait_event"):
    """Waits for an event of a name.

    This is the resolved stage.

    Attributes:
        event: The name of the event that ends the stage.
    """

    name: ClassVar[str] = "RunWaitEvent"
    event: str

    @classmethod
    def read(cls, fields: Fields) -> "WaitEvent":
        """Read the stage; raises `InvalidField`."""
        return cls(fields.required_text("event"))

    def shown(self) -> dict[str, Any]:
        """The `input` of the stage history: `{"event": "approved"}`."""
        return {"event": self.event}
