"""Texts that hold variables: `${name}` (contract: `workflows`, "Resolution, before each stage")."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

_REFERENCE: Final = re.compile(r"\$\{([^}]+)\}")

_MAX_QUOTED_CHARACTERS: Final = 100
"""An error message repeats what it complains about; a megabyte of it would go into every event and answer."""

MAX_RESOLVED_CHARACTERS: Final = 1024 * 1024
"""A long variable named many times would multiply: two requests under the body limit could fill the memory."""


def has_reference(text: str) -> bool:
    """Whether the text holds `${name}`. `${}` and an unclosed `${` are plain text."""
    return "${" in text and _REFERENCE.search(text, 0, _end(text)) is not None


def is_only_references(text: str) -> bool:
    """Whether variables can make the text empty: it consists of references alone."""
    return has_reference(text) and text.endswith("}") and not _REFERENCE.sub("", text)


def is_one_reference(text: str) -> bool:
    """Whether the text is one `${name}` and nothing else, so that it is empty if the variable is not given."""
    return text.endswith("}") and _REFERENCE.fullmatch(text) is not None


def references(text: str) -> Counter[str]:
    """The names of the variables in a text, in order, and how often each occurs."""
    return Counter(_REFERENCE.findall(text, 0, _end(text)))


def replace_references(text: str, variables: Mapping[str, str], *, optional: bool = False) -> str:
    """Replace every `${name}`, once: what a variable holds is not looked at again.

    Args:
        text: The text as in the definition.
        variables: What is given.
        optional: Whether a variable that is not given always counts as empty. If not, it does so only where it is the
            whole text: `merchant-${id}` would become the name of something else, and money would go there.

    Raises:
        LookupError: A variable that must be given is not; the message is its name.
        OverflowError: The text would become longer than `MAX_RESOLVED_CHARACTERS`.
    """
    if "${" not in text:
        return text
    room = MAX_RESOLVED_CHARACTERS

    def replaced(match: re.Match[str]) -> str:
        nonlocal room
        value = variables.get(match[1])
        if value is None:
            if not optional and len(match[0]) != len(text):
                raise LookupError(match[1])
            return ""
        room -= len(value)
        if room < 0:
            raise OverflowError
        return value

    end = _end(text)
    return _REFERENCE.sub(replaced, text[:end]) + text[end:]


def _end(text: str) -> int:
    """Where references can end at most. Behind it, each of many `${` would be read to the end of the text, in vain."""
    return text.rfind("}") + 1


def quoted(text: str) -> str:
    """The text as an error message shows it: in quotes, on one line, cut when long."""
    if len(text) > _MAX_QUOTED_CHARACTERS:
        text = text[:_MAX_QUOTED_CHARACTERS] + "…"
    return json.dumps(text, ensure_ascii=False)
