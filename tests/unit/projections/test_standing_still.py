"""What projections and publisher do when a partition of their log was cut, created again, or has lost records."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

import pytest
from msgspec.structs import replace

from projections.log_watch import LOOK_SECONDS
from projections.publisher.positions import PublishedPosition, position_record, published_position
from projections.publisher.public_writer import PublicWriter
from projections.rows import ReadPosition
from projections.standstills import TELL_SECONDS
from schemas import events
from schemas.fillers import filler
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryKafka
from schemas.kafka.memory.log import PartitionLog
from schemas.topics import EVENTS_PUBLISHED, public_topic, topic_name
from tests.simulation.loop import START, simulate
from tests.unit.projections.test_process import PARTITIONS, SETTINGS, TOPIC, Process, World, until

READERS: Final = ("the read model", "the publisher")


class Broken(World):
    """A world whose log is about to break."""

    def run_instances(self, count: int = 2 * PARTITIONS) -> None:
        for _ in range(count):
            self.run_instance()

    def log(self, partition: int = 1) -> PartitionLog:
        return self.cluster.log(Place(TOPIC, partition))

    @property
    def end(self) -> int:
        return self.log().limits().end

    def read(self, partition: int = 1) -> ReadPosition:
        return self.database.tables.positions.get(partition, ReadPosition())

    def published_position(self, partition: int = 1) -> PublishedPosition:
        records = self.cluster.records(topic_name(SETTINGS, EVENTS_PUBLISHED), committed_only=True)[partition]
        return (published_position(partition, records[-1]) if records else None) or PublishedPosition()

    async def publish_from(self, position: PublishedPosition, partition: int = 1) -> None:
        """Move the publisher's position, as a repair does."""
        writer = PublicWriter(MemoryKafka(self.cluster), SETTINGS, partition)
        await writer.open()
        await writer.publish([], position)
        await writer.close()

    def abort(self, place: Place, position: PublishedPosition) -> None:
        """Leave a position in a topic that was not committed."""
        log = self.cluster.log(place)
        log.append([position_record(place.partition, position, 0)], 0, "aborted")
        log.end_transaction("aborted", committed=False)

    @property
    def all_is_published(self) -> bool:
        return len(self.published) == len(self.ids)

    def fill(self, count: int, partition: int = 1) -> None:
        self.cluster.append(Place(TOPIC, partition), [filler(0) for _ in range(count)])

    def claim(self, partition: int = 1) -> None:
        self.epochs[partition] = self._put(partition, "claim", events.PartitionClaimed(at=START, owner="engine"))

    def create_again(self) -> None:
        self.cluster.delete(TOPIC)
        self.cluster.create(NewTopic(TOPIC, PARTITIONS, 1))


def faults(process: Process) -> set[tuple[str, str]]:
    """Partition and reason of what is shown."""
    metrics = [metric for metric in process.registry.collect() if metric.name == "orchestration_log_fault"]
    return {(s.labels["partition"], s.labels["reason"]) for metric in metrics for s in metric.samples if s.value == 1}


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def stand_still(process: Process, *expected: tuple[str, str]) -> None:
    """Wait until both readers of these partitions do."""
    await until(lambda: all(process.projections._standstills.of(reader) == dict(expected) for reader in READERS))
    assert faults(process) == set(expected)


@pytest.fixture(autouse=True)
def _all_lines(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO):
        yield


def test_where_others_have_ended_transactions_nobody_stands_still() -> None:
    async def main() -> None:
        world = Broken()
        async with Process(world, "a") as process:
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
            names = ("one", "another", "a third")
            for name in names:
                world.log().append([filler(0)], 0, name)
            for name in names:
                world.log().end_transaction(name, committed=False)
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
            assert not faults(process)

    simulate(main())


def test_all_before_a_gap_is_read_and_the_rest_once_somebody_has_moved_the_positions() -> None:
    async def main() -> None:
        world = Broken()
        async with Process(world, "a") as process:
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
            start = world.end
            world.run_instances()
            world.run_instances()
            gap = range(start + 2, start + 4)
            world.log().compact(lambda record: record.offset not in gap)
            await stand_still(process, ("1", "gap"))
            assert (world.read().next_offset, world.published_position().next_offset) == (gap.start, gap.start)

    simulate(main())


def test_a_log_that_was_cut_stands_still_until_it_is_filled(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = Broken()
        async with Process(world, "a") as process:
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
            end, position = world.end, world.published_position()
            world.log().cut(5)
            await stand_still(process, ("1", "cut"))
            assert process.projections.ready, "it does all that it can"
            assert process.projections.checks["standing_still"] == {"1": "cut"}
            assert world.end == 5
            world.run_instance()  # on partition 0
            await until(lambda: len(world.published) == len(world.ids) == len(world.database.tables.instances))
            await asyncio.sleep(TELL_SECONDS / 2)
            assert len(told(caplog)) == 2, "each reader says it once"
            assert all("Kafka has lost what it had acknowledged" in text for text in told(caplog))
            await asyncio.sleep(TELL_SECONDS)
            assert len(told(caplog)) == 4, "and again after a while"
            assert (world.read().next_offset, world.published_position()) == (end, position)
            world.fill(end - 5)
            world.claim()
            await until(lambda: not faults(process))
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
        assert sorted(text for text in lines(caplog) if text.endswith("goes on")) == [
            "the publisher: partition 1 goes on",
            "the read model: partition 1 goes on",
        ]

    simulate(main())


def test_records_that_were_deleted_unread_stop_their_partition_until_the_loss_is_accepted() -> None:
    async def main() -> None:
        world = Broken()
        world.run_instances()
        world.log().expire(5)  # the claim and all of the first instance
        async with Process(world, "a") as process:
            await stand_still(process, ("1", "gap"))
            await until(lambda: len(world.published) == 4)
            assert world.read() == ReadPosition(topic_id="")
            assert world.published_position() == PublishedPosition()
            lost = world.ids.pop(1)
            world.database.tables.positions[1] = replace(world.read(), next_offset=5, epoch=world.epochs[1])
            await world.publish_from(PublishedPosition(5, world.epochs[1]))
            await until(lambda: world.caught_up and world.all_is_published and not faults(process))
        assert lost not in world.database.tables.instances
        world.check()

    simulate(main())


def test_a_single_record_that_was_deleted_unread_is_noticed() -> None:
    async def main() -> None:
        world = Broken()
        world.run_instances()
        world.log().expire(1)
        async with Process(world, "a") as process:
            await stand_still(process, ("1", "gap"))

    simulate(main())


def test_records_that_are_deleted_while_others_are_read_are_missed() -> None:
    async def main() -> None:
        world = Broken()
        async with Process(world, "a") as process:
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
            end = world.end
            world.fill(3)
            world.log().expire(end + 3)
            # Nothing is left to be read. That the end goes on tells it.
            await until(lambda: process.projections.checks["standing_still"] == {"1": "gap"})
            world.claim()
            await stand_still(process, ("1", "gap"))
            assert world.read().next_offset == world.published_position().next_offset == end

    simulate(main())


def test_a_topic_that_was_created_again_is_noticed_though_its_offsets_fit() -> None:
    async def main() -> None:
        world = Broken()
        async with Process(world, "a") as process:
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
            ids, number = list(world.ids), world.cluster.topics[TOPIC].id
            assert {world.read(p).topic_id for p in range(PARTITIONS)} == {number}
            assert {world.published_position(p).topic_id for p in range(PARTITIONS)} == {number}
            # Everything in one moment: to the last record it looks as if nothing had happened.
            world.create_again()
            for partition in range(PARTITIONS):
                world.fill(9, partition)
            await stand_still(process, *((str(p), "remade") for p in range(PARTITIONS)))
            for partition in range(PARTITIONS):
                world.claim(partition)
            world.run_instances(PARTITIONS)
            await asyncio.sleep(3 * LOOK_SECONDS)
            assert set(world.database.tables.instances) == set(world.published) == set(ids)
            # As the repair does it, which has filled the offsets.
            for partition in range(PARTITIONS):
                new = world.cluster.topics[TOPIC].id
                tables = world.database.tables
                tables.positions[partition] = replace(world.read(partition), topic_id=new)
                await world.publish_from(replace(world.published_position(partition), topic_id=new), partition)
            await until(lambda: world.caught_up and world.all_is_published and not faults(process))
        world.check()

    simulate(main())


def test_a_record_without_its_claim_stops_its_partition_until_a_filler_lies_behind_it() -> None:
    async def main() -> None:
        world = Broken()
        async with Process(world, "a") as process:
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
            world.epochs[1] = 7  # there is no claim
            world.run_instances(PARTITIONS)
            end = world.end
            await stand_still(process, ("1", "claim"))
            assert world.read().next_offset == end - 4
            lost = world.ids.pop(-2)
            world.fill(1)
            world.claim()
            await until(lambda: world.caught_up and world.all_is_published and not faults(process))
        assert lost not in world.database.tables.instances
        world.check()

    simulate(main())


def test_a_log_that_was_cut_and_has_grown_again_is_noticed_by_its_claim() -> None:
    async def main() -> None:
        world = Broken()
        world.run_instances()
        world.claim()
        world.run_instances(PARTITIONS)
        async with Process(world, "a"):
            await until(lambda: world.caught_up and world.all_is_published)
            end, epoch = world.end, world.epochs[1]
        assert epoch == 9
        world.log().cut(epoch)
        world.epochs[1] = 0
        world.run_instances(PARTITIONS)
        world.run_instances(PARTITIONS)
        assert world.end > end
        async with Process(world, "b") as process:
            await stand_still(process, ("1", "claim"))
            assert world.read().next_offset == world.published_position().next_offset == end

    simulate(main())


def test_what_is_written_before_a_record_without_its_claim_counts() -> None:
    async def main() -> None:
        world = Broken()
        world.run_instances()
        world.epochs[1] = 7
        world.run_instances(PARTITIONS)
        async with Process(world, "a") as process:
            await stand_still(process, ("1", "claim"))
            await until(lambda: len(world.database.tables.instances) == len(world.published) == len(world.ids) - 1)
            assert world.read().next_offset == world.published_position().next_offset == 9

    simulate(main())


def test_positions_of_an_earlier_build_learn_their_topic() -> None:
    async def main() -> None:
        world = Broken()
        world.run_instances()
        async with Process(world, "a"):
            await until(lambda: world.caught_up and world.all_is_published)
        for partition in range(PARTITIONS):
            world.database.tables.positions[partition] = replace(world.read(partition), topic_id="")
            await world.publish_from(replace(world.published_position(partition), topic_id=""), partition)
        world.run_instances()
        async with Process(world, "b") as process:
            await until(lambda: world.caught_up and world.all_is_published)
            assert not faults(process)
        topic_id = world.cluster.topics[TOPIC].id
        assert {world.read(p).topic_id for p in range(PARTITIONS)} == {topic_id}
        assert {world.published_position(p).topic_id for p in range(PARTITIONS)} == {topic_id}

    simulate(main())


def test_an_older_backup_learns_its_topic_while_it_is_read() -> None:
    async def main() -> None:
        world = Broken()
        world.run_instances()
        async with Process(world, "a"):
            await until(lambda: world.caught_up and world.all_is_published)
            topic_id = world.read().topic_id
            backup = world.database.backup()
            backup.positions[1] = replace(world.read(), topic_id="")
            world.database.restart(backup)
            await until(lambda: world.read().topic_id == "")
            await until(lambda: world.read().topic_id == topic_id)

    simulate(main())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("aborted", [False, True], ids=["empty", "an aborted transaction"])
def test_a_publisher_that_has_lost_its_positions_publishes_nothing_again(aborted: bool) -> None:
    async def main() -> None:
        world = Broken()
        name = topic_name(SETTINGS, EVENTS_PUBLISHED)
        async with Process(world, "a"):
            world.run_instances()
            await until(lambda: world.caught_up and world.all_is_published)
        known, published = world.published_position(), len(world.published)
        world.cluster.delete(name)
        world.cluster.create(NewTopic(name, PARTITIONS, 1))
        if aborted:  # by a publisher that ran meanwhile
            for number in range(PARTITIONS):
                world.abort(Place(name, number), known)
        async with Process(world, "b") as process:
            await until(lambda: len(faults(process)) == PARTITIONS)
            assert faults(process) == {(str(number), "remade") for number in range(PARTITIONS)}
            await asyncio.sleep(LOOK_SECONDS + 0.3)
            assert len(world.published) == published
            await world.publish_from(known)
            await until(lambda: ("1", "remade") not in faults(process))
            assert len(world.published) == published

    simulate(main())


def test_a_publisher_whose_first_transaction_was_aborted_begins_at_the_start() -> None:
    async def main() -> None:
        world = Broken()
        world.run_instances()
        for topic in (public_topic(SETTINGS), topic_name(SETTINGS, EVENTS_PUBLISHED)):
            for number in range(PARTITIONS):
                world.abort(Place(topic, number), PublishedPosition(1, 0))
        async with Process(world, "a") as process:
            await until(lambda: world.all_is_published)
            assert faults(process) == set()

    simulate(main())
