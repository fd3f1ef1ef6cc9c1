"""Topic `commands` as the engines' consumer group reads it: who owns which partition, and the commands themselves."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from engine.errors import ReadFailed
from engine.metrics import Metrics
from schemas.fillers import Passed
from schemas.kafka import (
    COORDINATOR_AWAY_SECONDS,
    PROMPT_FETCH_SECONDS,
    Kafka,
    KafkaFault,
    KeptReader,
    Member,
    Membership,
    NameTaken,
    Place,
    read_span,
    staying,
)
from schemas.log_integrity import LogFault, check_commands, check_records, follows
from schemas.process_name import ProcessName
from schemas.records import Record
from schemas.settings import EngineSettings
from schemas.topics import COMMANDS, topic_name

logger = logging.getLogger(__name__)

GROUP: Final = "orchestration-engine"
"""Name of the consumer group, behind the prefix of the topics."""

COMMIT_SECONDS: Final = 2.0
"""How often offsets are committed. They are for lag metrics and autoscaling alone."""

POLL_SECONDS: Final = 1.0
"""How long one poll waits for commands; the interval at which housekeeping runs when nothing comes."""

MAX_TAKEN: Final = 2_000
"""Most commands that are taken at once. A megabyte that was fetched holds a million, if they are empty and compressed:
they would stop the engine for seconds, and then wait in its memory."""

WATCH_SECONDS: Final = 0.5
"""How often it is looked whether the group still answers."""

MARKS_SECONDS: Final = 60.0
"""How long nothing has to come in a partition before it is looked whether others' transactions have ended there. With
much less, a service that works in transactions would cost a look and a record for each of them."""

MARKS_LOOK_SECONDS: Final = 10.0
"""How often it is seen for which partitions that is so."""

RECONNECT_SECONDS: Final = 1.0
"""Pause after a fault of the member; without it a broker that is away would be asked in a tight loop."""

OnAssigned = Callable[[set[int]], None]
OnRecords = Callable[[int, Sequence[Record]], None]
OnFault = Callable[[int, LogFault], None]


class KafkaCommandFeed:
    """`engine.ports.CommandFeed` on Kafka's consumer group.

    A rebalance stops nobody: what the engine keeps is neither paused nor sought, and what it loses goes on until the
    new assignment is known. The claim in the event log decides between two owners, not the timing of callbacks.

    Args:
        kafka: where the topic is.
        settings: the engine's place in the group.
        metrics: gets the lag.
        name: of the engine in the group.
    """

    def __init__(self, kafka: Kafka, settings: EngineSettings, metrics: Metrics, name: ProcessName) -> None:
        self._kafka, self._settings, self._name = kafka, settings, name
        self._topic = topic_name(settings, COMMANDS)
        self._metrics = metrics
        self._asker = KeptReader(kafka)
        self._on_assigned: OnAssigned = lambda partitions: None
        self._member: Member | None = None
        self._joined = False
        self._lapsed = False
        self._known: set[int] = set()
        self._fed: dict[int, int] = {}
        self._moved_at: dict[int, float] = {}
        """When something was fed the last time, or it was looked for marks."""
        self._held: set[int] = set()
        self._done: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    @property
    def joined(self) -> bool:
        """Whether this engine is a member of the group and knows its partitions."""
        return self._joined and not self._lapsed

    def owns(self, partition: int) -> bool:
        """See `GroupFeed.owns`."""
        return not self._lapsed and self._is_assigned(partition)

    def _is_assigned(self, partition: int) -> bool:
        return self._member is not None and self._place(partition) in self._member.assignment

    def silence_seconds(self) -> float:
        """See `GroupFeed.silence_seconds`."""
        return math.inf if self._member is None else self._member.silence_seconds

    async def run(self, on_assigned: OnAssigned, on_records: OnRecords, on_fault: OnFault) -> None:
        """Be a member of the group until cancelled, joining again after faults.

        Args:
            on_assigned: called with all partitions of this engine after every rebalance.
            on_records: called with the commands of one partition, once it has been opened.
            on_fault: called when the commands of one partition are not those that come next.
        """
        self._on_assigned = on_assigned
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._pass_marks(on_records))]
        try:
            await self._be_member(on_records, on_fault)
        finally:
            for task in tasks:
                task.cancel()
            await self._asker.close()

    async def _be_member(self, on_records: OnRecords, on_fault: OnFault) -> None:
        while True:
            member = self._kafka.member(self._topic, self._membership(), assigned=self._assign, revoked=self._lose)
            try:
                self._member = member
                async with staying(member, partial(self._commit, member), faults=KafkaFault):
                    await member.start()
                    await self._poll(member, on_records, on_fault)
            except NameTaken as error:
                self._name.taken(error.name)
            except KafkaFault as error:
                logger.warning("the member of the group on %s failed and is started again: %s", self._topic, error)
            finally:
                self._member, self._joined, self._known = None, False, set()
            self._on_assigned(set())
            await asyncio.sleep(RECONNECT_SECONDS)

    def _membership(self) -> Membership:
        return Membership(
            group=self._settings.topic_prefix + GROUP,
            member_id=self._name.current,
            session_timeout_seconds=self._settings.engine_session_timeout_seconds,
            fetch_wait_seconds=PROMPT_FETCH_SECONDS,
        )

    async def _watch(self) -> None:
        """Let all partitions go when the group has not answered for so long that others may have them.

        They come back when it answers again, as far as they are still assigned here. Whoever else claims one of them
        before is noticed by the claim.
        """
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            longest = self._settings.engine_session_timeout_seconds + COORDINATOR_AWAY_SECONDS
            lapsed = self.silence_seconds() > longest
            if not self._joined or lapsed == self._lapsed:
                continue
            self._lapsed = lapsed
            if lapsed:
                logger.warning("the group's coordinator has not answered for %.1f s", self.silence_seconds())
            assigned = () if lapsed or self._member is None else self._member.assignment
            self._on_assigned({place.partition for place in assigned})

    async def _poll(self, member: Member, on_records: OnRecords, on_fault: OnFault) -> None:
        loop = asyncio.get_running_loop()
        commit_at = loop.time() + COMMIT_SECONDS
        while True:
            taken = await member.take(POLL_SECONDS, MAX_TAKEN)
            positions = dict(self._fed)
            for place, records in taken.items():
                number, position = place.partition, positions.get(place.partition)
                if position is None or self._fed.get(number) != position:  # closed or opened again meanwhile
                    continue
                if not follows(records, position):
                    fault = await self._fault(member, place, records, position)
                    if self._fed.get(number) != position:
                        continue
                    if fault is not None:
                        on_fault(number, fault)
                        continue
                self._move(number, records[-1].offset + 1)
                on_records(number, records)
            if loop.time() >= commit_at:
                commit_at = loop.time() + COMMIT_SECONDS
                await self._commit(member)

    async def _fault(self, member: Member, place: Place, records: Sequence[Record], position: int) -> LogFault | None:
        """What is wrong with commands that are not those that come next; None if they were only handed over again.

        A consumer whose offset Kafka does not have begins at the oldest one. The commands in between would be passed
        over as known.

        Raises:
            KafkaFault: Kafka is away.
        """
        found = (await member.limits([place]))[place]
        try:
            check_commands(place.partition, position, found.end)
            if records[0].offset >= position or found.oldest > position:
                check_records(place.partition, position, records, found.oldest, COMMANDS)
        except LogFault as fault:
            is_hole = fault.reason == "gap" and found.oldest <= position
            return None if is_hole and await self._are_all(place, records, position) else fault
        return None

    async def _are_all(self, place: Place, records: Sequence[Record], position: int) -> bool:
        """Whether Kafka has no records but these from a position to the last of them.

        What others append in transactions leaves marks, which nobody is handed. Any number of them may be side by side.

        Raises:
            KafkaFault: Kafka is away.
        """
        found: list[int] = []
        async with self._asker.use() as reader:
            async for some in read_span(reader, place, position, records[-1].offset + 1, MAX_TAKEN):
                found += [record.offset for record in some]
        return found == [record.offset for record in records]

    def _move(self, partition: int, next_offset: int) -> None:
        self._fed[partition], self._moved_at[partition] = next_offset, asyncio.get_running_loop().time()

    async def _pass_marks(self, on_records: OnRecords) -> None:
        """Pass over the ends of others' transactions, where nothing else has come for a while.

        The next command would do so, too. But if none comes, all of them expire, and nobody could tell any more that
        they were no commands: the next owner would take them for commands that were deleted.
        """
        while True:
            await asyncio.sleep(MARKS_LOOK_SECONDS)
            for partition, position in list(self._fed.items()):
                end = self._marked_end(partition, position)
                if end is None:
                    continue
                self._moved_at[partition] = asyncio.get_running_loop().time()
                try:
                    are_marks = await self._are_marks(partition, position, end)
                except KafkaFault as error:
                    logger.debug("what partition %d of %s ends with can't be told: %r", partition, self._topic, error)
                    continue
                if are_marks and self._fed.get(partition) == position:
                    self._move(partition, end)
                    on_records(partition, [Passed(end - 1)])

    def _marked_end(self, partition: int, position: int) -> int | None:
        """The end of a partition, if it is behind what was fed for so long that there may be marks."""
        idle_seconds = asyncio.get_running_loop().time() - self._moved_at[partition]
        if self._member is None or partition in self._held or idle_seconds < MARKS_SECONDS:
            return None
        end = self._member.highwater(self._place(partition))
        return None if end is None or end <= position else end

    async def _are_marks(self, partition: int, start: int, stop: int) -> bool:
        async with self._kafka.reader() as reader:
            return (await reader.marks(self._place(partition), start, stop)).issuperset(range(start, stop))

    async def _commit(self, member: Member) -> None:
        changed: dict[Place, int] = {}
        assignment = member.assignment
        for partition, offset in self._done.items():
            place = self._place(partition)
            if place not in assignment:
                continue
            self._metrics.command_lag.labels(partition).set(max((member.highwater(place) or 0) - offset, 0))
            if self._committed.get(partition) != offset:
                changed[place] = offset
        # A rebalance under way refuses commits; the next round makes up for it.
        if changed and await member.commit(changed):
            self._committed.update({place.partition: offset for place, offset in changed.items()})

    def _lose(self, places: frozenset[Place]) -> None:
        """The member's position is gone with a partition, even when it comes back at once."""
        self._known -= {place.partition for place in places}

    def _assign(self, places: frozenset[Place]) -> None:
        """After a rebalance: tell the engine what it owns now. What it keeps goes on by itself."""
        partitions = {place.partition for place in places}
        self._metrics.command_lag.clear()  # what it was here is not the lag at the next owner
        self._fed = {partition: offset for partition, offset in self._fed.items() if partition in partitions}
        self._done = {partition: offset for partition, offset in self._done.items() if partition in partitions}
        self._committed = {}
        if self._member is None:
            return
        for partition in self._fed.keys() - self._known:
            self._start(self._member, partition)
        self._known = partitions
        self._joined, self._lapsed = True, False
        self._on_assigned(partitions)

    def _start(self, member: Member, partition: int) -> None:
        member.start_at(self._place(partition), self._fed[partition])
        if partition in self._held:
            member.pause(self._place(partition))

    def _place(self, partition: int) -> Place:
        return Place(self._topic, partition)

    # CommandFeed

    async def open(self, partition: int, next_offset: int) -> None:
        """See `CommandFeed.open`."""
        member = self._member
        if member is None:
            raise ReadFailed("the group is being joined again")
        self._held.discard(partition)
        # First of all: a rebalance that is under way starts there at its end.
        self._move(partition, next_offset)
        self._done[partition] = next_offset
        self._start(member, partition)

    def close(self, partition: int) -> None:
        """The partition's owner is gone: feed nothing before the next `open`."""
        self._fed.pop(partition, None)
        self._done.pop(partition, None)
        self._held.discard(partition)
        if self._member is not None:
            self._member.pause(self._place(partition))

    def pause(self, partition: int) -> None:
        """See `CommandFeed.pause`."""
        self._held.add(partition)
        if self._member is not None:
            self._member.pause(self._place(partition))

    def resume(self, partition: int) -> None:
        """See `CommandFeed.resume`."""
        self._held.discard(partition)
        if self._member is not None:
            self._member.resume(self._place(partition))

    def done(self, partition: int, next_offset: int) -> None:
        """See `CommandFeed.done`."""
        if partition in self._fed:
            self._done[partition] = next_offset
