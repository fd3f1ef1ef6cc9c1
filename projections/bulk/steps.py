"""What a bulk operation needs next, by the read model and by what this process knows that it has done. Pure."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from projections.queries.bulks import BulkRow

MAX_TRIES: Final = 3
"""How often the commands of a page are sent although all of them have been decided and some were not counted. An engine
of a build before bulk operations does not say whose command it was. Without a limit the operation would never go on."""

Action = Literal["wait", "send", "advance"]


class Sent(NamedTuple):
    """Commands that were appended."""

    page: int
    """Which page they belong to, or which page was proposed."""
    offsets: Mapping[int, int]
    """By partition of `commands`, the offset of the last one."""

    def decided(self, causes: Mapping[int, int]) -> bool:
        """Whether all of them have been decided, and what became of them is in the read model.

        Args:
            causes: by partition, the highest offset of a command of which this holds.
        """
        return all(causes.get(partition, -1) >= offset for partition, offset in self.offsets.items())


class Memory(Struct):
    """What this process knows of an operation. If it is lost, commands are sent once more, and nothing else happens."""

    sent: Sent | None = None
    """Commands to the instances of a page."""
    proposed: Sent | None = None
    """The page that is to follow, or the end."""
    tries: int = 0
    """How often the commands of the page were sent."""


class Step(NamedTuple):
    """What comes next."""

    action: Action
    lost: int = 0
    """With `advance`: how many commands of the last page are given up."""


def next_step(row: BulkRow, memory: Memory, causes: Mapping[int, int]) -> Step:
    """What an operation needs next: to send the commands of its page, to advance to the next one, or to wait.

    Args:
        row: the operation.
        memory: what this process has done for it; changed if it is about an earlier page.
        causes: as in `Sent.decided`.
    """
    if memory.proposed is not None and memory.proposed.page == row.pages and not memory.proposed.decided(causes):
        return Step("wait")
    if not row.missing:
        return Step("advance")
    page = row.pages - 1
    if memory.sent is None or memory.sent.page != page:
        memory.sent, memory.tries = None, 0
        return Step("send")
    if not memory.sent.decided(causes):
        return Step("wait")
    return Step("send") if memory.tries < MAX_TRIES else Step("advance", row.missing)
