"""Whose the read model is: a wrong prefix or schema looks like a topic that was created again."""

from collections.abc import Collection

from schemas.kafka import Kafka
from schemas.topics import EVENTS


async def topic_with_id(kafka: Kafka, ids: Collection[str]) -> str | None:
    """The topic of events of another installation that has one of these ids, if this Kafka has it.

    Args:
        kafka: where topics are.
        ids: of topics, as positions have them.

    Raises:
        KafkaFault: Kafka is away or refuses.
    """
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
