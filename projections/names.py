"""How names are searched: without letter case, in Python, since what Postgres knows of it depends on its locale."""


def folded(text: str) -> str:
    """The text as it is stored for searching, or to search with. Postgres can hold neither in a text with NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").casefold()
