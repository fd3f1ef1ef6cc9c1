"""The statements, one file each, by name: `statement("instances")` is the text of `instances.sql`.

A page of a list is read by a statement that is made of one file: each way has an order of its own, and each combination
of filters has its index.
A batch is written by one statement that is put together from the files in `project`.
"""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Final

FIRST_FILTER: Final = 5
"""Number of the parameter that holds a page's first filter."""

COUNTED: Final = {
    "changed_instances": ("counted_instances", "counted_instances"),
    "changed_stages": ("counted_stages", "counted_stages"),
    "again_instances": ("counted_retries", "counted_instances"),
    "again_restored": ("counted_restored", "counted_instances"),
}
"""Parts that write a batch, with what tells what their changes add to part `counts`: its name, and its file."""


@cache
def statement(name: str) -> bytes:
    """The text of one statement, as psycopg takes it without asking for a literal. See `page` for lines `$$NAME`."""
    return b"\n".join(_lines(name, ())) + b"\n"


@cache
def _file(name: str) -> bytes:
    return files(__name__).joinpath(f"{name}.sql").read_bytes()


_FORWARDS: Final = (b"DESC", b"<", b"ASC", b">=")
_BACKWARDS: Final = (b"ASC", b">", b"DESC", b"<=")
"""`$order` of a page, what is `$beyond` its position, and both for what is on the other side, the position included."""

_PAGES: Final[dict[bytes, tuple[str, bool, tuple[str, ...]]]] = {}


def page_of(text: bytes) -> tuple[str, bool, tuple[str, ...]] | None:
    """What a statement was made of by `page`; None if it was not. For whoever runs statements without Postgres."""
    return _PAGES.get(text)


@cache
def page(name: str, backwards: bool, filters: tuple[str, ...] = ()) -> bytes:
    """The statement that reads a page, behind a position or in front of it. Newest first, or the other way round.

    A line of the file that ends with `-- only: F` stays if F is one of the filters, with `-- unless: F` if it is not.
    So each combination is a statement of its own, which is planned once and has an index of its own. The value of the
    first filter is parameter `$5`, and so on; before them are those of `projections.queries.pages`. A line `$$NAME` is
    the file of that name.

    Args:
        name: of the file.
        backwards: in front of the position.
        filters: names of filters; `$F` is the value of filter F.
    """
    order, beyond, opposite, upto = _BACKWARDS if backwards else _FORWARDS
    text = b"\n".join(_lines(name, filters))
    for number, filter in enumerate(filters, start=FIRST_FILTER):
        text = text.replace(b"$" + filter.encode(), b"$%d" % number)
    text = text.replace(b"$order", order).replace(b"$beyond", beyond)
    text = text.replace(b"$opposite", opposite).replace(b"$upto", upto)
    _PAGES[text] = name, backwards, filters
    return text


def _lines(name: str, filters: tuple[str, ...]) -> Iterator[bytes]:
    for line in _file(name).splitlines():
        kept = _kept(line, filters)
        if kept is None:
            continue
        if kept.startswith(b"$$"):
            yield from _lines(kept[2:].decode(), filters)
        else:
            yield kept


def _kept(line: bytes, filters: tuple[str, ...]) -> bytes | None:
    text, _, condition = line.partition(b" -- ")
    word, _, filter = condition.decode().partition(": ")
    if word not in ("only", "unless"):
        return line
    return text if (filter in filters) == (word == "only") else None


@cache
def project(parts: tuple[str, ...]) -> bytes:
    """The statement that writes a batch; what it has no rows for is left out, since every table it names costs time.

    Lines of a file that end with `-- only: P` stay if P is one of the parts; lines `$$NAME` are as in `page`.

    Args:
        parts: names of files in `project`; the first one's rows are parameter `$4`, and so on.
    """
    text = statement("project/begin")
    for number, part in enumerate(parts, start=4):
        rows = b"\n".join(_lines(f"project/{part}", parts)).replace(b"$rows", b"$%d" % number)
        text += b", %s AS (\n%s\n)\n" % (part.encode(), rows)
        if part in COUNTED:
            name, file = COUNTED[part]
            counted = statement(f"project/{file}").replace(b"changed_instances", part.encode())
            text += b", %s AS (\n%s)\n" % (name.encode(), counted)
    return text + statement("project/end")
