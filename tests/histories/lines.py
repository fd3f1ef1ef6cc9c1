"""Histories as JSON lines: each is a record of a topic, or what an owner was given in one turn."""

import base64
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from engine.core.decisions import ActivityDone, Due
from engine.core.evaluation import Evaluated
from engine.core.submissions import Resolved
from engine.core.trigger import Requested
from schemas.records import NewRecord

DATA: Final = Path(__file__).parent / "data"

NOTHING: Final = Raw(b"null")

INPUTS: Final[dict[str, Any]] = {cls.__name__: cls for cls in (Due, ActivityDone, Requested, Evaluated, Resolved)}


class RecordLine(Struct, frozen=True, omit_defaults=True, tag_field="line", tag="record"):
    """A record. Its value is JSON as it was written, byte for byte; `base64` has one that is not JSON."""

    topic: str
    offset: int
    key: str
    headers: dict[str, str]
    timestamp_ms: int
    value: Raw = NOTHING
    base64: str | None = None

    @property
    def record(self) -> NewRecord:
        """The record, to be written again."""
        value = None if self.value == NOTHING else bytes(self.value)
        if self.base64 is not None:
            value = base64.b64decode(self.base64)
        headers = [(name, text.encode()) for name, text in self.headers.items()]
        return NewRecord(self.key.encode(), value, headers, self.timestamp_ms)


class GivenLine(Struct, frozen=True, omit_defaults=True, tag_field="line", tag="given"):
    """Something that an owner was given: the command at an offset, or what an effect has ended with."""

    command: int | None = None
    key: str = ""
    type: str = ""
    value: Raw = NOTHING

    @property
    def given(self) -> Any:
        """The input."""
        return msgspec.json.decode(self.value, type=INPUTS[self.type])


class TurnLine(Struct, frozen=True, tag_field="line", tag="turn"):
    """The turn that ends here decided what was given before, at this time. Its records follow."""

    now: datetime
    confirms: bool = False


Line = RecordLine | GivenLine | TurnLine


def record_line(topic: str, offset: int, record: NewRecord) -> RecordLine:
    """The line of a record."""
    is_json, value = True, record.value
    try:
        msgspec.json.decode(value or b"null")
    except ValueError:
        is_json = False
    if b"\n" in (value or b""):
        is_json = False
    return RecordLine(
        topic,
        offset,
        record.key.decode(),
        {name: text.decode() for name, text in record.headers},
        record.timestamp_ms,
        Raw(value) if value and is_json else NOTHING,
        base64.b64encode(value).decode() if value is not None and not (value and is_json) else None,
    )


def generations() -> list[str]:
    """All that were recorded, oldest first."""
    return sorted((path.name for path in DATA.iterdir() if path.is_dir()), key=int)


def recorded() -> Iterator[tuple[str, str]]:
    """All histories, by generation and story."""
    for generation in generations():
        for path in sorted((DATA / generation).glob("*.jsonl")):
            yield generation, path.stem


def read(generation: str, story: str) -> list[Line]:
    """A recorded history."""
    lines = (DATA / generation / f"{story}.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Line) for line in lines]


def write(generation: str, story: str, lines: Sequence[Line]) -> None:
    """Write a history that was not recorded before."""
    folder = DATA / generation
    folder.mkdir(exist_ok=True)
    with (folder / f"{story}.jsonl").open("xb") as file:
        file.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
