"""Log lines: a flood of errors of the Kafka client is cut, and what others have written can't forge lines."""

import json
import logging
import sys
from typing import Any

import pytest

from deploy.logs import (
    MAX_KINDS,
    MAX_TEXT_BYTES,
    REPEAT_SECONDS,
    JsonFormatter,
    OfLogger,
    OncePerMinute,
    TextFormatter,
)


def record(name: str, text: str = "no connection to %s") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, ("node 1",), None)


def test_a_flood_is_cut_and_counted() -> None:
    now = 7.0
    limit = OfLogger("aiokafka", OncePerMinute(lambda: now))
    assert sum(bool(limit.filter(record("aiokafka.conn"))) for _ in range(100)) == 1
    assert limit.filter(record("aiokafka.conn", "another line about %s"))
    assert limit.filter(record("aiokafka.client"))
    assert all(limit.filter(record("engine.partition")) for _ in range(100))
    now += REPEAT_SECONDS
    first = record("aiokafka.conn")
    assert limit.filter(first)
    assert first.getMessage() == "no connection to node 1 (99 more lines like this left out)"
    assert not limit.filter(record("aiokafka.conn"))


def test_lines_that_never_repeat_are_written_and_forgotten() -> None:
    limit = OncePerMinute(lambda: 7.0)
    assert all(limit.filter(record("aiokafka", f"line {n} about %s")) for n in range(3 * MAX_KINDS))
    assert len(limit._kinds) <= MAX_KINDS


FORGED = "x\n2026-03-01T10:00:00.120Z INFO engine.process claimed\r\x1b[2K"
SECRET = "http://user:s3cret@host/x?token=s3cret"


def logged(message: str, *args: object, error: Exception | None = None, **context: object) -> logging.LogRecord:
    exc_info: Any = None
    if error is not None:
        try:
            raise error
        except Exception:
            exc_info = sys.exc_info()
    made = logging.LogRecord("engine.partition", logging.ERROR, "", 0, message, args, exc_info)
    made.created = 1772359200.12
    made.__dict__.update(context)
    return made


HEAD = "2026-03-01T10:00:00.120Z ERROR engine.partition "


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (logged("claimed", partition=3, epoch=17), "claimed partition=3 epoch=17"),
        (logged("claimed %s", FORGED), r"claimed x\n2026-03-01T10:00:00.120Z INFO engine.process claimed\r\x1b[2K"),
        (logged("failed", expression="a\nb"), r"failed expression=a\nb"),
        (logged("failed", expression="a partition=3"), 'failed expression="a partition=3"'),
        (logged("failed", expression='"'), r'failed expression="\""'),
        (logged("failed", empty="", none=None), 'failed empty="" none=None'),
        (logged("no answer from %s", SECRET, url=SECRET), "no answer from http://…@host/x?… url=http://…@host/x?…"),
    ],
)
def test_text_has_one_line_for_each_record(record: logging.LogRecord, line: str) -> None:
    assert TextFormatter().format(record) == HEAD + line


def test_the_lines_of_a_traceback_are_indented() -> None:
    first, *rest = TextFormatter().format(logged("failed", error=ValueError(f"{FORGED} {SECRET}"))).split("\n")
    assert first == HEAD + "failed"
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert "s3cret" not in "".join(rest)


def test_json_has_one_object_for_each_record() -> None:
    text = JsonFormatter().format(
        logged(f"failed {SECRET}", error=ValueError(FORGED), expression=FORGED, half="\ud800")
    )
    assert text.isprintable()
    fields = json.loads(text)
    assert fields["message"] == "failed http://…@host/x?…"
    assert fields["expression"] == r"x\n2026-03-01T10:00:00.120Z INFO engine.process claimed\r\x1b[2K"
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert fields["half"] == r"\ud800"


def test_numbers_stay_numbers_in_json() -> None:
    fields = json.loads(JsonFormatter().format(logged("claimed", partition=3, quiet=True, none=None)))
    assert (fields["partition"], fields["quiet"], fields["none"]) == (3, True, None)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_long_texts_are_cut(formatter: logging.Formatter) -> None:
    record = logged("x" * 100_000, expression="y" * 100_000)
    assert len(formatter.format(record)) < 2 * MAX_TEXT_BYTES + 200
