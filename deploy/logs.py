"""Log lines of all processes, on standard error: text for people or JSON for collectors.

Both carry the time in UTC and the record's context (`extra={"partition": 3}`), in text as `partition=3` behind the
message, in JSON as keys of their own.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.settings import ProcessSettings

PLAIN_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
"""What every record has; the rest is context. uvicorn adds `color_message`, a copy of its message."""

QUIET_LOGGERS = ("aiokafka", "asyncio", "uvicorn")
"""Libraries that log their every step at INFO, which would bury our own lines."""


def configure(settings: ProcessSettings) -> None:
    """Send all log records of this process to standard error, in the settings' format and from its level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


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
