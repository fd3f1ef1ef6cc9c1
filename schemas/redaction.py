"""What must not show where others read it: credentials inside of URLs, characters that a terminal or a log obeys."""

import re
from typing import Final

_URL: Final = re.compile(r"""([a-zA-Z][a-zA-Z0-9+.-]{0,20}:(?:/{1,3}|\\{2}))([^\s"'<>]*)""")
_QUERY: Final = re.compile(r"[?#]")

_UNESCAPED: Final = (
    "\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f"
)
"""Those of `_OBEYED` that stay as they are in JSON."""
_OBEYED_IN_JSON: Final = re.compile(f"[{_UNESCAPED}]")
_OBEYED: Final = re.compile(f"[\x00-\x1f{_UNESCAPED}]")
"""Control characters, line breaks of all kinds, characters that turn the direction of writing or can't be seen, and
halves of surrogate pairs, which can't be written at all. Those that join letters or emoji stay: some languages need
them."""

HIDDEN: Final = "…"


def without_credentials(text: str) -> str:
    """The text, with `…` in place of user names and passwords of URLs, and of what is behind their `?` and `#`.

    Where it is not clear what belongs to the password, as in a URL that is malformed, rather too much is left out.
    """
    if ":/" not in text and ":\\" not in text:
        return text
    return _URL.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    _, at, rest = rest.rpartition("@")
    query = _QUERY.search(rest)
    if query is not None:
        rest = rest[: query.end()] + HIDDEN
    return f"{scheme}{HIDDEN if at else ''}{at}{rest}"


def on_one_line(text: str) -> str:
    r"""The text with `\n`, `\x1b` and the like written out, so that it can't pass for several lines or change them."""
    if text.isascii() and text.isprintable():
        return text
    return _OBEYED.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode()


def in_json(text: str) -> str:
    r"""The JSON, of the same meaning, with `\u009b` in place of a character that a terminal obeys."""
    return _OBEYED_IN_JSON.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
