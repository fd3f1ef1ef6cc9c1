"""Messages that wait until links have told whether they fire their trigger."""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import asdict

from schemas.commands import EvaluateTrigger, FireTrigger


class Waiting(Struct, frozen=True):
    """A message that waits, and its next attempt."""

    message: EvaluateTrigger
    since: datetime
    attempt: int = 1
    """The attempt that runs or comes next, from 1."""
    retry_at: datetime | None = None
    """When that attempt starts; None for the first, which starts at once."""

    @property
    def size_bytes(self) -> int:
        """Most of the memory that it takes."""
        return size_bytes(self.message)


class Evaluated(Struct, frozen=True):
    """An attempt came to an end. `occurrence_id` and `attempt` tell whether its result is still wanted."""

    occurrence_id: str
    attempt: int
    matches: bool = False
    variables: dict[str, str] = {}
    error: str | None = None
    """Why a variable could not be evaluated; with `may_pass` also why the filter could not."""
    may_pass: bool = False
    """Whether another attempt is to be made."""
    workflow_deleted: bool = False
    """Whether the workflow was deleted since the message came."""


def size_bytes(message: EvaluateTrigger | FireTrigger) -> int:
    """The size of what a message brings with it."""
    return len(memoryview(message.event)) + len(memoryview(message.stages))


def kept(message: EvaluateTrigger) -> EvaluateTrigger:
    """The message on its own: what was decoded from a record keeps all of the record in memory."""
    return EvaluateTrigger(**asdict(message) | {"event": message.event.copy(), "stages": message.stages.copy()})


def failing(message: EvaluateTrigger, error: str) -> FireTrigger:
    """The message as one that failed."""
    return FireTrigger(**asdict(message), error=error)
