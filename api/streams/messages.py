"""What streams send: messages in the format of server-sent events.

| event | data | id |
|---|---|---|
| `instance` | the instance, as GET answers it | names its state; in a list: how far the stream is |
| `left` | `{"id"}` of an instance that has changed and does not pass the list's filters | as above |
| `end` | `{"id"}` of the instance that has ended; the stream ends | names the end |
| `open` | `{}`: what changes in the list from here on is told | how far the stream is |
| `reset` | `{}`: changes may have been missed; read the list | how far the stream is |
| `heartbeat` | `{}` | how far the stream is, for lists |
| `unavailable` | the error, as answers have it; the stream goes on when that is over | |
| `expired` | the error; the token is not good any more, and the stream ends | |
"""

import base64
import hashlib
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Final, Literal
from uuid import UUID

import msgspec
from sse_starlette import ServerSentEvent

from projections.read_rows import InstanceRow
from schemas.resources import Error

Event = Literal["instance", "left", "end", "open", "reset", "heartbeat", "unavailable", "expired"]

NOTHING: Final = "{}"
DIGEST_BYTES: Final = 12
"""With much fewer, two states of an instance could have the same id, and the newer one would not be sent."""
END_SUFFIX: Final = ".end"
"""Behind the id of the last state: the client has been told of the end, too."""


class State:
    """An instance as it was read. It is made a text once, for the first stream that wants it.

    Args:
        row: as it was read.
        render: makes it what GET answers.
        keys: those that it has of the keys that lists are filtered by.
    """

    def __init__(self, row: InstanceRow, render: Callable[[InstanceRow], object], keys: Collection[str] = ()):
        self.row, self.keys = row, keys
        self._render = render

    @cached_property
    def content(self) -> str:
        """As JSON, in one line."""
        return msgspec.json.encode(self._render(self.row)).decode()

    @cached_property
    def digest(self) -> str:
        """Tells this state from any other of the instance, on every replica and without memory."""
        digest = hashlib.blake2b(self.content.encode(), digest_size=DIGEST_BYTES).digest()
        return base64.urlsafe_b64encode(digest).decode()

    @property
    def end_id(self) -> str:
        """The id of the message that tells of its end."""
        return self.digest + END_SUFFIX


def message(event: Event, data: str = NOTHING, id: str | None = None) -> bytes:
    """A message.

    Args:
        event: its name.
        data: JSON in one line.
        id: what the client sends as `Last-Event-ID` when it comes back.
    """
    return ServerSentEvent(data, event=event, id=id, sep="\n").encode()


def id_data(id: UUID) -> str:
    """The data of a message that only names an instance."""
    return f'{{"id":"{id}"}}'


def error_data(text: str) -> str:
    """The data of a message about something that is wrong."""
    return msgspec.json.encode(Error(error_code="INTERNAL", error_message=text)).decode()
