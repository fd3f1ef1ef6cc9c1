"""Looks whether `events` is still the log that positions are about (see `schemas.log_integrity`).

A *look* asks Kafka for the id of the topic, for what partitions hold, and for the record of the newest claim that a
position knows of. It is made before a partition is read, and again every few seconds while one stands still. While
records come, each of them shows that all is well (`schemas.log_integrity.follows`, `schemas.epochs`). Then only the id
is looked at, now and then: records of another topic may fit by chance.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from projections.cancellation import to_its_end
from schemas.epochs import check_claim
from schemas.fillers import is_filler
from schemas.kafka import Kafka, KafkaFault, Limits, Member, Place, Reader, TopicFinder
from schemas.log_integrity import LogFault, check_begin, check_end, check_holes, check_identity
from schemas.records import Record

LOOK_SECONDS: Final = 5.0
"""Between two looks at a partition that stands still, so how long it goes on standing after a repair; and how old the
id of the topic may be that we go by."""
LOOK_TIMEOUT_SECONDS: Final = 6.0
"""Deadline of a look. Without it a broker that hangs would keep a partition from being read after it is back."""
SCAN_SECONDS: Final = 2.0
"""How long one look searches for fillers. The next look goes on where this one was: a long log must not make all looks
run into their deadline."""
TAKE_SECONDS: Final = 0.5
"""How long one look for records takes."""


class Position(Protocol):
    """How far a reader is."""

    @property
    def next_offset(self) -> int:
        """Of the record that comes next."""

    @property
    def epoch(self) -> int:
        """The newest claim before it; -1 without one."""

    @property
    def topic_id(self) -> str:
        """Kafka's id of the topic that the offset is of; empty where it is not known."""


class Look(Struct, frozen=True):
    """What was found."""

    topic_id: str
    """Empty where the broker does not tell it."""
    faults: dict[int, LogFault]
    """By partition; all others are what they are known to be."""
    ends: dict[int, int]
    repaired: dict[int, int]
    """By partition, of those that were asked for: records before this offset stop nobody (see `schemas.fillers`)."""


class LogWatch:
    """Looks at the log. Who is cancelled waits for the end of a question: its connection would stay open.

    Args:
        kafka: where it is.
        topic: its name, with the prefix.
        clock: seconds that never go back.
    """

    def __init__(self, kafka: Kafka, topic: str, clock: Callable[[], float]):
        self._kafka = kafka
        self._topic = topic
        self._clock = clock
        self._finder: TopicFinder | None = None
        self._asking = asyncio.Lock()
        self._topic_id = ""
        self._asked_at: float | None = None
        self._scans: dict[int, _Scan] = {}

    def close(self) -> None:
        """Close the connection."""
        if self._finder is not None:
            self._finder.close()

    async def look(self, positions: Mapping[int, Position], unclaimed: Collection[int] = ()) -> Look:
        """Look at partitions.

        Args:
            positions: by partition.
            unclaimed: those where a record without its claim was found. A repair may say by a filler that it is known.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """
        return await to_its_end(self._look(positions, unclaimed))

    async def topic_id(self) -> str:
        """The id of the topic, not older than `LOOK_SECONDS`; empty where the broker does not tell it.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """
        if self._is_old:
            await to_its_end(self._ask_once())
        return self._topic_id

    async def check_holes(
        self, member: Member, place: Place, position: int, records: Sequence[Record]
    ) -> tuple[Sequence[Record], LogFault | None]:
        """Look what is wrong with records that a member has handed over, see `schemas.log_integrity.check_holes`.

        Raises:
            KafkaFault: Kafka is away.
        """
        oldest = (await member.limits([place]))[place].oldest
        return await check_holes(place.partition, position, records, oldest, partial(self._marks, place))

    async def _marks(self, place: Place, start: int, stop: int) -> frozenset[int]:
        async with self._kafka.reader() as reader:
            return await reader.marks(place, start, stop)

    @property
    def _is_old(self) -> bool:
        return self._asked_at is None or self._clock() - self._asked_at >= LOOK_SECONDS

    async def _ask_once(self) -> None:
        async with self._asking:
            if self._is_old:  # nobody else has asked meanwhile
                await self._ask()

    async def _look(self, positions: Mapping[int, Position], unclaimed: Collection[int]) -> Look:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                topic_id = await self._ask()
                async with self._kafka.reader() as reader:
                    limits = await reader.limits([Place(self._topic, partition) for partition in positions])
                    return await self._compare(reader, topic_id, limits, positions, unclaimed)
        except TimeoutError as error:
            raise KafkaFault("Kafka does not tell in time what the log holds") from error

    async def _ask(self) -> str:
        if self._finder is None:
            self._finder = self._kafka.topic_finder()
        found = await self._finder.find(self._topic)
        if found is None:
            raise KafkaFault(f"topic {self._topic} does not exist")
        self._topic_id, self._asked_at = found.id, self._clock()
        return found.id

    async def _compare(
        self,
        reader: Reader,
        topic_id: str,
        limits: Mapping[Place, Limits],
        positions: Mapping[int, Position],
        unclaimed: Collection[int],
    ) -> Look:
        faults: dict[int, LogFault] = {}
        for place, found in limits.items():
            partition, position = place.partition, positions[place.partition]
            try:
                check_identity(position.topic_id, topic_id, partition=partition)
                check_begin(partition, position.next_offset, found.oldest)
                check_end(partition, position.next_offset, found.end)
            except LogFault as fault:
                faults[partition] = fault
        kept = {
            place: positions[place.partition].epoch
            for place, found in limits.items()
            if place.partition not in faults and positions[place.partition].epoch >= found.oldest
        }
        for place, record in (await _first(reader, kept)).items():
            try:
                check_claim(place.partition, kept[place], record)
            except LogFault as fault:
                faults[place.partition] = fault
        repaired = {
            partition: await self._filler(reader, partition, positions[partition].next_offset, limits)
            for partition in unclaimed
            if partition in positions and partition not in faults
        }
        return Look(topic_id, faults, {place.partition: found.end for place, found in limits.items()}, repaired)

    async def _filler(self, reader: Reader, partition: int, start: int, limits: Mapping[Place, Limits]) -> int:
        """The newest filler from `start` on that has been found so far; 0 without one."""
        place = Place(self._topic, partition)
        end, until = limits[place].end, self._clock() + SCAN_SECONDS
        scan = self._scans.get(partition)
        if scan is None or scan.start != start:
            scan = self._scans[partition] = _Scan(start, start)
        reader.read_from({place: scan.next_offset})
        while scan.next_offset < end and self._clock() < until:
            for record in (await reader.take(TAKE_SECONDS)).get(place, ()):
                if is_filler(record):
                    scan.filler = record.offset
            scan.next_offset = await reader.position(place)
        return scan.filler


class _Scan(Struct):
    """How far a partition was searched for fillers, from where on."""

    start: int
    next_offset: int
    filler: int = 0


async def _first(reader: Reader, offsets: Mapping[Place, int]) -> dict[Place, Record]:
    """The first record of each partition from its offset on. There is one."""
    found: dict[Place, Record] = {}
    if offsets:
        reader.read_from(offsets)
    while len(found) < len(offsets):
        for place, records in (await reader.take(TAKE_SECONDS)).items():
            found.setdefault(place, records[0])
    return found


async def whole_log(reader: Reader, topic: str) -> dict[int, int]:
    """Up to where the partitions of a topic must be read now, see `Limits.read_to`.

    Raises:
        KafkaFault: Kafka is away or refuses; or there is no such topic, else nobody would be behind it.
    """
    count = await reader.partitions(topic)
    if not count:
        raise KafkaFault(f"there is no topic {topic}")
    limits = await reader.limits([Place(topic, partition) for partition in range(count)])
    return {place.partition: found.read_to for place, found in limits.items()}
