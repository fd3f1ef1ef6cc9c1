"""The log that restarts are measured on is one that an engine could have written."""

from engine.core.shard import Shard
from schemas.commands import SendEvent
from schemas.epochs import EpochFilter, is_claim
from schemas.events import InstanceEnded
from schemas.kafka import NewTopic
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.records import RecordCodec
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS, partition_of
from tests.performance.written_log import EVENT, WrittenLog
from tests.simulation.loop import START, simulate

SETTINGS = KafkaSettings(partitions=3)


async def written(*, waiting: int, finished: int) -> tuple[WrittenLog, dict[int, Shard]]:
    """A log, and what its partitions say."""
    cluster, codec, shards = MemoryCluster(), RecordCodec(), dict[int, Shard]()
    cluster.create(NewTopic(EVENTS, SETTINGS.partitions, 1))
    kafka = MemoryKafka(cluster)
    log = WrittenLog(kafka, SETTINGS)
    await log.write(waiting=waiting, finished=finished)
    for partition, records in cluster.records(EVENTS).items():
        shard, epochs = shards.setdefault(partition, Shard()), EpochFilter(partition=partition)
        assert is_claim(records[0])
        for record in records:
            if epochs.admits(record):
                event = codec.decode_event(record)
                assert partition_of(event.aggregate_id.encode(), SETTINGS.partitions) == partition
                shard.replay(event.aggregate_id, (event.event,), event.offset)
        shard.settle()
    await kafka.kill()
    return log, shards


def test_all_that_waits_is_in_memory_and_nothing_else() -> None:
    log, shards = simulate(written(waiting=50, finished=70))
    assert sum(shard.instances for shard in shards.values()) == 50
    assert log.events == SETTINGS.partitions + 1 + 2 * 50 + 4 * 70


def test_instances_that_wait_end_by_the_event() -> None:
    log, shards = simulate(written(waiting=50, finished=0))
    for partition, ids in log.waiting.items():
        assert len(ids) == shards[partition].instances
        events = shards[partition].decide(ids[-1], SendEvent(name=EVENT), START).events
        assert isinstance(events[-1], InstanceEnded)
