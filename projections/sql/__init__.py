"""The statements, one file each, by name: `statement("instances")` is the text of `instances.sql`.

A page of a list is read by one of two statements that are made of one file, since each way has an order of its own.
A batch is written by one statement that is put together from the files in `project`.
"""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> bytes:
    """The text of one statement, as psycopg takes it without asking for a literal."""
    return files(__name__).joinpath(f"{name}.sql").read_bytes()


@cache
def page(name: str, backwards: bool) -> bytes:
    """The statement that reads a page, behind a position or in front of it. Newest first, or the other way round."""
    order, beyond = (b"ASC", b">") if backwards else (b"DESC", b"<")
    return statement(name).replace(b"$order", order).replace(b"$beyond", beyond)


@cache
def project(parts: tuple[str, ...]) -> bytes:
    """The statement that writes a batch; what it has no rows for is left out, since every table it names costs time.

    Args:
        parts: names of files in `project`; the first one's rows are parameter `$4`, and so on.
    """
    text = statement("project/begin")
    for number, part in enumerate(parts, start=4):
        rows = statement(f"project/{part}").replace(b"$rows", b"$%d" % number)
        text += b", %s AS (\n%s)\n" % (part.encode(), rows)
    return text + statement("project/end")
