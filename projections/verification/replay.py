"""Reads the log from its start up to some positions."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry

from projections.metrics import Metrics
from projections.ports import Store
from projections.projector import Projector
from projections.rows import ReadPosition
from projections.verification.errors import CannotVerify
from schemas.fillers import is_filler
from schemas.kafka import Kafka, Place, Reader
from schemas.log_integrity import check_end
from schemas.records import Record

OnRead = Callable[[int], None]
"""Takes how many records were read since it was called last."""

TAKE_SECONDS: Final = 0.5
"""How long one look for records takes."""
MAX_RECORDS: Final = 5000
"""Records that are folded at once, which bounds memory and lets progress be shown."""
MAX_BEYOND: Final = 50_000
"""Records behind the positions that may come in vain. To ask for less costs half a second: the client waits for the
answer to what it has asked before."""
SKIPPED: Final = "orchestration_projections_undecodable_events_total"
SILENCE_SECONDS: Final = 30.0
"""Without a record for this long, although some are missing, Kafka counts as away."""


class Replay:
    """Folds the log into a store.

    Args:
        reader: of Kafka.
        asker: another one, for questions: behind a fetch that waits for news, one takes half a second.
        topic: name of the log.
        store: takes the rows.
        read: is called after each batch.
        finds_keys: whether instances are to be found by keys.
    """

    def __init__(
        self, reader: Reader, asker: Reader, topic: str, store: Store, read: OnRead, *, finds_keys: bool = True
    ):
        self._reader, self._asker, self._topic, self._read = reader, asker, topic, read
        self._beyond = 0
        self._metrics = Metrics(CollectorRegistry())
        self._projector = Projector(store, self._metrics, MAX_RECORDS, finds_keys=finds_keys)

    @property
    def positions(self) -> Mapping[int, ReadPosition]:
        """How far it is, by partition."""
        return self._projector.positions

    @property
    def skipped(self) -> bool:
        """Whether there were records that can't be decoded or stored."""
        return bool(self._metrics.registry.get_sample_value(SKIPPED))

    async def begin(self, partitions: int) -> None:
        """Begin at the start of the log.

        Raises:
            CannotVerify: it does not begin there any more.
            KafkaFault: Kafka is away or refuses.
        """
        limits = await self._asker.limits([Place(self._topic, number) for number in range(partitions)])
        for place, found in limits.items():
            if found.oldest > 0:
                raise CannotVerify(
                    f"partition {place.partition} of {place.topic} begins at offset {found.oldest}: what was before is"
                    " deleted, so nobody can tell what the read model should hold"
                )
        await self._projector.load(range(partitions))

    async def until(self, targets: Mapping[int, int]) -> None:
        """Fold the records of each partition from where it is to before its target.

        Raises:
            LogFault: the log does not go that far, or was cut before.
            CannotVerify: records were lost, or Kafka sends nothing.
            KafkaFault: Kafka is away or refuses.
        """
        ends = await self._asker.ends([Place(self._topic, partition) for partition in targets])
        for place, end in ends.items():
            check_end(place.partition, targets[place.partition], end)
        goals = {
            Place(self._topic, partition): target
            for partition, target in targets.items()
            if self.positions[partition].next_offset < target
        }
        self._reader.read_from({place: self.positions[place.partition].next_offset for place in goals})
        heard_at, self._beyond = time.monotonic(), 0
        while goals:
            taken = await self._reader.take(TAKE_SECONDS, MAX_RECORDS)
            if await self._take(taken, goals):
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENCE_SECONDS:
                raise CannotVerify(f"Kafka sends nothing more of {self._topic}; try again")

    async def behind(self) -> int:
        """How many records the log has behind those that were folded.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """
        ends = await self._asker.ends([Place(self._topic, partition) for partition in self.positions])
        return sum(max(0, end - self.positions[place.partition].next_offset) for place, end in ends.items())

    async def _take(self, taken: Mapping[Place, Sequence[Record]], goals: dict[Place, int]) -> bool:
        """Fold what lies before the goals, and remove those that are reached; whether anything has come."""
        for place, records in taken.items():
            stop = goals.get(place, 0)
            within = records if records[-1].offset < stop else [record for record in records if record.offset < stop]
            if within:
                _check(place, within)
                faults = await self._projector.project({place.partition: within})
                for fault in faults.values():
                    raise fault
                self._read(len(within))
            self._beyond += len(records) - len(within)
        # Behind markers of transactions too, which are not handed over.
        reached = [place for place, stop in goals.items() if await self._reader.position(place) >= stop]
        for place in reached:
            del goals[place]
        if self._beyond > MAX_BEYOND:
            self._beyond = 0
            self._reader.read_from({place: await self._reader.position(place) for place in goals})
        return bool(taken or reached)


def _check(place: Place, records: Sequence[Record]) -> None:
    for record in records:
        if not record.key and is_filler(record):
            raise CannotVerify(
                f"partition {place.partition} of {place.topic} has a filler at offset {record.offset}, in place of a"
                " record that was lost, so nobody can tell what the read model should hold"
            )


@asynccontextmanager
async def replaying(
    kafka: Kafka, topic: str, store: Store, read: OnRead, *, finds_keys: bool = True
) -> AsyncIterator[Replay]:
    """A replay with readers of its own.

    Raises:
        KafkaFault: Kafka is away or refuses.
    """
    async with kafka.reader() as reader, kafka.reader() as asker:
        yield Replay(reader, asker, topic, store, read, finds_keys=finds_keys)
