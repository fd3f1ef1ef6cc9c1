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
        UsageError: a text is not `key=value`.
    """
    found: dict[str, str] = {}
    for text in texts:
        for pair in _pairs(text):
            key, equals, value = pair.partition("=")
            if not equals or not key.strip():
                raise click.UsageError(f"{pair!r} is not key=value")
            found[key.strip()] = value
    return found


def _pairs(text: str) -> list[str]:
    pieces: list[str] = []
    for piece in text.split(","):
        if pieces and not _BEGINS.match(piece):
            pieces[-1] += f",{piece}"
        else:
            pieces.append(piece)
    return pieces
