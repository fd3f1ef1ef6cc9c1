"""How deep lists and objects are in each other, and how many there are."""

import re
from typing import Final

MAX_DEPTH: Final = 100
"""Most levels in what comes from outside: bodies, messages, answers of the stack. How deep a value may be decoded
depends on how deep its decoder is in calls of its own, and decoders stop at about a thousand levels: what one process
just manages, inside of a command or an event, would stop the next one. Records may have some more
(`schemas.records`)."""

_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_SAME_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")


def is_deeper(text: bytes, levels: int) -> bool:
    """Whether the value of a JSON text has more than so many levels of lists and objects in each other.

    It is not decoded: a decoder that calls itself for each level would fail where the value is too deep.

    Args:
        text: valid JSON; of anything else the answer says nothing.
        levels: how many are fine.
    """
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    brackets = _TEXT.sub(b"", text).translate(_SAME_BRACKETS, _ALL_BUT_BRACKETS)
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # the innermost level
    return bool(brackets)


def is_wider(text: bytes, most: int) -> bool:
    """Whether a JSON text has more lists and objects than so many.

    Args:
        text: valid JSON; of anything else the answer says nothing.
        most: how many are fine.
    """
    if text.count(b"[") + text.count(b"{") <= most:
        return False
    return len(_TEXT.sub(b"", text).translate(_SAME_BRACKETS, _ALL_BUT_BRACKETS)) > 2 * most
