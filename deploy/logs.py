"""Log lines of all processes, on standard error: text for people or JSON for collectors.

Both carry the time in UTC and the record's context (`extra={"partition": 3}`), in text as `partition=3` behind the
message, in JSON as keys of their own.
"""

import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.settings import ProcessSettings

PLAIN_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
"""What every record has; the rest is context. uvicorn adds `color_message`, a copy of its message."""

QUIET_LOGGERS = ("aiokafka", "asyncio", "uvicorn")
"""Libraries that log their every step at INFO, which would bury our own lines."""


RECORDS_PER_SECOND = 5
"""Lines of the Kafka client that are written in a second."""


def configure(settings: ProcessSettings) -> None:
    """Send all log records of this process to standard error, in the settings' format and from its level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # A filter of a logger does not see the records of those below it; the handler sees all.
    handler.addFilter(OfLogger("aiokafka", RateLimit()))
    logging.captureWarnings(True)


class OfLogger(logging.Filter):
    """Applies a filter to the records of one logger and those below it, and lets all others pass."""

    def __init__(self, name: str, inner: logging.Filter) -> None:
        super().__init__(name)
        self._inner = inner

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        return not super().filter(record) or bool(self._inner.filter(record))


class RateLimit(logging.Filter):
    """Lets at most `RECORDS_PER_SECOND` records of a logger through, and says how many were left out.

    While Kafka is away its client logs hundreds of errors a second, which would bury everything else and fill disks.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._second = 0
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        second = int(self._clock())
        if second != self._second:
            left_out = self._count - RECORDS_PER_SECOND
            self._second, self._count = second, 0
            if left_out > 0:
                record.msg, record.args = f"{record.getMessage()} ({left_out} more lines like this left out)", ()
        self._count += 1
        return self._count <= RECORDS_PER_SECOND


class TextFormatter(logging.Formatter):
    """`2026-03-01T10:00:00.120Z INFO engine.process claimed partition=3 epoch=17`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by the traceback if there is one."""
        context = "".join(f" {name}={value}" for name, value in _context(record).items())
        line = f"{_time(record)} {record.levelname} {record.name} {record.getMessage()}{context}"
        exception = _exception(self, record)
        return f"{line}\n{exception}" if exception else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the context, `exception` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {
            **_context(record),
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        exception = _exception(self, record)
        if exception:
            fields["exception"] = exception
        return msgspec.json.encode(fields, enc_hook=str).decode()


def _context(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in PLAIN_FIELDS}


def _time(record: logging.LogRecord) -> str:
    instant = datetime.fromtimestamp(record.created, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""
