"""Topic `commands.dead`: commands that nobody could decode, kept so that somebody can look at them.

A dead letter has the command's key, value and headers, and two headers more: `dead-reason`, why it could not be
decoded, and `dead-source`, where it is: `<topic>/<partition>/<offset>`. What is large is cut, and a third header,
`dead-cut`, names the parts; the whole command is at its source until it expires there.
"""

from typing import Final

from msgspec import Struct

from schemas.records import Headers, Record

MAX_KEY_BYTES: Final = 1024
MAX_VALUE_BYTES: Final = 1024 * 1024
MAX_HEADERS_BYTES: Final = 64 * 1024
"""Most bytes that are kept of each part. A command may be as large as the topic takes, and larger if it was compressed:
topic `commands.dead` would refuse it for ever, and nothing behind it would be decided."""
HEADER_BYTES: Final = 10
"""Most bytes of a header beside its name and content: their lengths. Without them, millions of empty headers would
count for nothing."""


class DeadLetter(Struct, frozen=True):
    """A record of the topic."""

    key: bytes | None
    value: bytes
    headers: Headers
    timestamp_ms: int | None = None
    """When it was made: when it is appended."""


def dead_letter(topic: str, partition: int, command: Record, reason: str) -> DeadLetter:
    """The dead letter of a command.

    Args:
        topic: name of the topic that the command is from.
        partition: where it is there.
        command: what could not be decoded.
        reason: why.
    """
    key, value = command.key, command.value or b""
    headers: list[tuple[str, bytes | None]] = []
    room = MAX_HEADERS_BYTES
    for name, content in command.headers:
        room -= HEADER_BYTES + len(name.encode()) + len(content or b"")
        if room < 0:
            break
        headers.append((name, content))
    sizes = (("key", len(key or b"") > MAX_KEY_BYTES), ("value", len(value) > MAX_VALUE_BYTES), ("headers", room < 0))
    cut = [name for name, too_large in sizes if too_large]
    headers.append(("dead-reason", reason.encode()))
    headers.append(("dead-source", f"{topic}/{partition}/{command.offset}".encode()))
    if cut:
        headers.append(("dead-cut", ",".join(cut).encode()))
    return DeadLetter(key if key is None else key[:MAX_KEY_BYTES], value[:MAX_VALUE_BYTES], headers)
