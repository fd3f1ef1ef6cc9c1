"""What happens to topics while engines work: compaction, retention, and harm that snapshots have to be safe from."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from engine.core.duplicates import Bounds
from engine.core.snapshots import SCHEMA
from engine.snapshot_records import MARKER_KEY
from schemas.kafka import Place
from schemas.records import NewRecord, Recorded
from schemas.topics import SNAPSHOTS
from tests.simulation.restoring import Restored, check_snapshot
from tests.simulation.topics import Topics


class Harm:
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
        self._is_harmful = rng.random() < 0.5
        self.harmed: set[int] = set()
        """Partitions whose snapshots were harmed."""
        self.met: Counter[str] = Counter()
        """How often what was done."""

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
        elif self._is_harmful:
            self.harmed.add(partition)
            self._harm(partition)
            snapshot = self._topics.snapshot(partition)
            usable = check_snapshot(snapshot, admitted[partition], restored[partition], self._bounds, is_harmed=True)
            self.met["a snapshot was harmed" + (", but is one" if usable is not None else "")] += 1

    def _harm(self, partition: int) -> None:
        """Lose records from the end or the start, or have another build write them."""
        log, rng = self._topics.cluster.log(Place(SNAPSHOTS, partition)), self._rng
        self._topics.trace.add(f"{SNAPSHOTS}/{partition}", "is harmed")
        markers = [record.offset for record in log.records() if record.key == MARKER_KEY]
        end = log.limits().end
        match rng.randrange(6):
            case 0:
                log.cut(max(end - rng.randint(1, 10), 0))
            case 1:
                log.cut(rng.choice((0, rng.randint(0, end))))
            case 2 | 3:
                # What is left looks like a snapshot. Compaction may have removed some of it.
                log.cut(rng.choice(markers or [0]) + 1)
            case 4:
                log.expire(rng.randint(0, end))  # somebody has given the topic a retention
            case _:
                self._rewrite(partition)

    def _rewrite(self, partition: int) -> None:
        """Replace all by the snapshot of another build: what looks like a state of this one means something else."""
        place, snapshot = Place(SNAPSHOTS, partition), self._topics.snapshot(partition)
        content: dict[bytes | None, bytes | None] = {record.key: record.value for record in snapshot}
        content = {key: value for key, value in content.items() if value is not None}
        last = content.pop(MARKER_KEY, None)
        log = self._topics.cluster.log(place)
        if last is None or len(content) + 2 > snapshot[-1].offset:
            return  # it would end where its owner knows it to end, or behind: then nobody could notice
        log.cut(0)
        for key, value in content.items():
            if self._rng.random() < 0.5 and key is not None and key.startswith(b"instance/") and value is not None:
                state = msgspec.json.decode(value)
                state[1] += 1  # its version
                content[key] = msgspec.json.encode(state)
        marker = msgspec.json.decode(last) | {"schema": SCHEMA + 1}
        records = [NewRecord(key or b"", value, [], 0) for key, value in content.items()]
        records.append(NewRecord(MARKER_KEY, msgspec.json.encode(marker), [], 0))
        self._topics.cluster.append(place, records, "another build")
        log.end_transaction("another build", committed=True)
