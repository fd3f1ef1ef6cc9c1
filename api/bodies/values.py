"""What no value of a body may hold, because a process behind us could not keep it."""

from typing import Any

from api.errors import Invalid

MAX_DEPTH = 100
"""Most levels of lists and objects in each other. Engine and projections wrap values in a few levels more; one that
only we can decode would be a command that nobody else can read."""


def check_value(value: Any) -> None:
    """Check a decoded value, level by level.

    Raises:
        Invalid: a text holds U+0000, which Postgres can't store, or the value is nested too deeply.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                check_text(item)
            elif isinstance(item, dict):
                for key in item:
                    check_text(key)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below
    raise too_deep()


def check_text(text: str) -> None:
    """Check a text.

    Raises:
        Invalid: it holds U+0000.
    """
    if "\0" in text:
        raise Invalid("the character U+0000 is not supported")


def too_deep() -> Invalid:
    """The error for a value that is nested too deeply."""
    return Invalid(f"the body is nested more than {MAX_DEPTH} levels deep")
