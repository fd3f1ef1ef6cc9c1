"""The statements, one file each, by name: `statement("instances")` is the text of `instances.sql`."""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> bytes:
    """The text of one statement, as psycopg takes it without asking for a literal."""
    return files(__name__).joinpath(f"{name}.sql").read_bytes()
