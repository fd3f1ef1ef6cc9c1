"""What commands show: tables and times for people, or JSON as the API has it for programs."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

import click
import msgspec

from schemas.redaction import in_json

GAP: Final = "  "
STATE_COLOURS: Final = {
    "succeeded": "green",
    "failed": "red",
    "aborted": "magenta",
    "retrying": "yellow",
    "paused": "yellow",
}
RUNNING_COLOUR: Final = "cyan"
"""Of all other states."""
CANCELED: Final = "canceled"
"""The error of an instance that was aborted (contract: `workflows`, Abort)."""


class Output:
    """Standard output.

    Args:
        as_json: whether only JSON may be written there.
    """

    def __init__(self, *, as_json: bool):
        self.as_json = as_json

    @property
    def is_live(self) -> bool:
        """Whether a person watches, on a terminal that can be told to change what it shows."""
        return not self.as_json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def show(self, value: Any, people: Callable[[], Iterable[str]]) -> None:
        """Write a value: as JSON, or in the lines that people get."""
        if self.as_json:
            click.echo(json_text(value))
            return
        for line in people():
            click.echo(line)

    def say(self, text: str) -> None:
        """Write a line for people."""
        if not self.as_json:
            click.echo(text)

    def note(self, text: str) -> None:
        """Write a line that is not part of what was asked for."""
        click.echo(text, err=True)

    def note_limit(self, count: int, limit: int) -> None:
        """Say that a list was cut, if it may have been."""
        if limit and count == limit:
            self.note(f"these are the newest {limit}; there may be more: --limit 0 lists all")


class Styled(NamedTuple):
    """A text in a colour."""

    text: str
    colour: str

    def __str__(self) -> str:
        """The text with its colour, if there is one."""
        return click.style(clean(self.text), fg=self.colour) if self.colour else clean(self.text)


Cell: TypeAlias = str | Styled


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], empty: str) -> Iterable[str]:
    """Rows as lines, in columns.

    Args:
        heads: of the columns.
        rows: their cells.
        empty: what is said when there are none.
    """
    cells = [[cell if isinstance(cell, Styled) else Styled(cell, "") for cell in row] for row in rows]
    if not cells:
        return [empty]
    widths = [max(len(head), *(len(row[column].text) for row in cells)) for column, head in enumerate(heads)]
    named = GAP.join(f"{head.upper():<{width}}" for head, width in zip(heads, widths, strict=True))
    lines = [click.style(named.rstrip(), bold=True)]
    for row in cells:
        padded = [f"{cell}{' ' * (width - len(cell.text))}" for cell, width in zip(row, widths, strict=True)]
        lines.append(GAP.join(padded).rstrip())
    return lines


def pairs(rows: Iterable[tuple[str, Cell]]) -> Iterable[str]:
    """Names and values, one a line; those without a value are left out."""
    cells = [(name, value if isinstance(value, Styled) else Styled(value, "")) for name, value in rows]
    given = [(name, value) for name, value in cells if value.text]
    width = max((len(name) for name, _ in given), default=0)
    return [f"{click.style(f'{name:<{width}}', bold=True)}{GAP}{value}" for name, value in given]


def state(instance: dict[str, Any]) -> str:
    """How an instance is, as the API says; of a server that does not say it, whether it runs, and how it ended."""
    if told := instance.get("state"):
        return str(told)
    if instance.get("unreadable"):
        return "unknown"
    if not instance["terminated"]:
        return "running"
    error = instance.get("error")
    if not error:
        return "succeeded"
    return "aborted" if error == CANCELED else "failed"


def styled_state(instance: dict[str, Any]) -> Styled:
    """The state in its colour."""
    name = state(instance)
    return Styled(name, STATE_COLOURS.get(name, RUNNING_COLOUR))


def waits_for(instance: dict[str, Any]) -> str:
    """What an instance waits for, such as `event approved`; `""` if for nothing, or if the server does not say it.

    If the server can't read it, this is what the server says about that.
    """
    if unreadable := instance.get("unreadable"):
        return clean(unreadable)
    waiting = instance.get("waiting")
    if not waiting:
        return ""
    name, until = waiting.get("name", ""), moment(waiting.get("until"))
    match waiting["for"]:
        case "delay":
            return f"delay until {until}"
        case "retry":
            return f"attempt {waiting['attempt']} of {name} at {until}"
        case "resume":
            return f"resume of {name} after attempt {waiting['attempt']}"
        case other:
            return f"{other} {name}"


def json_text(value: object) -> str:
    """A value as JSON for people and programs."""
    return in_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def moment(text: str | None) -> str:
    """An instant of the API as people write it, in the time zone of this machine; `""` for none."""
    if not text:
        return ""
    at = instant(text)
    with suppress(OverflowError):  # the year would be 0 or 10000 here, as in a delay until "never": it stays in UTC
        at = at.astimezone()
    return at.replace(tzinfo=None).isoformat(" ", "seconds")


def instant(text: str) -> datetime:
    """An instant of the API."""
    return datetime.fromisoformat(text)


def took(started: str | None, ended: str | None, now: datetime | None = None) -> str:
    """How long something took, or has taken so far: `120 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`."""
    if not started:
        return ""
    end = instant(ended) if ended else (now or datetime.now(UTC))
    return duration((end - instant(started)).total_seconds())


def duration(seconds: float) -> str:
    """A duration with the two units that matter."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {below}"
    return ""


def clean(text: object) -> str:
    """A text on one line, without what would speak to the terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))
