"""Why a command was rejected: codes that travel in `CommandRejected` and that the API turns into answers."""

from typing import Final

ENDED: Final = "ENDED"
"""The instance has ended: it takes no event, and aborting it changes nothing."""
CONFLICT: Final = "CONFLICT"
"""The Idempotency-Key was used with another body."""
UNDECODABLE: Final = "UNDECODABLE"
"""The command could not be decoded; it went to `commands.dead`."""
FAULT: Final = "FAULT"
"""Deciding the command failed by a fault of ours; the log of the engine says more."""
RETRY: Final = "RETRY"
"""The engine can't tell whether this was done before, since the read model is far behind; the client should retry."""
TOO_LARGE: Final = "TOO_LARGE"
"""The events of the decision would exceed the size of a record batch."""
SET_ASIDE: Final = "SET_ASIDE"
"""Events of the aggregate can't be read or do not follow from each other, so the engine does not work on it."""
