"""Durations and moments of scenario files."""

from datetime import datetime, timedelta
from typing import Final

from schemas.definition import format_duration, parse_duration, parse_instant

HINT: Final = "write a duration as in workflows, such as 90s, 1h30m or 720h (30 days)"


def read_duration(text: str) -> timedelta:
    """A duration.

    Raises:
        ValueError: it is not one, or below zero. The message says what would be.
    """
    try:
        nanoseconds = parse_duration(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a duration: {HINT}") from None
    if nanoseconds < 0:
        raise ValueError(f"{text!r} is below zero: {HINT}")
    return timedelta(microseconds=-(-nanoseconds // 1000))


def read_instant(text: str) -> datetime:
    """A date and time, UTC.

    Raises:
        ValueError: it is not one.
    """
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date and time: write one such as 2026-03-01T10:00:00Z") from None


def read_moment(text: str, start: datetime) -> datetime:
    """A moment: so long after the start, or a date and time.

    Raises:
        ValueError: it is neither, before the start, or behind the year 9999.
    """
    if "T" not in text.upper():
        try:
            return start + read_duration(text)
        except OverflowError:
            raise ValueError(f"{text!r} after the start is behind the year 9999") from None
    at = read_instant(text)
    if at < start:
        raise ValueError(f"{text!r} is before the start of the instance")
    return at


def shown(duration: timedelta) -> str:
    """A duration as people and scenario files write it: `0s`, `1.5s`, `1m30s`, `720h`."""
    text = format_duration(duration // timedelta(microseconds=1) * 1000)
    for unit, nothing in (("m", "0s"), ("h", "0m")):
        if text.endswith(unit + nothing):
            text = text.removesuffix(nothing)
    return text
