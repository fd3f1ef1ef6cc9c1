"""Log lines of all processes, on standard error: text for people or JSON for collectors.

Both carry the time in UTC and the record's context (`extra={"partition": 3}`), in text as `partition=3` behind the
message, in JSON as keys of their own. Control characters are written out and credentials in URLs left out, here for all
that is logged, since most of it holds something that others have written.
"""

import json
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from schemas.error_texts import cut_error
from schemas.kafka import CLIENT_LOGGER
from schemas.redaction import on_one_line, without_credentials
from schemas.settings import ProcessSettings, ignored_variables

logger = logging.getLogger(__name__)

PLAIN_FIELDS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
"""What every record has; the rest is context. uvicorn adds `color_message`, a copy of its message."""

QUIET_LOGGERS: Final = (CLIENT_LOGGER, "asyncio", "sse_starlette", "uvicorn")
"""Libraries that log their every step, which would bury our own lines; `sse_starlette` logs at DEBUG what it sends, and
that is about payments."""


REPEAT_SECONDS: Final = 60.0
"""How often the same line of the Kafka client is written. While a broker is away it logs hundreds of errors a second,
which would bury everything else and fill disks; ours say which broker is away, and when it is back."""

MAX_KINDS: Final = 200
"""Kinds of lines that are remembered. The client has fewer; texts that never repeat would fill the memory."""
MAX_TEXT_BYTES: Final = 16 * 1024
"""Longest message, and value of the context. An expression or a record's header can be much longer."""

_PLAIN_VALUE: Final = re.compile(r'[^\s="]+')


def configure(settings: ProcessSettings, **context: object) -> None:
    """Send all log records of this process to standard error, in the settings' format and from its level on.

    Args:
        settings: of the process.
        context: of every record, such as `worker=3`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # A filter of a logger does not see the records of those below it; the handler sees all.
    handler.addFilter(OfLogger(CLIENT_LOGGER, OncePerMinute()))
    handler.addFilter(WithContext(context))
    logging.captureWarnings(True)
    if ignored := ignored_variables():
        logger.warning(
            "variables of a Kubernetes Service are not settings and are ignored: %s"
            " (`enableServiceLinks: false` in the pod's spec turns them off)",
            ", ".join(ignored),
        )


class WithContext(logging.Filter):
    """Gives every record a context, and lets all pass."""

    def __init__(self, context: Mapping[str, object]) -> None:
        super().__init__()
        self._context = context

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        record.__dict__.update(self._context)
        return True


class OfLogger(logging.Filter):
    """Applies a filter to the records of one logger and those below it, and lets all others pass."""

    def __init__(self, name: str, inner: logging.Filter) -> None:
        super().__init__(name)
        self._inner = inner

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        return not super().filter(record) or bool(self._inner.filter(record))


class OncePerMinute(logging.Filter):
    """Lets one record of each kind through in `REPEAT_SECONDS`, and says how many were left out meanwhile."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        now, kind = self._clock(), (record.name, str(record.msg))
        last, left_out = self._kinds.get(kind, (-math.inf, 0))
        if now - last < REPEAT_SECONDS:
            self._kinds[kind] = (last, left_out + 1)
            return False
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more lines like this left out)", ()
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        self._kinds[kind] = (now, 0)
        return True


class TextFormatter(logging.Formatter):
    """`2026-03-01T10:00:00.120Z INFO engine.process claimed partition=3 epoch=17`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by the traceback if there is one, which is indented: only our lines begin with a time."""
        context = "".join(f" {name}={_quoted(value)}" for name, value in _context(record).items())
        line = f"{_time(record)} {record.levelname} {record.name} {_message(record)}{context}"
        exception = _exception(self, record)
        return "\n    ".join([line, *map(on_one_line, exception.split("\n"))]) if exception else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the context, `exception` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {
            **_context(record),
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        exception = _exception(self, record)
        if exception:
            fields["exception"] = "\n".join(map(on_one_line, exception.split("\n")))
        return msgspec.json.encode(fields, enc_hook=str).decode()


def _message(record: logging.LogRecord) -> str:
    return _safe(record.getMessage())


def _context(record: logging.LogRecord) -> dict[str, Any]:
    given = ((name, value) for name, value in record.__dict__.items() if name not in PLAIN_FIELDS)
    return {name: value if isinstance(value, int | float | None) else _safe(str(value)) for name, value in given}


def _safe(text: str) -> str:
    """The text without what would show secrets or forge lines. Much of what is logged was written by others."""
    return cut_error(on_one_line(without_credentials(text)), MAX_TEXT_BYTES)


def _quoted(value: Any) -> str:
    """A value of the context; in quotes if it could pass for more than one."""
    text = str(value)
    return text if _PLAIN_VALUE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    instant = datetime.fromtimestamp(record.created, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return without_credentials(formatter.formatException(record.exc_info)) if record.exc_info else ""
