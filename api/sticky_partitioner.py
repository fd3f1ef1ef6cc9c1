"""Where new instances go: those that are made at about the same time share a partition (Kafka's KIP-480 does so too).

To append to a partition, or to read it, costs Kafka and us about as much for twenty records as for two. An instance
stays in the partition of its id, and nothing but chance is in an id that nobody has yet. So we make ids of one
partition for a moment, and then of another. In the long run each partition gets as many.

With few requests each is a moment of its own.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from api.ports import Place
from schemas.topics import partition_of

STICKY_SECONDS: Final = 0.02
"""How long a moment is. Clients who wait for each other's batches come together within less. In a longer one, the
engine of the partition would have to keep up with all that our process accepts, while others have nothing to do."""
MAX_GROUPS: Final = 16
"""Into how many groups partitions are divided, of which one gets the new instances. On average, so many ids are tried
for one; more would cost more than is saved."""
MAX_TRIES: Final = 256
"""Ids that are tried before one is taken that is elsewhere. It does not happen once in a million times."""


class StickyPartitioner:
    """Places what has no place yet.

    Args:
        monotonic: seconds that only go forwards.
    """

    def __init__(self, monotonic: Callable[[], float]):
        self._monotonic = monotonic
        self._group = 0
        self._until = float("-inf")

    def place(self, id: UUID, partitions: int) -> Place:
        """Give something that is new an id, and so its partition.

        Args:
            id: that nobody has; the result differs from it in its last 16 bits at most.
            partitions: of the topic.
        """
        text = str(id)
        groups = min(partitions, MAX_GROUPS)
        natural = partition_of(text.encode(), partitions)
        now = self._monotonic()
        if now >= self._until:
            self._group, self._until = natural % groups, now + STICKY_SECONDS
        if natural % groups == self._group:
            return Place(id, natural)
        head, tail = text[:-4].encode(), id.int & 0xFFFF
        for number in range(tail + 1, tail + MAX_TRIES):
            key = b"%b%04x" % (head, number & 0xFFFF)
            partition = partition_of(key, partitions)
            if partition % groups == self._group:
                return Place(UUID(key.decode()), partition)
        return Place(id, natural)
