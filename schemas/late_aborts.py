"""Aborts with a key that came when their instance had ended, and how their repetitions are known."""

from typing import Final

from schemas import rejections
from schemas.commands import SubmitAbort
from schemas.events import CommandRejected, SubmissionRejected
from schemas.idempotency import digest_of, id_for_key

ABORT_DIGEST: Final = digest_of(None)
"""Digest of each request that aborts: it has no body."""


def submitted_abort(instance_id: str, idempotency_key: str) -> tuple[str, str]:
    """The key and the digest of a submitted abort: those of a request to the API with the same key."""
    return str(id_for_key("abort", instance_id, idempotency_key)), ABORT_DIGEST


def late_abort(instance_id: str, event: CommandRejected | SubmissionRejected) -> tuple[str, str] | None:
    """The key and the digest of the abort that a rejection is about; None if it is about something else.

    Args:
        instance_id: of the instance that had ended. There may be none of this id.
        event: the rejection.
    """
    if isinstance(event, CommandRejected):  # only late aborts have both
        key, digest = event.request_key, event.request_digest
        return None if key is None or digest is None else (key, digest)
    is_late = event.code == rejections.ENDED and event.type == SubmitAbort.__name__
    if not is_late or event.idempotency_key is None:
        return None
    return submitted_abort(instance_id, event.idempotency_key)
