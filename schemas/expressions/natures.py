"""What is known of a value's type before the expression is evaluated; expr-lang calls it a nature."""

from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["unknown", "nil", "bool", "int", "float", "string", "array", "map", "func"]


class Nature(msgspec.Struct, frozen=True):
    """A type as far as it is known.

    Attributes:
        kind: the name of the type; `unknown` is what comes out of the payload.
        element: what an array or a map holds; None is unknown.
        any_key: true for a map whose keys need not be strings.
    """

    kind: Kind
    element: "Nature | None" = None
    any_key: bool = False

    @property
    def is_unknown(self) -> bool:
        """True if it may be of any type."""
        return self.kind == "unknown"

    def may_be(self, *kinds: Kind) -> bool:
        """True if it is of one of these kinds, or unknown."""
        return self.kind in kinds or self.is_unknown


UNKNOWN: Final = Nature("unknown")
NIL: Final = Nature("nil")
BOOL: Final = Nature("bool")
INT: Final = Nature("int")
FLOAT: Final = Nature("float")
STRING: Final = Nature("string")
FUNC: Final = Nature("func")
ARRAY: Final = Nature("array")
MAP: Final = Nature("map")
ANY_KEY_MAP: Final = Nature("map", any_key=True)
STRINGS: Final = Nature("array", STRING)


def array_of(element: Nature) -> Nature:
    """The nature of an array whose items have this nature."""
    return Nature("array", element)


def element_of(collection: Nature) -> Nature:
    """What an array or a map holds."""
    return collection.element or UNKNOWN


def is_number(nature: Nature) -> bool:
    """True if it is an integer or a float."""
    return nature.kind in ("int", "float")


def comparable(left: Nature, right: Nature) -> bool:
    """True if `==` may compare them."""
    return (
        left.is_unknown
        or right.is_unknown
        or "nil" in (left.kind, right.kind)
        or (is_number(left) and is_number(right))
        or left.kind == right.kind
    )
