"""What happens to topics while engines work: compaction, retention, and harm that snapshots have to be safe from."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from engine.core.duplicates import Bounds
from engine.core.snapshots import SCHEMA
from engine.snapshot_records import MARKER_KEY, Marker, read_marker
from schemas.epochs import is_claim
from schemas.kafka import Place
from schemas.kafka.memory import StoredRecord, Witness
from schemas.records import NewRecord, Recorded
from schemas.topics import SNAPSHOTS
from tests.simulation.restoring import Restored, check_snapshot
from tests.simulation.topics import Topics

LAST_LOST: Final = 3
"""The kind of harm by which the last snapshot is lost, and the one before it is there again."""


class Damage(NamedTuple):
    """What was done to the snapshots of a partition, as of that moment."""

    events_end: int
    """Where the log ended."""
    claim: int
    """The newest one. Who claims later reads what is left."""
    is_felt: bool
    """Whether the owner must notice it: where what it appends comes to be, or by the last snapshot."""

    def is_known(self, marker: Marker) -> bool:
        """Whether the writer of a snapshot, whose marker this is, knows what the topic lacks."""
        return marker.next_offset > self.events_end and (marker.epoch > self.claim or self.is_felt)


class Harm(Witness):
    """Does something to the topics of a partition, now and then.

    A partition either loses its old events, as retention wants it, or its snapshots, but not both: without any of them
    it stands still for good, and that is right.

    Args:
        rng: decides what and where.
        topics: of the installation.
        bounds: how much partitions remember.
    """

    def __init__(self, rng: random.Random, topics: Topics, bounds: Bounds):
        self._rng, self._topics, self._bounds = rng, topics, bounds
        self._expiring = {partition for partition in range(topics.partitions) if rng.random() < 0.4}
        self.is_harmful = rng.random() < 0.5
        """Whether snapshots are harmed at all."""
        self.harmed: dict[int, Damage] = {}
        """Partitions whose snapshots were harmed, until somebody writes one who must know of it."""
        self.met: Counter[str] = Counter()
        """How often what was done."""

    def ended(self, transaction: str, committed: bool, records: Mapping[Place, Sequence[StoredRecord]]) -> None:
        """See `Witness.ended`: from the next snapshot on that was written in the knowledge of the harm, all is well."""
        for place, some in records.items():
            damage = self.harmed.get(place.partition) if committed and place.topic == SNAPSHOTS else None
            if damage is None or some[-1].key != MARKER_KEY:
                continue
            if damage.is_known(read_marker(some[-1].value)):
                del self.harmed[place.partition]
                self.met["a harmed snapshot was replaced"] += 1

    def compact(self) -> None:
        """Compact a partition, or not."""
        if self._rng.random() < 0.5:
            self._topics.compact(self._rng.randrange(self._topics.partitions), self._rng)

    def do(
        self, admitted: Sequence[Sequence[Recorded]], restored: Sequence[Restored], needed: Callable[[int], int]
    ) -> None:
        """Expire events that a snapshot stands for, or harm a snapshot.

        Args:
            admitted: the events of each partition that count.
            restored: what a restore of each comes to.
            needed: the first event of a partition that somebody else has still to read.
        """
        partition = self._rng.randrange(self._topics.partitions)
        if partition in self._expiring:
            snapshot = self._topics.snapshot(partition)
            marker = check_snapshot(snapshot, admitted[partition], restored[partition], self._bounds)
            if marker is not None:
                self._topics.expire(partition, self._rng.randint(0, min(marker.next_offset, needed(partition))))
                self.met["events have expired"] += 1
        elif self.is_harmful:
            markers = self._markers(partition)
            if markers and self._harm(partition, markers, self._rng.randrange(6)):
                snapshot, whole = self._topics.snapshot(partition), restored[partition]
                usable = check_snapshot(snapshot, admitted[partition], whole, self._bounds, is_harmed=True)
                self.met["a snapshot was harmed" + (", but is one" if usable is not None else "")] += 1

    def choose(self) -> int | None:
        """A partition that may lose its last snapshot, or none."""
        some = [number for number in range(self._topics.partitions) if number not in self._expiring]
        return self._rng.choice(some) if some and self.is_harmful and self._rng.random() < 0.6 else None

    def lose_last(self, partition: int) -> bool:
        """Lose the last snapshot of a partition: what is left looks like one. Whether there was one before it."""
        markers = self._markers(partition)
        if len(markers) < 2 or not self._harm(partition, markers, LAST_LOST):
            return False
        self.met["the last snapshot was lost"] += 1
        return True

    def _markers(self, partition: int) -> Sequence[int]:
        """The offsets at which snapshots end."""
        log = self._topics.cluster.log(Place(SNAPSHOTS, partition))
        return [record.offset for record in log.records(committed_only=True) if record.key == MARKER_KEY]

    def _harm(self, partition: int, markers: Sequence[int], how: int) -> bool:
        """Lose records from the end or the start, or have another build write them; whether that can be done."""
        log, rng = self._topics.cluster.log(Place(SNAPSHOTS, partition)), self._rng
        end = log.limits().end
        events = self._topics.events[partition]
        claim = next((record.offset for record in reversed(events) if is_claim(record)), -1)
        before = self.harmed.get(partition)  # what was not felt of that is not felt now
        damage = Damage(events[-1].offset + 1 if events else 0, claim, is_felt=before is None or before.is_felt)
        match how:
            case 0:
                log.cut(max(end - rng.randint(1, 10), 0))
            case 1:
                log.cut(rng.choice((0, rng.randint(0, end))))
            # What is left looks like a snapshot. Compaction may have removed some of it.
            case 2:
                log.cut(rng.choice(markers) + 1)
            case 3:  # `LAST_LOST`
                log.cut(markers[-2:][0] + 1)
            case 4:
                # Somebody has given the topic a retention. In the worst case only the marker is left.
                log.expire(rng.choice((rng.randint(0, end), rng.choice(markers))))
                damage = damage._replace(is_felt=False)
            case _:
                if not self._rewrite(partition):
                    return False
        self.harmed[partition] = damage
        self._topics.trace.add(f"{SNAPSHOTS}/{partition}", "is harmed")
        return True

    def _rewrite(self, partition: int) -> bool:
        """Replace all by the snapshot of another build: what looks like a state of this one means something else.

        Returns:
            Whether that was done. One that would end where its owner knows it to end, or behind, nobody could notice.
        """
        place, snapshot = Place(SNAPSHOTS, partition), self._topics.snapshot(partition)
        content: dict[bytes | None, bytes | None] = {record.key: record.value for record in snapshot}
        content = {key: value for key, value in content.items() if value is not None}
        last = content.pop(MARKER_KEY, None)
        log = self._topics.cluster.log(place)
        if last is None or len(content) + 2 > snapshot[-1].offset:
            return False
        log.cut(0)
        for key, value in content.items():
            if self._rng.random() < 0.5 and key is not None and key.startswith(b"instance/") and value is not None:
                state = msgspec.json.decode(value)
                state[1] += 1  # its version
                content[key] = msgspec.json.encode(state)
        marker = msgspec.json.decode(last) | {"schema": SCHEMA + 1}
        records = [NewRecord(key or b"", value, [], 0) for key, value in content.items()]
        records.append(NewRecord(MARKER_KEY, msgspec.json.encode(marker), [], 0))
        self._topics.put(place, records, "another build")
        log.end_transaction("another build", committed=True)
        return True
