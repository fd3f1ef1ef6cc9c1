"""Activities as they ended, in the command that retries their instance and in the event that follows."""

from typing import Any

from msgspec import Struct


class EndedActivity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An activity of the stage that failed or was aborted, as it ended."""

    name: str
    input: dict[str, Any]
    output: Any = None
    error: str | None = None
    code: str | None = None
    """The stack's errorCode of a failure for good."""
    key_number: int = 0
    """As in `ActivityStarted`."""
    key_used: bool = False
    """Whether an attempt with this key, but the last one, may have been carried out."""


class KeptActivity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An activity that ended in an earlier pass and is not done again."""

    name: str
    input: dict[str, Any]
    output: Any = None
    error: str | None = None
    code: str | None = None
    key_number: int = 0
