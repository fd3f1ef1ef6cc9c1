"""Whose the read model is: a wrong prefix or schema looks like a topic that was created again."""

from collections.abc import Iterable

from projections.rows import ReadPosition
from schemas.kafka import Kafka
from schemas.topics import EVENTS


async def other_owner(kafka: Kafka, positions: Iterable[ReadPosition], events_id: str) -> str | None:
    """The topic of events of another installation that a read model is of, if this Kafka has it.

    Args:
        kafka: where topics are.
        positions: of the read model.
        events_id: Kafka's id of our topic; empty if it is not known.

    Raises:
        KafkaFault: Kafka is away or refuses.
    """
    ids = {position.topic_id for position in positions} - {"", events_id}
    if not events_id or not ids:
        return None
    async with kafka.admin() as admin:
        names = sorted(name for name in await admin.partitions() if name.endswith(EVENTS))
    finder = kafka.topic_finder()
    try:
        for name in names:
            found = await finder.find(name)
            if found is not None and found.id in ids:
                return name
    finally:
        finder.close()
    return None
