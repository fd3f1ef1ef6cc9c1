"""What happens to topics while engines work: compaction, retention, and harm that snapshots have to be safe from."""

import random
from collections import Counter
from collections.abc import Sequence

from engine.core.duplicates import Bounds
from engine.snapshot_records import MARKER_KEY
from schemas.records import Recorded
from tests.simulation.memory import Log
from tests.simulation.restoring import check_snapshot
from tests.simulation.snapshots import SnapshotTopic


class Harm:
    """Does something to the topics of a partition, now and then.

    A partition either loses its old events, as retention wants it, or its snapshots, but not both: without any of them
    it stands still for good, and that is right.

    Args:
        rng: decides what and where.
        log: the events.
        topic: of the snapshots.
        bounds: how much partitions remember.
    """

    def __init__(self, rng: random.Random, log: Log, topic: SnapshotTopic, bounds: Bounds):
        self._rng, self._log, self._topic, self._bounds = rng, log, topic, bounds
        self._expiring = {partition for partition in range(log.partitions) if rng.random() < 0.4}
        self._is_harmful = rng.random() < 0.5
        self.harmed: set[int] = set()
        """Partitions whose snapshots were harmed."""
        self.met: Counter[str] = Counter()
        """How often what was done."""

    def compact(self) -> None:
        """Compact a partition, or not."""
        if self._rng.random() < 0.5:
            self._topic[self._rng.randrange(self._log.partitions)].compact(self._rng)

    def do(self, admitted: Sequence[Sequence[Recorded]]) -> None:
        """Expire events that a snapshot stands for, or harm a snapshot.

        Args:
            admitted: the events of each partition that count.
        """
        partition = self._rng.randrange(self._log.partitions)
        snapshots = self._topic[partition]
        if partition in self._expiring:
            marker = check_snapshot(snapshots, admitted[partition], self._bounds)
            if marker is not None:
                self._log.expire(partition, self._rng.randint(0, marker.next_offset))
                self.met["events have expired"] += 1
        elif self._is_harmful:
            self.harmed.add(partition)
            markers = [record.offset for record in snapshots.records if record.key == MARKER_KEY]
            match self._rng.randrange(6):
                case 0:
                    snapshots.tear(max(snapshots.end - self._rng.randint(1, 10), 0))
                case 1:
                    snapshots.tear(self._rng.choice((0, self._rng.randint(0, snapshots.end))))
                case 2 | 3:
                    # What is left looks like a snapshot. Compaction may have removed some of it.
                    snapshots.tear(self._rng.choice(markers or [0]) + 1)
                case 4:
                    snapshots.lose_oldest(self._rng.randint(0, snapshots.end))
                case _:
                    snapshots.rewrite(self._rng)
            usable = check_snapshot(snapshots, admitted[partition], self._bounds, is_harmed=True) is not None
            self.met["a snapshot was harmed" + (", but is one" if usable else "")] += 1
