"""How far listening for triggers is: topic `triggers.positions`, compacted, one partition, read whole by every engine.

| key | value | says |
|---|---|---|
| `ledger` | `ListeningBegan` | where the partitions of topic `ledger` ended when an engine first saw it |
| `ledger/3` | `ListeningPosition` | the first message of its partition 3 that was not looked at yet |

Both carry Kafka's id of the topic. A topic that was deleted and created again has another id, so that positions of the
first one do not count for it.
"""

import time
from typing import Final

import msgspec
from msgspec import Struct

from schemas.records import NewRecord, Record, UndecodableRecord


class ListeningBegan(Struct, frozen=True):
    """Messages before these offsets, by partition, were there before anybody listened."""

    topic_id: str
    begins: list[int]


class ListeningPosition(Struct, frozen=True):
    """All messages before this offset have been looked at, and what they fired stands in `commands`."""

    topic_id: str
    next_offset: int


_BEGAN: Final = msgspec.json.Decoder(ListeningBegan)
_POSITION: Final = msgspec.json.Decoder(ListeningPosition)


def encode_listening(topic: str, partition: int | None, row: ListeningBegan | ListeningPosition) -> NewRecord:
    """The record of a row. Without a partition it is about the topic."""
    key = topic if partition is None else f"{topic}/{partition}"
    return NewRecord(key.encode(), msgspec.json.encode(row), [], int(time.time() * 1000))


def decode_listening(record: Record) -> tuple[str, int | None, ListeningBegan | ListeningPosition | None]:
    """Topic, partition and row of a record; without a row it was deleted.

    Raises:
        UndecodableRecord: not one of ours, or of a newer build.
    """
    try:
        topic, slash, number = (record.key or b"").decode().partition("/")
        partition = int(number) if slash else None
        if record.value is None:
            return topic, partition, None
        row = _BEGAN.decode(record.value) if partition is None else _POSITION.decode(record.value)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UndecodableRecord(f"position of listening: {error!r}") from error
    return topic, partition, row
