"""Records that do not follow on a position: whether some are lost, or only others' transactions have ended there."""

from collections.abc import Sequence

from schemas.kafka.ports import Kafka, Member, Place
from schemas.log_integrity import LogFault, before_gap, check_records
from schemas.records import Record


async def check_holes(
    kafka: Kafka, member: Member, place: Place, position: int, records: Sequence[Record]
) -> tuple[Sequence[Record], LogFault | None]:
    """Look what is wrong with records of `events`, where `follows` says that they don't.

    Args:
        kafka: looks for marks.
        member: has handed them over.
        place: the partition.
        position: the offset of the record that comes next.
        records: what was read from there on, in order.

    Returns:
        Those that follow, and why the others don't: None if all do.

    Raises:
        KafkaFault: Kafka is away.
    """
    oldest = (await member.limits([place]))[place].oldest
    try:
        check_records(place.partition, position, records, oldest)
    except LogFault as fault:
        if fault.reason != "gap" or oldest > position:
            return (), fault
    else:
        return records, None
    async with kafka.reader() as reader:
        marks = await reader.marks(place, position, records[-1].offset)
    try:
        check_records(place.partition, position, records, oldest, marks=marks)
    except LogFault as fault:
        return before_gap(records, position, marks), fault
    return records, None
