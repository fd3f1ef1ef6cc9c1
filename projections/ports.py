"""What the projections need of the read model's database.

Two implementations pass one suite of tests: `store.PostgresStore`, and `memory.MemoryStore` for tests and simulations.
"""

from collections.abc import Collection, Mapping
from typing import Protocol

from projections.fold import Batch
from projections.rows import ReadPosition


class Store(Protocol):
    """The read model as the projections write it.

    Every method raises `StoreAway` while it can't be reached. Then it is unknown whether a batch was written;
    the positions tell.
    """

    @property
    def connected(self) -> bool:
        """Whether it answered last time."""

    async def close(self) -> None:
        """Close the connection."""

    async def positions(self, partitions: Collection[int]) -> dict[int, ReadPosition]:
        """How far the partitions are; at the start of the log if nothing was written of one."""

    async def note_topic(self, topic_id: str, partitions: Collection[int]) -> None:
        """Note which topic the positions of these partitions are of, where that is not known yet."""

    async def write(self, batch: Batch) -> None:
        """Write a batch, move the positions and announce it, or do nothing.

        Raises:
            PositionConflict: a position is not where the batch starts.
            BatchRefused: the database can't hold something in the batch.
        """

    async def not_caught_up(self, partitions: Collection[int]) -> set[int]:
        """Which of these partitions have not caught up since the database was started."""

    async def note_caught_up(self, ends: Mapping[int, int], partitions: int) -> set[int]:
        """Note partitions that have passed the end of their log, so that readers can know.

        Args:
            ends: by partition, as they were after `not_caught_up` was asked over the same connection.
            partitions: how many there are altogether.

        Returns:
            Those that have.
        """

    async def prune_rejections(self, retention_seconds: int) -> bool:
        """Delete some rejections that are older than this; whether there may be more."""
