"""What the command line says, read."""

import re
from collections.abc import Iterable
from typing import Final

import click

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


def _pairs(text: str) -> list[str]:
    pieces: list[str] = []
    for piece in text.split(","):
        if pieces and not _BEGINS.match(piece):
            pieces[-1] += f",{piece}"
        else:
            pieces.append(piece)
    return pieces
