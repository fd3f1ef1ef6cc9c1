"""The names in an expression that stand for nothing.

They compile, and are nil (contract: `triggers-and-events`, Expressions): surely not what somebody wants.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from schemas.expressions.nodes import Let, Name

KNOWN: Final = frozenset({"event", "link"})


def unknown_names(text: str) -> list[str]:
    """The names in an expression that are always nil, each once, in order.

    Raises:
        ExpressionSyntaxError: it can't be parsed.
    """
    from schemas.expressions.parser import parse  # as in `expression`: few processes ever meet one

    return list(dict.fromkeys(_unknown(parse(text), KNOWN)))


def _unknown(part: Any, known: frozenset[str]) -> Iterator[str]:
    match part:
        case Name(name=name):
            if name not in known:
                yield name
        case Let(name=name, value=value, body=body):
            yield from _unknown(value, known)
            yield from _unknown(body, known | {name})
        case tuple():
            for one in part:
                yield from _unknown(one, known)
        case msgspec.Struct():
            for field in part.__struct_fields__:
                yield from _unknown(getattr(part, field), known)
