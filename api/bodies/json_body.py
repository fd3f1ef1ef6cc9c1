"""A body that is one JSON value: integers exact; the last one of equal keys counts, as in the reference."""

import codecs
import re
from typing import Any, Final

import msgspec

from api.bodies.values import MAX_DEPTH, no_nul, too_deep
from api.errors import MalformedBody
from schemas.nesting import is_deeper

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""U+0000 in a text of JSON, where it is always escaped. After an odd number of backslashes it is something else."""

_BYTE: Final = re.compile(r"\(byte ([0-9]+)\)")
"""How the decoder says where it met something wrong."""

_decode = msgspec.json.Decoder().decode


def decode_json(body: bytes) -> Any:
    """The value of a body that is not empty.

    Raises:
        MalformedBody: the body is not one JSON value in UTF-8, holds half a surrogate pair, U+0000 or a number out of
            range (an integer over 4300 digits), or is nested too deeply.
    """
    try:
        value = _decode(body)
    except RecursionError:
        raise too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        line, column = _place(body, str(error))
        raise MalformedBody(f"malformed JSON: {_reason(body, error)}", line, column) from None
    if is_deeper(body, MAX_DEPTH):
        raise too_deep()
    if b"\\u0000" in body and _NUL.search(body):
        raise no_nul()
    return value


def _reason(body: bytes, error: Exception) -> str:
    if body.startswith(codecs.BOM_UTF8):  # which nobody sees
        return "it begins with a byte order mark; save the file as UTF-8 without one"
    return str(error).removeprefix("JSON is malformed: ")


def _place(body: bytes, error: str) -> tuple[int, int]:
    """Line and column of a decoder's error; zeros if it does not say."""
    found = _BYTE.search(error)
    if found is None:
        return 0, 0
    before = body[: min(int(found[1]), len(body) - 1)]  # it may point behind what it means
    line_start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[line_start:].decode(errors="replace")) + 1
