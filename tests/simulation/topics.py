"""The topics of an installation: what they have held, for checkers; and what others than its processes do to them."""

import random
from collections.abc import Callable, Mapping, Sequence

from schemas.epochs import header
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster, StoredRecord, Witness
from schemas.records import NewRecord, Record
from schemas.settings import KafkaSettings
from schemas.topics import COMMANDS, COMMANDS_DEAD, DEFINITIONS, EVENTS, SNAPSHOTS, topics
from tests.simulation.secrecy import Secrecy
from tests.simulation.trace import Trace

MAX_SHOWN = 6
"""How many records of a batch a trace names."""

Observe = Callable[[int, Sequence[StoredRecord]], None]
Told = Callable[[str, Mapping[Place, int]], None]


class Topics(Witness):
    """A cluster with the topics of an installation, and all that was ever in them.

    Args:
        settings: of the installation.
        sources: topics of other services, and how many partitions each has.
        secrecy: opens what is encrypted, for those who look at it here.
        trace: is told of every append.
        observe: is told of what stands in `events` from now on.
        told: is told of the offsets that groups take.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        sources: Mapping[str, int],
        secrecy: Secrecy,
        trace: Trace,
        observe: Observe,
        told: Told,
    ):
        self.cluster = MemoryCluster(self)
        self.partitions = settings.partitions
        self.events: list[list[StoredRecord]] = [[] for _ in range(settings.partitions)]
        self.commands: list[dict[int, StoredRecord]] = [{} for _ in range(settings.partitions)]
        """By their offsets, in order."""
        self.listeners: list[Callable[[Place, Sequence[StoredRecord]], None]] = []
        """Are told of every append, before anybody reads it."""
        self.witnesses: list[Witness] = []
        """Are told which writers of transactions are opened, and how transactions end."""
        self.trace, self._observe, self._told, self._secrecy = trace, observe, told, secrecy
        self.ours: list[str] = []
        """The names of the topics of the installation."""
        for topic in topics(settings):
            self.ours.append(topic.name)
            self.cluster.create(NewTopic(topic.name, topic.partitions, 1, {**topic.wishes, **topic.config}))
        for name, partitions in sources.items():
            self.cluster.create(NewTopic(name, partitions, 1))

    # What happens

    def appended(self, place: Place, records: Sequence[StoredRecord]) -> None:
        """See `Witness.appended`."""
        records = self._secrecy.opened(place, records)
        self.trace.add(f"{place.topic}/{place.partition}", _in_words, records)
        is_used = place.topic not in (COMMANDS, EVENTS, SNAPSHOTS) or place.partition < self.partitions
        assert is_used, f"{place.topic}/{place.partition} is not used, and has records: {_in_words(records)}"
        if place.topic == EVENTS:
            self.events[place.partition] += records
            self._observe(place.partition, records)
        elif place.topic == COMMANDS:
            self.commands[place.partition].update((record.offset, record) for record in records)
        for listener in self.listeners:
            listener(place, records)

    def opened(self, transaction: str) -> None:
        """See `Witness.opened`."""
        self.trace.add(transaction, "is opened")
        for witness in self.witnesses:
            witness.opened(transaction)

    def ended(self, transaction: str, committed: bool, records: Mapping[Place, Sequence[StoredRecord]]) -> None:
        """See `Witness.ended`."""
        self.trace.add(transaction, "is committed" if committed else "is aborted")
        opened = {place: self._secrecy.opened(place, some) for place, some in records.items()}
        for witness in self.witnesses:
            witness.ended(transaction, committed, opened)

    def told(self, group: str, offsets: Mapping[Place, int]) -> None:
        """See `Witness.told`."""
        self._told(group, offsets)

    def lost(self, place: Place, records: Sequence[StoredRecord]) -> None:
        """See `Witness.lost`."""
        self.trace.add(f"{place.topic}/{place.partition}", lambda lost: f"loses {_in_words(lost)}", records)

    # What there is

    def dead(self) -> set[tuple[int, int]]:
        """Partition and offset of the commands that are in `commands.dead`."""
        sources = (header(record.headers, "dead-source") for record in self.cluster.records(COMMANDS_DEAD)[0])
        places = ((source or b"").decode().split("/") for source in sources)
        return {(int(partition), int(offset)) for _, partition, offset in places}

    def definitions(self) -> dict[bytes | None, StoredRecord]:
        """Topic `definitions`, as compaction leaves it."""
        records = self._secrecy.opened(Place(DEFINITIONS, 0), self.cluster.records(DEFINITIONS)[0])
        return {record.key: record for record in records}

    def snapshot(self, partition: int) -> Sequence[StoredRecord]:
        """What a restore reads of the snapshots of a partition."""
        place = Place(SNAPSHOTS, partition)
        return self._secrecy.opened(place, list(self.cluster.log(place).records(committed_only=True)))

    # What is done to them

    def put_event(self, partition: int, record: NewRecord) -> None:
        """Append to `events`, as nobody should."""
        self.put(Place(EVENTS, partition), [record])

    def put(self, place: Place, records: Sequence[NewRecord], transaction: str | None = None) -> None:
        """Append what is not from our processes, or looks as if it were."""
        self.cluster.append(place, self._secrecy.sealed(place, records), transaction)

    def expire(self, partition: int, before: int) -> None:
        """Keep no event before this offset any more."""
        self.cluster.log(Place(EVENTS, partition)).expire(before)

    def compact(self, partition: int, rng: random.Random) -> None:
        """Remove what later records of a partition of `snapshots` replace, and tombstones, as far as it comes.

        It goes from old to new, as Kafka's does. So where a record has gone, none is left that it had replaced itself.
        """
        log = self.cluster.log(Place(SNAPSHOTS, partition))
        records = list(log.records(committed_only=True))
        records = records[: rng.randint(0, len(records))]
        last: dict[bytes | None, StoredRecord] = {record.key: record for record in records}
        gone: set[int] = set()
        left: set[bytes | None] = set()
        for record in records:
            if record is not last[record.key]:
                if rng.random() < 0.7 and record.key not in left:
                    gone.add(record.offset)
                else:
                    left.add(record.key)
            elif record.value is None and record.key not in left and rng.random() < 0.5:
                gone.add(record.offset)
        log.compact(lambda record: record.offset not in gone)


def kind_of(record: Record) -> str:
    """What a record is, in a word."""
    return (header(record.headers, "type") or (record.key or b"").partition(b"/")[0]).decode(errors="replace")


def _in_words(records: Sequence[StoredRecord]) -> str:
    shown = []
    for record in records[:MAX_SHOWN]:
        epoch, cause = header(record.headers, "epoch"), header(record.headers, "cause")
        notes = [f"epoch {epoch.decode()}"] if epoch else []
        notes += [f"cause {cause.decode()}"] if cause else []
        notes += [(record.key or b"")[:8].decode(errors="replace")] if record.key else []
        shown.append(f"{record.offset} {kind_of(record)}" + (f" ({', '.join(notes)})" if notes else ""))
    more = f", and {len(records) - MAX_SHOWN} more" if len(records) > MAX_SHOWN else ""
    return ", ".join(shown) + more
