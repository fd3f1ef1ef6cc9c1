"""Durations as Go reads and writes them: `1h30m`, `250ms`, `1.5h`, `-5s` (contract: `workflows`, "Resolution")."""

import re
from typing import Final

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")

_MAX_NANOSECONDS: Final = 2**63 - 1
"""Clients that read the history hold a duration in 64 bits of nanoseconds: 292 years. Longer ones could not be
shown."""
_MAX_CHARACTERS: Final = 200
"""So many characters are enough for every duration in range; without a limit a long text would cost quadratic time."""


def parse_duration(text: str) -> int:
    """Read a duration.

    Args:
        text: A sign (optional), then numbers with units. As in Go, `0` needs no unit and a number may begin or end
            with its point.

    Returns:
        Nanoseconds, exact; what is below one is cut.

    Raises:
        ValueError: No duration, or one over 292 years.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError("too long for a duration")
    negative = text.startswith("-")
    rest = text[1:] if text.startswith(("-", "+")) else text
    if rest == "0":
        return 0
    total = position = 0
    while position < len(rest) or not position:
        part = _PART.match(rest, position)
        if part is None or not (part[1] or part[2]):
            raise ValueError("not a duration")
        unit = _NANOSECONDS[part[3]]
        total += int(part[1] or "0") * unit
        if part[2]:
            total += int(part[2]) * unit // 10 ** len(part[2])
        position = part.end()
    if total > _MAX_NANOSECONDS:
        raise ValueError("out of range")
    return -total if negative else total


def format_duration(nanoseconds: int) -> str:
    """Write a duration as Go's `Duration.String` does: `1h30m0s`, `1m30s`, `1.5s`, `250ms`, `1.5µs`, `0s`, `-5s`."""
    sign = "-" if nanoseconds < 0 else ""
    rest = abs(nanoseconds)
    for unit in ("s", "ms", "µs", "ns"):
        if rest >= _NANOSECONDS[unit]:
            break
    else:
        return "0s"
    if unit != "s":
        return f"{sign}{_decimal(rest, _NANOSECONDS[unit])}{unit}"
    minutes, below = divmod(rest, _NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    shown = f"{_decimal(below, _NANOSECONDS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}"
    return f"{sign}{minutes}m{shown}" if minutes else f"{sign}{shown}"


def _decimal(value: int, unit: int) -> str:
    """`value / unit` as an exact decimal without trailing zeros."""
    whole, below = divmod(value, unit)
    if not below:
        return str(whole)
    return f"{whole}.{below:0{len(str(unit)) - 1}d}".rstrip("0")
