"""Requests that come again: those with an Idempotency-Key are known by it, or by the id that was made of it."""

from engine.core.errors import Rejected
from engine.core.instance import Instance
from schemas import rejections
from schemas.commands import AbortInstance, ResumeActivity, RetryInstance, SendEvent


def check_same_request(known: str | None, given: str | None) -> None:
    """Check that a second command for an id repeats the first.

    Raises:
        Rejected: the Idempotency-Key came with another body.
    """
    if known != given:
        raise Rejected(rejections.CONFLICT, "this Idempotency-Key was used with another body")


def came_before(
    state: Instance | RetryInstance, command: SendEvent | ResumeActivity | AbortInstance | RetryInstance
) -> bool:
    """Whether the same request, known by its Idempotency-Key, was carried out before.

    Args:
        state: the instance; once it has ended, what the command that retries it says of it.
        command: the request.

    Raises:
        Rejected: the key came with another body, or nobody can tell: when the API looked for it, the read model did not
            have all those that are forgotten here.
    """
    if command.request_key is None:
        return False
    known = dict(state.requests).get(command.request_key)
    if known is not None:
        check_same_request(known, command.request_digest)
        return True
    if command.seen_requests is not None and command.seen_requests < state.earlier_requests:
        raise Rejected(rejections.RETRY, "the read model is too far behind to tell whether this was done before")
    return False
