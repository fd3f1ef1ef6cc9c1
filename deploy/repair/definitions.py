"""What topic `definitions` lacks. The read model knows all workflows and triggers: they never change once created."""

from collections.abc import Sequence
from contextlib import aclosing

from deploy.repair.partition_log import PartitionLog
from schemas.current import Current, decode_current
from schemas.kafka import Kafka, Place
from schemas.records import UndecodableRecord
from schemas.settings import KafkaSettings
from schemas.topics import DEFINITIONS, topic_name


async def missing_definitions(kafka: Kafka, settings: KafkaSettings, known: Sequence[Current]) -> list[Current]:
    """Those of the definitions that are known of which the topic has neither a record nor a deletion.

    An engine defines something before the read model can know of it.

    Args:
        kafka: where the topic is.
        settings: its prefix.
        known: the definitions of the read model.

    Raises:
        KafkaFault: Kafka is away or refuses.
    """
    place, found = Place(topic_name(settings, DEFINITIONS), 0), set[str]()
    async with kafka.reader() as reader:
        limits = (await reader.limits([place]))[place]
        async with aclosing(PartitionLog(reader, place, limits).read(limits.oldest, limits.end)) as records:
            async for record in records:
                try:
                    found.add(decode_current(record).id)
                except UndecodableRecord:
                    continue  # somebody else's
    return [current for current in known if current.id not in found]
