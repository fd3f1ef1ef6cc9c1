"""Records that do not follow on a position: whether some are lost, or only others' transactions have ended there."""

from collections.abc import Sequence

from schemas.kafka.ports import Kafka, Member, Place
from schemas.log_integrity import LogFault, check_records
from schemas.records import Record


async def check_holes(kafka: Kafka, member: Member, place: Place, position: int, records: Sequence[Record]) -> None:
    """Check records of `events`, where `follows` says that they don't.

    Args:
        kafka: looks for marks.
        member: has handed them over.
        place: the partition.
        position: the offset of the record that comes next.
        records: what was read from there on, in order.

    Raises:
        LogFault: records are missing.
        KafkaFault: Kafka is away.
    """
    oldest = (await member.limits([place]))[place].oldest
    try:
        check_records(place.partition, position, records, oldest)
    except LogFault as fault:
        if fault.reason != "gap" or oldest > position:
            raise
    else:
        return
    async with kafka.reader() as reader:
        marks = await reader.marks(place, position, records[-1].offset)
    check_records(place.partition, position, records, oldest, marks=marks)
