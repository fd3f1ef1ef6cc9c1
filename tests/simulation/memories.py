"""What engines have in memory, and what snapshots hold, is what a restore would come to."""

from collections.abc import Hashable

from engine.core.duplicates import Bounds
from tests.simulation.checkers import Observer
from tests.simulation.engines import Engines
from tests.simulation.harm import Harm
from tests.simulation.restoring import Restored, check_restorable, check_snapshot
from tests.simulation.topics import Topics


class Memories:
    """Compares them, each time that something has changed.

    Args:
        observer: follows the log.
        topics: hold the snapshots.
        engines: hold the rest.
        harm: knows which snapshots were harmed.
        bounds: how much engines remember.
    """

    def __init__(self, observer: Observer, topics: Topics, engines: Engines, harm: Harm, bounds: Bounds):
        self._observer, self._topics, self._engines, self._harm = observer, topics, engines, harm
        self._bounds = bounds
        self._live = [Restored(events, bounds) for events in observer.admitted]
        """What engines must have in memory, as far as they have come."""
        self.whole = [Restored(events, bounds) for events in observer.admitted]
        """What a restore of each partition comes to now."""
        self._checked: dict[Hashable, object] = {}

    def check(self) -> None:
        """Compare what has changed.

        Raises:
            AssertionError: something differs.
        """
        self._observer.check()
        for partition in self._engines.partitions():
            if partition.restored and not partition.in_turn and self._is_new(partition, partition.end):
                check_restorable(partition, self._live[partition.number])
        for number, admitted in enumerate(self._observer.admitted):
            snapshot = self._topics.snapshot(number)
            if self._is_new(number, (len(admitted), len(snapshot), snapshot[-1] if snapshot else None)):
                whole, is_harmed = self.whole[number], number in self._harm.harmed
                check_snapshot(snapshot, admitted, whole, self._bounds, is_harmed=is_harmed)

    def check_whole(self) -> None:
        """What was folded on the way is what the whole log comes to.

        Raises:
            AssertionError: it is not.
        """
        for restored in (*self._live, *self.whole):
            restored.check()

    def check_size(self, waiting: int) -> None:
        """No engine keeps what has ended.

        Args:
            waiting: how many instances have not.

        Raises:
            AssertionError: one does.
        """
        held = sum(partition.shard.instances for partition in self._engines.partitions())
        assert held == waiting, f"engines hold {held} instances, and {waiting} have not ended"

    def _is_new(self, subject: Hashable, state: object) -> bool:
        """Whether a subject was not checked in this state."""
        known, self._checked[subject] = self._checked.get(subject), state
        return known != state
