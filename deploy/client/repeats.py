"""Requests that a user may send once more, without having their effect twice: by the key of the first time."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.client.errors import Unavailable
from deploy.client.parsing import not_empty


@contextmanager
def repeatable(given: str | None, hint: str) -> Iterator[str]:
    """The key of the request that the block sends. Whoever gets no answer is told with which one to try again.

    Args:
        given: the user's `--idempotency-key`, if there is one.
        hint: what may have happened, and what the key is good for.

    Raises:
        UsageError: the user's key is empty. With another one, the request would be a second one.
        Unavailable: that of the block, with the hint.
    """
    key = str(uuid.uuid4()) if given is None else not_empty("--idempotency-key", given)
    try:
        yield key
    except Unavailable as error:
        raise Unavailable(f"{error.message}; {hint}, add --idempotency-key {key}") from None
