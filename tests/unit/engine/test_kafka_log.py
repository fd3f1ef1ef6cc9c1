"""What an engine reads of the log, on a cluster in memory."""

from engine.kafka_log import KafkaEventLog
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
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
