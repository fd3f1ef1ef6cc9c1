"""What an engine reads of the log, on a cluster in memory."""

import pytest

from engine.kafka_log import KafkaEventLog
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.log_integrity import LogFault
from schemas.records import NewRecord, RecordCodec
from schemas.settings import EngineSettings


async def test_of_records_that_have_expired_nothing_is_read() -> None:
    cluster, place = MemoryCluster(), Place("events", 0)
    cluster.create(NewTopic("events", 1, 1))
    cluster.append(place, [NewRecord(b"k", b"v", [], 0)] * 5)
    cluster.log(place).expire(3)
    log = KafkaEventLog(MemoryKafka(cluster), EngineSettings(), RecordCodec())
    offsets = [[[record.offset for record in found] async for found in log.read(0, 1, stop)] for stop in (2, 3, 4, 5)]
    assert offsets == [[], [], [[3]], [[3, 4]]]
    await log.close()


@pytest.mark.parametrize(
    ("commands", "events", "setting", "used"), [(2, 2, 2, 2), (3, 2, 2, 2), (3, 3, 2, 2), (3, 2, 16, 2), (2, 2, 16, 2)]
)
async def test_partitions_that_were_added_are_not_used(commands: int, events: int, setting: int, used: int) -> None:
    cluster = MemoryCluster()
    cluster.create(NewTopic("commands", commands, 1))
    cluster.create(NewTopic("events", events, 1))
    log = KafkaEventLog(MemoryKafka(cluster), EngineSettings(partitions=setting), RecordCodec())
    assert [(await log.look(number)).partitions for number in range(used)] == [used] * used
    with pytest.raises(LogFault, match=f"it was added later, .* the first {used} partitions are used") as raised:
        await log.look(used)
    assert raised.value.reason == "partitions"
    await log.close()


async def test_partitions_that_have_events_are_used_whatever_is_set() -> None:
    """Else keys would move to others, if no snapshot knows how many there were."""
    cluster = MemoryCluster()
    for topic in ("commands", "events"):
        cluster.create(NewTopic(topic, 4, 1))
    log = KafkaEventLog(MemoryKafka(cluster), EngineSettings(partitions=2), RecordCodec())
    assert (await log.look(0)).partitions == 2
    cluster.append(Place("events", 2), [NewRecord(b"k", b"v", [], 0)])
    for number in range(4):
        with pytest.raises(LogFault, match=r"partition 2 has events, .* only the first 2 are used") as raised:
            await log.look(number)
        assert (raised.value.topic, raised.value.reason) == ("events", "partitions")
    await log.close()


async def test_commands_that_were_made_again_with_too_few_partitions_are_told() -> None:
    """By brokers that make topics by themselves, which know no other number than one."""
    cluster = MemoryCluster()
    cluster.create(NewTopic("commands", 1, 1))
    cluster.create(NewTopic("events", 4, 1))
    log = KafkaEventLog(MemoryKafka(cluster), EngineSettings(partitions=4), RecordCodec())
    cluster.append(Place("events", 3), [NewRecord(b"k", b"v", [], 0)])
    with pytest.raises(LogFault, match="partition 3 has events, and topic commands has only 1 partitions"):
        await log.look(0)
    await log.close()
