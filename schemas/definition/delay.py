"""The stage `delay`: waits for a duration or until an instant."""

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from schemas.definition.durations import format_duration
from schemas.definition.fields import Fields
from schemas.definition.instants import format_instant


class Delay(msgspec.Struct, frozen=True, tag="delay"):
    """Waits for a duration or until an instant: one of the two is given.

    This is the resolved stage.

    Attributes:
        duration_nanoseconds: How long to wait, such as `1h30m` or `250ms`. Zero or less ends the stage at once.
        until: When to end (RFC 3339). An instant in the past ends the stage at once.
    """

    name: ClassVar[str] = "RunDelay"
    duration_nanoseconds: int | None = None
    until: datetime | None = None

    @classmethod
    def read(cls, fields: Fields) -> "Delay":
        """Read the stage; raises `InvalidField`."""
        if fields.one_text_of("duration", "until") == "duration":
            return cls(duration_nanoseconds=fields.duration("duration"))
        return cls(until=fields.instant("until"))

    def shown(self) -> dict[str, Any]:
        """The `input` of the stage history: `{"duration": "1m30s"}` or `{"until": "2026-04-01T00:00:00Z"}`."""
        if self.until is not None:
            return {"until": format_instant(self.until)}
        return {"duration": format_duration(self.duration_nanoseconds or 0)}
