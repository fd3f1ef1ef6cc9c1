"""What the services' modules share about answers: which are refusals, and which successes can be read.

Everything that is kept of an answer goes into the event log and from there to Postgres, so it must be encodable: texts
are valid Unicode, errors are cleaned of control characters, nesting is bounded. Integers are exact at any size.
"""

import json
import re
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from schemas.error_texts import MAX_ERROR_BYTES, cut_error
from schemas.nesting import MAX_DEPTH, is_deeper
from schemas.stack.errors import Refused, Unreadable

MAX_CODE_CHARS: Final = 100
"""Longest errorCode that is kept. A longer one is cut."""

_ESCAPE_SEQUENCES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[ -/]*[0-~]"
)
_NOT_KEPT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_T = TypeVar("_T")


class Answer(Struct, frozen=True):
    """An answer of the stack: HTTP status and body, which may be empty."""

    status: int
    body: bytes


def check(answer: Answer) -> None:
    """Check that an answer is a success.

    Raises:
        Refused: it is not, with the stack's `errorMessage` if it sent one.
    """
    if 200 <= answer.status < 300:
        return
    message, code = _error(answer.body)
    if not message:
        message = f"HTTP {answer.status}"
        if 300 <= answer.status < 400:
            message += " (redirects are not followed)"
    raise Refused(message, answer.status, code)


def read(answer: Answer, shape: type[Struct]) -> Any:
    """The JSON of a success, all of it.

    Args:
        answer: the answer.
        shape: what of it must be there, as a Struct; other fields are free.

    Raises:
        Refused: the answer is not a success.
        Unreadable: the body is not JSON, or of another shape.
    """
    check(answer)
    value = _decode(answer, Any)
    if is_deeper(answer.body, MAX_DEPTH):
        raise Unreadable(f"the answer is nested deeper than {MAX_DEPTH} levels", answer.status)
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _wrong(error, answer) from None
    return value


def read_as(answer: Answer, shape: type[_T]) -> _T:
    """What `shape` takes of the JSON of a success.

    Raises:
        Refused: the answer is not a success.
        Unreadable: the body is not JSON, or of another shape.
    """
    check(answer)
    return _decode(answer, shape)


def ignore(answer: Answer) -> None:
    """Pass over the body of a success. A body still has to be JSON: a login page is not a success.

    Raises:
        Refused: the answer is not a success.
        Unreadable: the body is not a JSON object.
    """
    check(answer)
    if answer.body:
        _decode(answer, dict[str, msgspec.Raw])


def printable(text: str, max_bytes: int = MAX_ERROR_BYTES) -> str:
    """A text that a log, a terminal and Postgres take: no escape sequences or control characters, and not too long."""
    kept = _NOT_KEPT.sub("", _ESCAPE_SEQUENCES.sub("", text)).strip()
    return cut_error(kept, max_bytes)


def _decode(answer: Answer, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (ValueError, RecursionError) as error:
        raise _wrong(error, answer) from None


def _wrong(error: Exception, answer: Answer) -> Unreadable:
    reason = "it is empty" if not answer.body else printable(str(error))
    return Unreadable(f"HTTP {answer.status}, but the answer can't be read: {reason}", answer.status)


def _error(body: bytes) -> tuple[str, str | None]:
    """The stack's `errorMessage` and `errorCode`; of anything else nothing is kept."""
    try:
        # The library takes what the strict decoder refuses, such as half a surrogate pair in a message.
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "", None
    if not isinstance(value, dict):
        return "", None
    message, code = value.get("errorMessage"), value.get("errorCode")
    return (
        printable(message) if isinstance(message, str) else "",
        printable(code)[:MAX_CODE_CHARS] or None if isinstance(code, str) else None,
    )
