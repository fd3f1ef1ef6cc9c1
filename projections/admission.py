"""Which partitions a projector reads: those whose log is the one that their position is about.

    given by the group ──► position loaded ──► looked at ──► read ──► something does not fit: it stands still
                                  ▲                                                  │
                                  └──────────────── every few seconds ───────────────┘

A look asks Kafka, which takes time, so it runs beside the loop: what is read never waits for it.

A partition whose position another projector moves is left alone for a while, see `giving_way`.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Literal

from msgspec import Struct

from projections.cancellation import retrieve
from projections.giving_way import GivingWay
from projections.log_watch import LOOK_SECONDS, LogWatch
from projections.rows import ReadPosition
from projections.standstills import Standstills
from schemas.kafka import KafkaFault, Member, Place
from schemas.log_integrity import LogFault, check_identity

logger = logging.getLogger(__name__)

READER: Final = "the read model"
"""What stands still, as operators are told."""
RETRY_SECONDS: Final = 1.0
"""Pause after a look that failed. Without it a broker that is away would be asked in a tight loop."""
CLOSE_SECONDS: Final = 2.0
"""How long the looks under way may take to end. Without it a broker that hangs would hold up the end of the process."""


class _Partition(Struct):
    """A partition of this projector."""

    phase: Literal["new", "looking", "reading", "stopped", "left_alone"] = "new"
    """A new one has to be loaded."""
    looked: bool = False
    """Whether a look has found nothing wrong since the group gave it to us."""
    fault: LogFault | None = None
    """Why it stood still when it was last read; until a batch has been written again."""
    repaired: int = 0
    """Records before this offset need no claim (see `schemas.fillers`)."""
    due_at: float = 0.0
    """When it is to be loaded, if it is not read."""
    behind_at: int = -1
    """Where it was at the last check, if there was more to be read."""
    paused_seconds: float = 0.0
    """How long it is left alone, or was when it was not read before."""
    left_at: int = -1
    """Its position when it was left alone."""


class Admission:
    """The partitions that the group has given to this projector, and what is known about their log.

    Args:
        topic: name of the log.
        watch: looks at it.
        faults: told of what stands still.
        giving_way: says how long partitions are left alone that another projector moves.
        clock: seconds that never go back.
    """

    def __init__(
        self, topic: str, watch: LogWatch, faults: Standstills, giving_way: GivingWay, clock: Callable[[], float]
    ):
        self._topic = topic
        self._watch = watch
        self._faults = faults
        self._giving_way = giving_way
        self._clock = clock
        self._partitions: dict[int, _Partition] = {}
        self._looks: set[asyncio.Task[None]] = set()
        self._unnoted: dict[int, str] = {}
        self.joined = False
        """Whether the group has given partitions, maybe none."""

    # What the group says: only noted here, since Postgres may be away now

    def assigned(self, places: frozenset[Place]) -> None:
        """The group has given these partitions to this projector, and no others."""
        given = {place.partition for place in places}
        self._give_away(self._partitions.keys() - given)
        for partition in given - self._partitions.keys():
            self._partitions[partition] = _Partition()
        self.joined = True

    def revoked(self, places: frozenset[Place]) -> None:
        """The group has taken these partitions away. They may be given again at once, which is another matter."""
        self._give_away({place.partition for place in places})

    def _give_away(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self._partitions.pop(partition, None)
            self._faults.given_away(READER, partition)

    # What the loop does

    @property
    def partitions(self) -> AbstractSet[int]:
        """All that the group has given to us."""
        return self._partitions.keys()

    @property
    def settled(self) -> bool:
        """Whether each partition is read, stands still, or is left to another projector for a while."""
        return not any(partition.phase in ("new", "looking") for partition in self._partitions.values())

    def reads(self, partition: int) -> bool:
        """Whether records of a partition may be written."""
        found = self._partitions.get(partition)
        return found is not None and found.phase == "reading"

    def due(self) -> dict[int, bool]:
        """The partitions whose positions have to be loaded, and whether they are new ones.

        Raises:
            Exception: a defect of ours, in a look.
        """
        for look in [look for look in self._looks if look.done()]:
            self._looks.discard(look)
            look.result()
        now = self._clock()
        return {
            number: partition.phase == "new"
            for number, partition in self._partitions.items()
            if partition.phase in ("new", "stopped", "left_alone") and partition.due_at <= now
        }

    def reload(self) -> None:
        """All positions have to be loaded again: another projector or Postgres may have moved them."""
        for number, known in self._partitions.items():
            if known.phase in ("looking", "reading"):
                self._partitions[number] = _Partition(looked=known.looked, fault=known.fault, repaired=known.repaired)

    def conflict(self, member: Member, number: int, next_offset: int) -> None:
        """Leave a partition alone for a while, since another projector has moved it to this position."""
        partition = self._partitions.get(number)
        if partition is not None:
            self._leave_alone(member, number, self._giving_way.conflict(number), next_offset)

    def _leave_alone(self, member: Member, number: int, seconds: float, next_offset: int) -> None:
        member.pause(Place(self._topic, number))
        known = self._partitions[number]
        self._partitions[number] = _Partition(
            phase="left_alone",
            looked=known.looked,
            fault=known.fault,
            repaired=known.repaired,
            due_at=self._clock() + seconds,
            paused_seconds=seconds,
            left_at=next_offset,
        )

    def loaded(self, member: Member, positions: Mapping[int, ReadPosition]) -> None:
        """Read partitions from these positions on, once a look has found nothing wrong.

        Args:
            member: hands their records over.
            positions: of partitions that are due.
        """
        unknown: dict[int, ReadPosition] = {}
        for number, position in positions.items():
            partition = self._partitions.get(number)
            if partition is None:  # taken away meanwhile
                continue
            if partition.phase == "left_alone":
                moved = position.next_offset != partition.left_at
                longer = self._giving_way.again(partition.paused_seconds, member.silence_seconds, moved=moved)
                if longer:
                    self._leave_alone(member, number, longer, position.next_offset)
                    continue
            if partition.looked:
                self._read(member, number, partition, position)
            else:
                partition.phase = "looking"
                unknown[number] = position
        if unknown:
            self._looks.add(asyncio.create_task(self._look(member, unknown), name="look-at-events"))

    async def _look(self, member: Member, positions: Mapping[int, ReadPosition]) -> None:
        mine = {number: self._partitions[number] for number in positions}
        unclaimed = [number for number, known in mine.items() if known.fault and known.fault.reason == "claim"]
        try:
            look = await self._watch.look(positions, unclaimed)
        except KafkaFault as error:
            logger.warning("partitions %s wait until Kafka tells what they hold: %s", sorted(positions), error)
            for partition in mine.values():
                partition.phase, partition.due_at = "new", self._clock() + RETRY_SECONDS
            return
        for number, partition in mine.items():
            if self._partitions.get(number) is not partition:  # taken away, or to be loaded again
                continue
            if number in look.faults:
                self.stop(member, number, look.faults[number])
                continue
            partition.looked, partition.repaired = True, max(partition.repaired, look.repaired.get(number, 0))
            self._note(number, positions[number], look.topic_id)
            self._read(member, number, partition, positions[number])
            if positions[number].next_offset == look.ends[number]:
                self.passed(number)

    def _note(self, number: int, position: ReadPosition, topic_id: str) -> None:
        if topic_id and not position.topic_id:
            self._unnoted[number] = topic_id

    def _read(self, member: Member, number: int, partition: _Partition, position: ReadPosition) -> None:
        partition.phase = "reading"
        member.start_at(Place(self._topic, number), position.next_offset)

    def stop(self, member: Member, number: int, fault: LogFault) -> None:
        """Let a partition stand still, until a look finds that it is as it should be again."""
        member.pause(Place(self._topic, number))
        partition = self._partitions.get(number)
        if partition is not None:
            partition.phase, partition.looked, partition.fault = "stopped", False, fault
            partition.due_at = self._clock() + LOOK_SECONDS
            self._faults.stopped(READER, number, fault)

    def passed(self, number: int) -> None:
        """Records of a partition were written: nothing is wrong with it any more."""
        partition = self._partitions.get(number)
        if partition is not None and partition.phase == "reading" and partition.fault is not None:
            partition.fault = None
            self._faults.goes_on(READER, number)

    def repaired(self) -> dict[int, int]:
        """Before which offset records need no claim, by partition; only of partitions where that matters."""
        return {number: partition.repaired for number, partition in self._partitions.items() if partition.repaired}

    def unnoted(self) -> Iterator[tuple[str, list[int]]]:
        """Ids of the topic that are not stored yet, and of which partitions. They are told once."""
        while self._unnoted:
            topic_id = next(iter(self._unnoted.values()))
            partitions = [number for number, id in self._unnoted.items() if id == topic_id]
            for number in partitions:
                del self._unnoted[number]
            yield topic_id, partitions

    def check(self, member: Member, positions: Mapping[int, ReadPosition]) -> None:
        """Look whether the topic is still the same, and has what was read. Call it every few seconds.

        Args:
            member: hands records over, and knows where partitions ended when it last fetched.
            positions: of all partitions.
        """
        for number in [number for number in self._partitions if self.reads(number)]:
            end, position = member.highwater(Place(self._topic, number)), positions[number].next_offset
            known = self._partitions[number]
            # The end that is known may be older than a position that another projector has moved. And where records do
            # not come though there are some, those at the position may be gone.
            if end is not None and (end < position or end > position == known.behind_at):
                member.pause(Place(self._topic, number))
                self._partitions[number] = _Partition(fault=known.fault, repaired=known.repaired)
            known.behind_at = position if end is not None and end > position else -1
        if not self._looks:
            self._looks.add(asyncio.create_task(self._identify(member, positions), name="identify-events"))

    async def _identify(self, member: Member, positions: Mapping[int, ReadPosition]) -> None:
        try:
            topic_id = await self._watch.topic_id()
        except KafkaFault as error:
            logger.debug("the id of the log is not known: %s", error)
            return
        for number in [number for number in self._partitions if self.reads(number)]:
            position = positions.get(number)
            if position is None:
                continue
            try:
                check_identity(position.topic_id, topic_id, partition=number)
            except LogFault as fault:
                self.stop(member, number, fault)
            else:
                # Postgres may have been away when it was to be noted, or an older backup is in its place.
                self._note(number, position, topic_id)

    async def close(self) -> None:
        """End the looks under way."""
        self.joined = False
        self._give_away(set(self._partitions))
        looks, self._looks = self._looks, set()
        for look in looks:
            look.cancel()
            look.add_done_callback(retrieve)
        if looks:
            await asyncio.wait(looks, timeout=CLOSE_SECONDS)
