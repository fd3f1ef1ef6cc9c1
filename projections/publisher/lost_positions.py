"""When `events.published` was deleted and created again: what tells it, and where publishing goes on.

Without a position a publisher would begin at the start of the log, and publish everything a second time. But the public
topic has what was published, and each public event names the event that it follows from.
"""

import msgspec
from msgspec import Struct

from projections.publisher.public_events import APP
from schemas.kafka import Kafka, Place, search_tail
from schemas.log_integrity import LogFault
from schemas.records import Record, read_number
from schemas.topics import EVENTS_PUBLISHED


class _Envelope(Struct):
    idempotency_key: str


_decoder = msgspec.json.Decoder(_Envelope)


async def check_not_lost(kafka: Kafka, published: Place, public: Place) -> None:
    """Check that nothing was published yet, where there is no position. The caller sets a deadline.

    Records of `events.published` that were deleted by hand are another thing: somebody wants all published again. The
    oldest offset tells it. The ends tell nothing: a publisher that ran while the topic was created again may have left
    a transaction that was aborted, and so may the first one of all, which may have come to the public topic alone.

    Args:
        kafka: where the topics are.
        published: the partition of `events.published` that has no position.
        public: the partition of the public topic.

    Raises:
        LogFault: `remade`: positions are lost.
        KafkaFault: Kafka is away.
    """
    async with kafka.reader(committed_only=True) as reader:
        limits = await reader.limits([published, public])
    positions, events = limits[published], limits[public]
    if positions.oldest > 0 or events.end == 0:
        return
    if events.oldest > 0 or await last_published(kafka, public) >= 0:
        text = "it has no position, but public events were published: the topic was deleted and created again"
        raise LogFault("remade", EVENTS_PUBLISHED, published.partition, text)


async def last_published(kafka: Kafka, public: Place) -> int:
    """The offset of the event that the newest public event follows from; -1 if there is none.

    Args:
        kafka: where the topic is.
        public: the partition of the public topic.

    Raises:
        KafkaFault: Kafka is away.
    """

    def of(found: int | None, record: Record) -> int | None:
        event = _event_of(public.partition, record)
        return found if event < 0 else max(event, -1 if found is None else found)

    async with kafka.reader(committed_only=True) as reader:
        found = await search_tail(reader, public, of)
    return -1 if found is None else found


def _event_of(partition: int, record: Record) -> int:
    """The offset of the event that a public event of ours follows from; -1 if it is somebody else's."""
    try:
        key = _decoder.decode(record.value or b"").idempotency_key
    except (ValueError, RecursionError):  # msgspec's errors are among them
        return -1
    begin = f"{APP}-{partition}-"
    number = read_number(key.removeprefix(begin).encode()) if key.startswith(begin) else None
    return -1 if number is None else number
