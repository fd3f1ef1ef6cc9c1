"""What the command line says, read."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

FILE: Final = "file"
"""The argument that names a file. Such a name may be any bytes."""

_BEGINS: Final = re.compile(r"\s*[^\s=,]+=(?!=)")
"""What begins the next `key=value`; `a == b` in an expression does not."""


def variables(texts: Iterable[str]) -> dict[str, str]:
    """Variables from `key=value` texts, where one text may hold several with commas between, as `fctl` takes them.

    A comma that no further `key=` follows belongs to the value: `--vars 'to=split(event.x, ",")[0]'`.

    Raises:
        UsageError: a text is not `key=value`, or one with commas has a key that was given before.
    """
    found: dict[str, str] = {}
    for text in texts:
        for place, pair in enumerate(_pairs(text)):
            key, equals, value = pair.partition("=")
            if not equals or not key.strip():
                raise click.UsageError(f"{pair!r} is not key=value")
            if place and key.strip() in found:
                # A value that somebody else has written may hold `,amount=999999`, which must not replace the amount.
                raise click.UsageError(f"{key.strip()!r} is given before; behind a comma, `key=` begins a variable")
            found[key.strip()] = value
    return found


def not_empty(what: str, text: str) -> str:
    """A text that means something. An empty one is most likely a variable of a script that was not set.

    Args:
        what: the text is, for people.
        text: as it was given.

    Raises:
        UsageError: it is empty, or white space.
    """
    if not text.strip():
        raise click.UsageError(f"{what} is empty: is a variable not set?")
    return text


def check_encoded(given: Mapping[str, Any]) -> None:
    """Check that all texts are UTF-8: what another encoding was used for can't be sent.

    Args:
        given: options and arguments, by name.

    Raises:
        UsageError: one is not.
    """
    for name, value in given.items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and name != FILE and not _is_utf8(text):
                raise click.UsageError(f"{text!a} is not UTF-8: look at the encoding of the terminal or script")


def _is_utf8(text: str) -> bool:
    """Whether a text came as UTF-8. Other bytes are halves of surrogate pairs in it."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _pairs(text: str) -> list[str]:
    pieces: list[str] = []
    for piece in text.split(","):
        if pieces and not _BEGINS.match(piece):
            pieces[-1] += f",{piece}"
        else:
            pieces.append(piece)
    return pieces
