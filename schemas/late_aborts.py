"""Submitted aborts that came when their instance had ended, and how their repetitions are known."""

from typing import Final

from schemas import rejections
from schemas.commands import SubmitAbort
from schemas.events import SubmissionRejected
from schemas.idempotency import digest_of, id_for_key

ABORT_DIGEST: Final = digest_of(None)
"""Digest of each request that aborts: it has no body."""


def late_abort(instance_id: str, event: SubmissionRejected) -> tuple[str, str] | None:
    """The key and the digest of the abort that a rejection is about; None if it is about something else.

    Args:
        instance_id: of the instance that had ended. There may be none of this id.
        event: the rejection.
    """
    is_late = event.code == rejections.ENDED and event.type == SubmitAbort.__name__
    if not is_late or event.idempotency_key is None:
        return None
    return str(id_for_key("abort", instance_id, event.idempotency_key)), ABORT_DIGEST
