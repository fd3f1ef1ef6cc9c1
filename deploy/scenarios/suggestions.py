"""What somebody has probably meant."""

import difflib
from collections.abc import Iterable
from typing import Final

MAX_CHARACTERS: Final = 40
"""Nobody means one of our words by a longer one, and comparing takes time that grows with the square."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean `wallets`?``, or `""` if no known word is near."""
    if len(word) > MAX_CHARACTERS:
        return ""
    by_letters = {_letters(name): name for name in known}
    near = difflib.get_close_matches(_letters(word), by_letters, 1, 0.6)
    return f"did you mean `{by_letters[near[0]]}`?" if near else ""


def _letters(word: str) -> str:
    """The word without what people mix up most: case, and how its parts are separated."""
    return word.lower().replace("_", "").replace("-", "")
