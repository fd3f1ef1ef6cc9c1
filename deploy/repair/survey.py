"""Finds out what is known of each partition, and what Kafka holds of it. Changes nothing."""

from collections.abc import AsyncIterator, Mapping, Sequence

from msgspec.structs import replace

from deploy.errors import RepairError
from deploy.repair.facts import ENGINES, PUBLISHER, READ_MODEL, Hole, Known, PartitionFacts, Scan
from deploy.repair.owners import other_owner
from deploy.repair.partition_log import OnProgress, PartitionLog
from engine.core.errors import SnapshotUnreadable
from engine.snapshot_records import MARKER_KEY, Marker, read_marker
from projections.publisher.lost_positions import check_not_lost, last_published
from projections.publisher.positions import PublishedPosition, last_position
from projections.rows import ReadPosition
from schemas.encryption_marks import check_opened
from schemas.epochs import EpochFilter, check_claim, header, is_claim
from schemas.events import PartitionClaimed
from schemas.fillers import is_filler, is_loss
from schemas.kafka import Kafka, Limits, Place, search_tail
from schemas.log_integrity import LogFault, is_gap
from schemas.records import Record, RecordCodec, UndecodableRecord, read_number
from schemas.settings import OperatorSettings, variable
from schemas.topics import COMMANDS, EVENTS, EVENTS_PUBLISHED, SNAPSHOTS, public_topic, topic_name, topics


class Survey:
    """Looks at all partitions.

    Args:
        kafka: where the topics are.
        settings: which topics.
        read_positions: of the read model, by partition.
        progress: is called after each look for records of a partition.
    """

    def __init__(
        self,
        kafka: Kafka,
        settings: OperatorSettings,
        read_positions: Mapping[int, ReadPosition],
        progress: OnProgress = lambda done, total: None,
    ):
        self._kafka, self._settings = kafka, settings
        self._read_positions, self._progress = read_positions, progress
        self._codec = RecordCodec()

    async def facts(self) -> AsyncIterator[PartitionFacts]:
        """What there is to know of each partition, in order.

        Raises:
            RepairError: a topic is missing, or has fewer partitions, or the read model is another installation's.
            KafkaFault: Kafka is away or refuses.
            KeyMissing: a snapshot or a claim can't be read without a key that is not here.
        """
        ids = await self._ids()
        await self._check_owner(ids[topic_name(self._settings, EVENTS)])
        for number in range(self._settings.partitions):
            yield await self._facts(number, ids)

    def _place(self, topic: str, number: int) -> Place:
        return Place(topic_name(self._settings, topic), number)

    async def _ids(self) -> dict[str, str]:
        """The ids of all topics, by name."""
        finder, ids = self._kafka.topic_finder(), dict[str, str]()
        try:
            for topic in topics(self._settings):
                found = await finder.find(topic.name)
                if found is None:
                    raise RepairError(
                        f"topic {topic.name} does not exist: run `orchestration topics create`, and then this again"
                    )
                if found.partitions < topic.partitions:
                    raise RepairError(
                        f"topic {topic.name} has {found.partitions} partitions, not {topic.partitions}: set"
                        f" {variable('partitions')} to the number that topic {EVENTS} was made with, or make it again"
                    )
                ids[topic.name] = found.id
        finally:
            finder.close()
        return ids

    async def _check_owner(self, events_id: str) -> None:
        owner = await other_owner(self._kafka, self._read_positions.values(), events_id)
        if owner is not None:
            raise RepairError(
                f"schema {self._settings.database_schema} holds the read model of topic {owner}, which is another"
                f" installation's, so nothing was changed: check {variable('topic_prefix')} and"
                f" {variable('database_schema')}"
            )

    async def _facts(self, number: int, ids: Mapping[str, str]) -> PartitionFacts:
        events, commands = self._place(EVENTS, number), self._place(COMMANDS, number)
        marker, is_unreadable = await self._marker(self._place(SNAPSHOTS, number))
        published, last = await self._published(number)
        row = self._read_positions.get(number)
        # Positions first: what they say was in the log by the time it is looked at.
        async with self._kafka.reader() as reader:
            limits = await reader.limits([events]) | await reader.limits([commands])
            log = PartitionLog(reader, events, limits[events], self._progress)
            epoch = await log.epoch_of_oldest()
            publisher = None
            if published != PublishedPosition():
                publisher = _of_reader(PUBLISHER, published)
            elif last >= 0:
                publisher = Known(who=PUBLISHER, next_offset=last + 1, epoch=await log.epoch_at(last))
            facts = PartitionFacts(
                number=number,
                events=limits[events],
                commands=limits[commands],
                events_id=ids[events.topic],
                commands_id=ids[commands.topic],
                has_snapshot=marker is not None,
                snapshot_unreadable=is_unreadable,
                engines=_of_engines(marker, limits[events], epoch),
                next_command=0 if marker is None else marker.next_command,
                commands_id_known="" if marker is None else marker.commands_id,
                read_model=None if row is None else _of_reader(READ_MODEL, row),
                cause=-1 if row is None else row.cause,
                publisher=publisher,
                publisher_lost=last >= 0,
                scan=Scan(),
                epoch_of_oldest=epoch,
            )
            return await self._compared(log, facts)

    async def _published(self, number: int) -> tuple[PublishedPosition, int]:
        """The publisher's position; and the offset of the last event that it has published, if its position is lost."""
        place, public = self._place(EVENTS_PUBLISHED, number), Place(public_topic(self._settings), number)
        position = await last_position(self._kafka, place)
        if position == PublishedPosition():
            try:
                await check_not_lost(self._kafka, place, public)
            except LogFault:
                # The first events of all may have been published between these looks.
                position = await last_position(self._kafka, place)
                if position == PublishedPosition():
                    return position, await last_published(self._kafka, public)
        return position, -1

    async def _marker(self, place: Place) -> tuple[Marker | None, bool]:
        """The marker of the newest snapshot, if there is one; and whether there is one that this build can't read."""
        async with self._kafka.reader(committed_only=True) as reader:
            found = await search_tail(reader, place, _marker_of)
        if found is not None:
            # What only lacks a key must not be repaired.
            check_opened(found.headers, found.offset)
        try:
            return None if found is None else read_marker(found.value), False
        except SnapshotUnreadable:
            return None, True

    async def _compared(self, log: PartitionLog, facts: PartitionFacts) -> PartitionFacts:
        """The facts with what the records say."""
        number, scanner = log.place.partition, _Scanner(self._codec)
        trails = {known.who: _Trail(known, number) for known in facts.positions if known.next_offset <= log.limits.end}
        start = min((trail.start for trail in trails.values()), default=log.limits.oldest)
        # From one before: the last record that a snapshot has may be a filler.
        begin, holes = max(start - 1, log.limits.oldest), list[tuple[int, int]]()
        expected = begin
        async for record in log.read(begin, log.limits.end):
            if record.offset > expected:
                holes.append((expected, record.offset))
            expected = record.offset + 1
            counted = {who for who, trail in trails.items() if trail.see(record)}
            scanner.see(record, ENGINES in counted)
        checked = {who: await _checked(log, trail) for who, trail in trails.items()}
        gaps = [hole for hole in holes if await self._is_gap(log.place, *hole)]
        for who, known in checked.items():
            checked[who] = replace(known, hole=await _hole(log, known.next_offset, gaps))
        return replace(
            facts,
            scan=scanner.scan,
            engines=checked.get(ENGINES, facts.engines),
            read_model=checked.get(READ_MODEL, facts.read_model),
            publisher=checked.get(PUBLISHER, facts.publisher),
        )

    async def _is_gap(self, place: Place, start: int, stop: int) -> bool:
        """Whether records are missing there, and not only handed to nobody."""
        if not is_gap(start, stop):
            return False
        async with self._kafka.reader() as reader:
            return is_gap(start, stop, await reader.marks(place, start, stop))


async def _hole(log: PartitionLog, position: int, gaps: Sequence[tuple[int, int]]) -> Hole | None:
    """The first gap from a position on."""
    for start, stop in gaps:
        if stop > position:
            return Hole(max(start, position), stop, await log.epoch_at(stop))
    return None


def _marker_of(found: Record | None, record: Record) -> Record | None:
    return record if record.key == MARKER_KEY else found


def _of_engines(marker: Marker | None, events: Limits, epoch_of_oldest: int) -> Known:
    if marker is None:
        return Known(who=ENGINES, next_offset=events.oldest, epoch=epoch_of_oldest)
    return Known(who=ENGINES, next_offset=marker.next_offset, epoch=marker.epoch, topic_id=marker.events_id)


def _of_reader(who: str, position: ReadPosition | PublishedPosition) -> Known:
    return Known(who=who, next_offset=position.next_offset, epoch=position.epoch, topic_id=position.topic_id)


async def _checked(log: PartitionLog, trail: "_Trail") -> Known:
    """A position with how it fits to the log."""
    known = trail.known
    if known.next_offset < log.limits.oldest:
        return known
    if known.epoch >= log.limits.oldest:
        try:
            check_claim(log.place.partition, known.epoch, await log.first(known.epoch))
        except LogFault:
            known = replace(known, other_claim=await log.newest_claim(known.next_offset))
    if trail.unseen >= 0:
        found = await log.first(trail.unseen)
        if found is not None and found.offset == trail.unseen and is_claim(found):
            return replace(known, missed=await log.first_claim(known.epoch + 1, trail.unseen))
    return replace(known, unclaimed=trail.unclaimed)


class _Trail:
    """What a reader would meet that goes on from a position.

    Args:
        known: the position, which is not behind the end.
        partition: of the log.
    """

    def __init__(self, known: Known, partition: int):
        self.known, self.start = known, known.next_offset
        self.unclaimed = self.unseen = -1
        self._filter = EpochFilter(known.epoch, partition)

    def see(self, record: Record) -> bool:
        """Take the next record; whether the reader would take it for an event that counts."""
        if record.offset < self.start:
            return False
        if is_filler(record):
            self.unclaimed = -1
        try:
            return self._filter.admits(record)
        except LogFault:
            epoch = read_number(header(record.headers, "epoch"))
            if self.unclaimed < 0:
                self.unclaimed = record.offset
            if self.unseen < 0 and epoch is not None and epoch < self.start:
                self.unseen = epoch
            return False


class _Scanner:
    """Collects what records say of `commands`, and of a log that was cut."""

    def __init__(self, codec: RecordCodec):
        self.scan, self._codec = Scan(), codec

    def see(self, record: Record, counts: bool) -> None:
        """Take the next record, and whether it counts for engines. Somebody else's may have any cause."""
        scan = self.scan
        if counts:
            cause = read_number(header(record.headers, "cause"))
            if cause is not None:
                scan.causes_end = max(scan.causes_end, cause + 1)
        elif is_claim(record):
            self._claim(record)
        elif is_filler(record):
            scan.filler, scan.commands_id, scan.events_end = record.offset, "", 0
            if scan.loss < 0 and is_loss(record):
                scan.loss = record.offset
        if header(record.headers, "epoch") is not None:
            scan.event = record.offset

    def _claim(self, record: Record) -> None:
        try:
            claim = self._codec.decode_event(record).event
        except UndecodableRecord:
            return  # not ours, but it counts as one
        if isinstance(claim, PartitionClaimed):
            scan = self.scan
            scan.commands_end = max(scan.commands_end, claim.commands_end)
            scan.events_end = max(scan.events_end, claim.events_end)
            scan.commands_id = scan.commands_id or claim.commands_id
