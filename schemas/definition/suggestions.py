"""What the author of a definition has probably meant."""

import contextlib
import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

from schemas.definition.instants import parse_instant
from schemas.definition.ledger_texts import ASSET

MAX_CHARACTERS: Final = 40
"""Nobody means one of our words by a longer one, and the comparison takes time that grows with the square."""

SMALLEST_UNIT: Final = "amounts count the asset's smallest unit: 1250 of `EUR/2` are 12.50"

_MAIN_FIELDS: Final = {"account": "id", "delay": "duration", "wait_event": "event", "wallet": "id"}
"""What people mean who write a text in place of an object."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*")
"""What needs no quotes between `{` and `}`."""
_FRACTION: Final = re.compile(r"\+?[0-9]+[.,][0-9]+")
_AMOUNT_OF: Final = re.compile(rf"([0-9]+) ({ASSET.pattern})")
_IN_WORDS: Final = re.compile(r"([0-9]{1,6}) ?(w|d|h|m|s|weeks?|days?|hours?|hrs?|minutes?|mins?|seconds?|secs?)?")
_UNITS: Final = {"w": (168, "h"), "d": (24, "h"), "h": (1, "h"), "m": (1, "m"), "s": (1, "s")}
_DATE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?)?")
_OTHER_REFERENCES: Final = re.compile(r"\{\{ ?(\w+) ?\}\}|\$(\w+)")
"""How variables are written elsewhere."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``did you mean `metadata`?``, or `""` if no known word is near."""
    if not isinstance(word, str) or len(word) > MAX_CHARACTERS:
        return ""
    by_letters = {_letters(name): name for name in known}
    near = difflib.get_close_matches(_letters(word), by_letters, 1, 0.6)
    return _meant(by_letters[near[0]]) if near else ""


def as_object(name: str, value: Any) -> str:
    """What to write for an object that a text stands for: ``did you mean `account: {id: world}`?``."""
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        return ""
    if name == "amount" and (found := _AMOUNT_OF.fullmatch(value)):
        return _meant(f"amount: {{amount: {found[1]}, asset: {found[2]}}}")
    field = _MAIN_FIELDS.get(name)
    if field is None:
        return ""
    quoted = value if _PLAIN.fullmatch(value) else f'"{value}"'
    return _meant(f"{name}: {{{field}: {quoted}}}")


def as_amount(value: Any) -> str:
    """What to do about an amount with a fraction."""
    has_fraction = isinstance(value, float) or (isinstance(value, str) and _FRACTION.fullmatch(value) is not None)
    return SMALLEST_UNIT if has_fraction else ""


def as_duration(value: Any) -> str:
    """What to write for a duration such as `1d`, `2 days` or `30`."""
    found = _IN_WORDS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return ""
    factor, unit = _UNITS[(found[2] or "s")[0]]
    return _meant(f"{int(found[1]) * factor}{unit}")


def as_instant(value: Any) -> str:
    """What to write for a date without a time, or a time without an offset."""
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return ""
    instant = f"{found[1]}T{found[2] or '00:00'}{found[3] or ':00'}Z"
    with contextlib.suppress(ValueError):
        parse_instant(instant)
        return _meant(instant)
    return ""


def as_asset(value: str) -> str:
    """What to write for an asset in small letters."""
    return _meant(value.upper()) if value != value.upper() and len(value) <= MAX_CHARACTERS else ""


def as_reference(value: str) -> str:
    """What to write for a text with a variable such as `$name` or `{{name}}`."""
    if len(value) > MAX_CHARACTERS or not _OTHER_REFERENCES.search(value):
        return ""
    return _meant(_OTHER_REFERENCES.sub(lambda found: f"${{{found[1] or found[2]}}}", value))


def _meant(text: str) -> str:
    return f"did you mean `{text}`?"


def _letters(word: str) -> str:
    """The word without what people mix up most: case, and how its parts are separated."""
    return word.lower().replace("_", "").replace("-", "")
