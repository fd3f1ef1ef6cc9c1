"""Who may write snapshots: an owner that was superseded writes none with a writer that it has opened since.

It would shut out the writer of the new owner, and replace newer states by older ones.
"""

from collections.abc import Callable, Mapping, Sequence

from engine.snapshot_records import MARKER_KEY, read_marker
from schemas.kafka import Place
from schemas.kafka.memory import StoredRecord, Witness
from schemas.topics import SNAPSHOTS


class SnapshotWriters(Witness):
    """Holds every snapshot that is committed against the claims that there were when its writer was opened.

    Args:
        claims: the offset of the newest claim now, by partition.
    """

    def __init__(self, claims: Callable[[], Sequence[int]]):
        self._claims = claims
        self._opened: dict[str, Sequence[int]] = {}
        """By name, the claims that there were when its last writer was opened."""

    def opened(self, transaction: str) -> None:
        """See `Witness.opened`."""
        self._opened[transaction] = self._claims()

    def ended(self, transaction: str, committed: bool, records: Mapping[Place, Sequence[StoredRecord]]) -> None:
        """See `Witness.ended`.

        Raises:
            AssertionError: a snapshot was written that must not be.
        """
        for place, some in records.items():
            if committed and place.topic == SNAPSHOTS and some[-1].key == MARKER_KEY:
                epoch, claim = read_marker(some[-1].value).epoch, self._opened[transaction][place.partition]
                assert epoch >= claim, f"the owner of {epoch} has opened its writer behind the claim at {claim}"
