"""A body that is one JSON value: integers exact; the last one of equal keys counts, as in the reference."""

import codecs
import re
from typing import Any, Final

import msgspec

from api.bodies.values import COMPRESSED, GZIP, no_nul, too_deep
from api.errors import MalformedBody
from schemas.nesting import MAX_DEPTH, is_deeper

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""U+0000 in a text of JSON, where it is always escaped. After an odd number of backslashes it is something else."""

_BYTE: Final = re.compile(r"\(byte ([0-9]+)\)")
"""How the decoder says where it met something wrong."""

_TRUNCATED: Final = "Input data was truncated"
_HALF_PAIR_AT_END: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}[^\\]{0,6}\s*\Z")
"""The decoder looks for the other half behind the end of the body."""

_LIKE_YAML: Final = re.compile(rb"\s*(#|---|%YAML|\w+\s*:)")
"""How a definition in YAML begins."""

YAML_HINT: Final = "YAML needs Content-Type: application/yaml"
"""For clients that don't say what they send, such as curl. They would be told of malformed JSON alone."""

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
        reason = _reason(body, str(error))
        raise MalformedBody(f"malformed JSON: {reason}", *_place(body, f"{reason} {error}")) from None
    if is_deeper(body, MAX_DEPTH):
        raise too_deep()
    if b"\\u0000" in body and _NUL.search(body):
        raise no_nul()
    return value


def decode_json_not_yaml(body: bytes, hint: str = YAML_HINT) -> Any:
    """The value of a body that could have been YAML as well.

    Args:
        body: not empty.
        hint: what to do if it is YAML.

    Raises:
        MalformedBody: as in `decode_json`; with the hint, if it begins as YAML does.
    """
    try:
        return decode_json(body)
    except MalformedBody as error:
        if _LIKE_YAML.match(body) is None:
            raise
        raise MalformedBody(f"{error.problem}; {hint}", error.line, error.column) from None


def _reason(body: bytes, told: str) -> str:
    """What is wrong with a body, where the decoder's words would lead elsewhere."""
    if body.startswith(codecs.BOM_UTF8):  # which nobody sees
        return "it begins with a byte order mark; save the file as UTF-8 without one"
    if body.startswith(GZIP):
        return COMPRESSED
    try:
        body.decode()
    except UnicodeDecodeError as error:  # the decoder counts from the start of the text inside of quotes
        return f"byte 0x{body[error.start]:02x} is not UTF-8 (byte {error.start})"
    if told == _TRUNCATED and _HALF_PAIR_AT_END.search(body):
        return "half a surrogate pair is not a character"
    return told.removeprefix("JSON is malformed: ").partition(" - at ")[0]


def _place(body: bytes, error: str) -> tuple[int, int]:
    """Line and column of a decoder's error; zeros if it does not say."""
    found = _BYTE.search(error)
    if found is None:
        return 0, 0
    before = body[: min(int(found[1]), len(body) - 1)]  # it may point behind what it means
    line_start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[line_start:].decode(errors="replace")) + 1
