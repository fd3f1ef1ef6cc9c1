"""A body that is one JSON value: integers exact; the last one of equal keys counts, as in the reference."""

from typing import Any

import msgspec

from api.bodies.values import MAX_DEPTH, check_value, too_deep
from api.errors import Invalid

_decode = msgspec.json.Decoder().decode


def decode_json(body: bytes) -> Any:
    """The value of a body that is not empty.

    Raises:
        Invalid: it is no JSON value, has text behind it, is not UTF-8, holds half a surrogate pair, U+0000, a number
            out of range (an integer over 4300 digits), or is nested too deeply.
    """
    try:
        value = _decode(body)
    except RecursionError:
        raise too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"malformed JSON: {error}") from None
    # Counting brackets is far cheaper than walking through the value, and tells that nearly every body needs no walk.
    if b"\\u0000" in body or body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        check_value(value)
    return value
