"""Which texts a field takes, as regular expressions for JSON Schema.

They take no text that the field refuses. Beyond sizes that nobody needs they refuse some that it takes: amounts over
1000 digits, durations of more than 8 parts or with very large numbers.
"""

from typing import Final

REFERENCE: Final = r"\$\{[^}]+\}"
ONLY_REFERENCES: Final = rf"^({REFERENCE})*$"
EMPTY: Final = "^$"
AMOUNT: Final = r"^\+?[0-9]{1,1000}$|^-0{1,1000}$"

_DAY: Final = "|".join((
    r"(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])",
    r"(0[469]|11)-(0[1-9]|[12][0-9]|30)",
    r"02-(0[1-9]|1[0-9]|2[0-8])",
))  # fmt: skip
_YEAR: Final = r"000[2-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8]"
_LEAP_YEAR: Final = r"([0-9]{2}(0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26]|0[48])00)"
_TIME: Final = r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?"
_OFFSET: Final = r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
INSTANT: Final = "|".join((
    rf"^({_YEAR})-({_DAY}){_TIME}{_OFFSET}$",
    rf"^{_LEAP_YEAR}-02-29{_TIME}{_OFFSET}$",
    rf"^(0001|9999)-({_DAY}){_TIME}[Zz]$",  # with an offset it may be in year 0 or 10000
))  # fmt: skip

_SMALL: Final = r"([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})(ns|us|µs|μs|ms|s)"
_LARGE: Final = r"([0-9]{1,5}(\.[0-9]{0,9})?|\.[0-9]{1,9})(m|h)"
DURATION: Final = rf"^[-+]?0$|^[-+]?({_SMALL}|{_LARGE}){{1,8}}$"


def any_case(word: str) -> str:
    """The word, in capitals or not."""
    return "^" + "".join(f"[{letter.upper()}{letter.lower()}]" for letter in word) + "$"
