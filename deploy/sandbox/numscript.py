r"""The one form of Numscript that the sandbox reads.

    send [EUR/2 1250] (
      source = @a allowing unbounded overdraft
      destination = @b
    )

with or without the overdraft clause. The service sends no other (contract: `workflows`, part `send`).
"""

import re
from typing import Final, NamedTuple

from deploy.sandbox.errors import CompilationFailedError
from deploy.sandbox.values import ADDRESS_PATTERN, ASSET_PATTERN, MAX_AMOUNT_DIGITS

_SEND: Final = re.compile(
    rf"\s*send\s+\[\s*(?P<asset>{ASSET_PATTERN})\s+(?P<amount>[0-9]{{1,{MAX_AMOUNT_DIGITS}}})\s*\]\s*\(\s*"
    rf"source\s*=\s*@(?P<source>{ADDRESS_PATTERN})"
    r"(?P<overdraft>[ \t]+allowing[ \t]+unbounded[ \t]+overdraft)?[ \t\r]*\n\s*"
    rf"destination\s*=\s*@(?P<destination>{ADDRESS_PATTERN})\s*\)\s*"
)
"""No two neighbouring parts match the same character: a long script of blanks is refused in linear time."""


class Send(NamedTuple):
    """A compiled script: one posting, and whether its source may go below zero."""

    source: str
    destination: str
    amount: int
    asset: str
    unbounded_overdraft: bool


def compile_script(plain: str) -> Send:
    """Reads a script; raises `CompilationFailedError` for anything but the form above."""
    match = _SEND.fullmatch(plain)
    if match is None:
        first_line = plain.strip().partition("\n")[0][:80]
        # The ledger's own message is a coloured, multi-line terminal text: clients must cope with one.
        raise CompilationFailedError(
            f"\x1b[31m--> error:1:0\x1b[0m\r\n  \x1b[34m|\x1b[0m\r\n\x1b[31m1 | \x1b[90m{first_line}\x1b[0m\r\n"
            "  \x1b[34m|\x1b[0m \x1b[31mthe sandbox reads only a single send from one account to another\x1b[0m\r\n"
        )
    return Send(
        source=match["source"],
        destination=match["destination"],
        amount=int(match["amount"]),
        asset=match["asset"],
        unbounded_overdraft=match["overdraft"] is not None,
    )
