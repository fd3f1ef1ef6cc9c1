"""When an activity is tried again (contract: workflows, Retries)."""

from datetime import timedelta
from typing import Final

from msgspec import Struct

from schemas.activities import GET_WALLET

MAX_BACKOFF_SECONDS: Final = 100
"""Without a ceiling, a stack that is down overnight would be asked again days after it is back."""

FINAL_CODES: Final = frozenset({"VALIDATION", "CONFLICT", "NO_SCRIPT", "COMPILATION_FAILED"})
"""errorCodes of the stack after which another attempt could only answer the same."""


class Failure(Struct, frozen=True):
    """Why an attempt failed. `status` is None when there was no answer; `code` is the stack's errorCode, if any."""

    error: str
    status: int | None = None
    code: str | None = None


def is_final(activity: str, failure: Failure) -> bool:
    """Whether the activity has failed for good."""
    return failure.code in FINAL_CODES or (activity == GET_WALLET and failure.status == 404)


def backoff(attempt: int) -> timedelta:
    """The pause after a failed attempt: 1 s after the first, then 2, 4, … at most `MAX_BACKOFF_SECONDS`."""
    return timedelta(seconds=min(2 ** min(attempt - 1, 10), MAX_BACKOFF_SECONDS))
