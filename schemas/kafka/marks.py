"""Where the ends of transactions are: each takes an offset, and nobody is handed it.

A reader of the log counts offsets. Where some are missing, it has to know whether these were marks, or records that are
lost. Importing `foreign_records` has aiokafka tell what it passes over, as long as somebody asks.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from schemas.kafka.ports import Place

_sought: Final[dict[Place, dict[int, set[int]]]] = {}
"""By partition, what to add to: one set for each who asks."""


@contextlib.contextmanager
def noting_marks(place: Place) -> Iterator[set[int]]:
    """The offsets of a partition's marks in what is fetched within the block, by whomever in this process."""
    found = set[int]()
    asking = _sought.setdefault(place, {})
    asking[id(found)] = found
    try:
        yield found
    finally:
        del asking[id(found)]
        if not asking:
            del _sought[place]


def are_sought(place: Any) -> bool:
    """Whether anybody asks for the marks of a partition."""
    return place in _sought


def note_marks(place: Any, records: Any) -> None:
    """Take what was fetched of a partition.

    Args:
        place: the partition.
        records: aiokafka's `MemoryRecords`, of which nothing was read.
    """
    while records.has_next():
        batch = records.next_batch()
        if batch.is_control_batch:
            for found in _sought[place].values():
                found.update(range(batch.base_offset, batch.next_offset))
