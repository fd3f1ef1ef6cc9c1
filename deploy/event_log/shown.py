"""How records of the log are shown: a line each for people, or one JSON object a line with everything."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from schemas.log_entries import Entry
from schemas.redaction import in_json, on_one_line

MAX_FIELD: Final = 48
"""Characters of a field of the event; a whole definition would hide what is around it."""
MAX_VALUE: Final = 240
"""Characters of all fields."""
MAX_NAME: Final = 60
"""Characters of what somebody else may have written: types, ids, owners."""

REASONS: Final = {
    "superseded": "DOES NOT COUNT: its owner had been superseded",
    "claim missing": "DOES NOT COUNT: its claim is not in the log, which was cut",
    "unclaimed": "DOES NOT COUNT: it belongs to no claim before it",
    "filler": "filler: takes the offset of a record that was lost",
    "notice": "filler: says that somebody knows of a repair; nothing was lost",
}

_encode = msgspec.json.Encoder().encode


def as_json(entry: Entry) -> str:
    """A record with everything, as a JSON object in one line."""
    return in_json(_encode(entry).decode())


def as_line(entry: Entry, *, with_id: bool) -> str:
    """A record in one line, with what is long cut.

    Args:
        entry: the record.
        with_id: whether the aggregate's id is shown.
    """
    about = [
        f"{'' if entry.counts else '✗':1}{entry.offset:>9}",
        _time(entry.at),
        f"{_cut(entry.type or '(no type)', MAX_NAME):<18}",
    ]
    if with_id:
        about.append(f"{_cut(entry.id or '', MAX_NAME):<36}")
    about.append(f"{'' if entry.version is None else f'v{entry.version}':<4}")
    about.append(f"{'' if entry.cause is None else f'cause {entry.cause}':<13}")
    if entry.epoch is not None:
        # Where the record can't be read, its claim may be there and can't be read, either: without the key, say.
        missing = "(claim not in the log)" if entry.error is None else "(claim not in the log, or can't be read)"
        owner = missing if entry.owner is None else _cut(entry.owner, MAX_NAME)
        about.append(f"epoch {entry.epoch} {owner}")
    if entry.reason is not None:
        about.append(f"[{REASONS[entry.reason]}]")
    if entry.error is not None:
        about.append(f"[can't be decoded: {_cut(entry.error, MAX_VALUE)}]")
    if entry.value is not None:
        about.append(_fields(entry.value))
    return "  ".join(about).rstrip()


def _time(at: datetime | None) -> str:
    if at is None:
        return " " * 27
    utc = at.astimezone(UTC) if at.tzinfo else at
    return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _fields(value: bytes) -> str:
    """The fields of an event but its time, which is shown already."""
    fields: dict[str, Any] = msgspec.json.decode(value)
    shown = (f"{name}={_field(field)}" for name, field in fields.items() if name != "at")
    return _cut(" ".join(shown), MAX_VALUE)


def _field(value: Any) -> str:
    return _cut(value if isinstance(value, str) else msgspec.json.encode(value).decode(), MAX_FIELD)


def _cut(text: str, most: int) -> str:
    # Cut first: the rest may be megabytes.
    text = on_one_line(text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"
