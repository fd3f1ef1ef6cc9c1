"""What the services' modules share about requests."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from schemas.stack.answers import Answer
from schemas.stack.errors import NotSendable


class Request(Struct, frozen=True, kw_only=True):
    """A request to the stack.

    Attributes:
        method: `GET` or `POST`.
        path: below the stack's URL, percent-encoded, with the query.
        body: sent as JSON; None for none.
        idempotency_key: sent as `Idempotency-Key`, with everything that changes something.
    """

    method: str
    path: str
    body: Any = None
    idempotency_key: str | None = None


class Operation(Struct, frozen=True):
    """How one activity is called.

    Attributes:
        request: from the activity's input and its idempotency key to the request. Raises `NotSendable`.
        output: from the answer to the activity's output. Raises `Refused` and `Unreadable`.
    """

    request: Callable[[Mapping[str, Any], str], Request]
    output: Callable[[Answer], Any]


def segment(kind: str, value: str) -> str:
    """An id as one segment of a path, percent-encoded; the `:` of addresses stays readable.

    Ids come from users. Some servers and gateways resolve dots and decode `%2F` before they route, so encoding alone
    would not keep an id such as `../other` from reaching another endpoint.

    Args:
        kind: what the id is of, for the error.
        value: the id.

    Raises:
        NotSendable: the id could not be told from a path.
    """
    if not value:
        raise NotSendable(f"the {kind} is empty")
    if value in (".", "..") or any(char in "/\\" or ord(char) < 0x20 or char == "\x7f" for char in value):
        raise NotSendable(f"{value[:100]!r} can't be a {kind}")
    return encoded(kind, value, safe=":")


def encoded(kind: str, value: str, safe: str = "") -> str:
    """A text percent-encoded, all but `safe` and what is never encoded.

    Raises:
        NotSendable: the text is not Unicode.
    """
    try:
        return quote(value, safe=safe)
    except UnicodeEncodeError:
        raise NotSendable(f"the {kind} is not valid Unicode") from None
