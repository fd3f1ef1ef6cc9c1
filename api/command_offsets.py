"""Whether `commands` is still the log that the read model follows from.

A command is known by its offset. If `commands` was cut or created again, a new command gets the offset of one that was
decided long ago: engines take it for that one and pass over it, and its sender would be told the old one's outcome. An
abort would be answered 204, and the instance would go on to pay.

So before a command is appended, it is noted which offsets are taken: up to the highest command whose outcome is in the
read model, and the highest that Kafka has acknowledged here. What is appended afterwards lies behind both, or the log
was cut.

| its offset is not above | what becomes of it |
|---|---|
| a command whose outcome is known | nothing: it is taken for that one |
| one that was acknowledged, and no more is known of it | nobody can tell: if that one was not decided, this one is |

Commands that were acknowledged and not decided leave nothing behind when they are lost, and no repair brings their
offsets back. So they are forgotten then. By the time the next command is appended, the read model tells about the
others.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from api.errors import CommandLogUnavailable, CommandsCut, CommandsLost
from schemas.log_faults import LogFaults
from schemas.log_integrity import LogFault, check_commands

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS: Final = 5.0
"""How long nothing is appended to a partition that was cut. Each command that is appended to find out whether it was
repaired is lost if it was not."""

CATCH_UP_SECONDS: Final = 30.0
"""Likewise, where commands are lost that may have been decided: by then the read model has to tell which were. Without
this, a new command in the place of one of those could be answered with the outcome of that one."""

READER: Final = "api"


class SeenCauses(Protocol):
    """How far the read model is; see `projections.queries.positions.ReadPositions`."""

    @property
    def loaded(self) -> bool:
        """Whether the positions were read since the start."""

    async def load(self, deadline: float) -> None:
        """Wait until they were; raises TimeoutError."""

    def seen_cause(self, partition: int, /) -> int:
        """Highest offset of a command whose outcome is in the read model; -1 if none is known."""


class Taken(NamedTuple):
    """Offsets that are taken in a partition, up to these; -1 if none is."""

    decided: int = -1
    """Of commands whose outcome is known."""
    acknowledged: int = -1
    """Of commands that were appended here."""


NOTHING: Final = Taken()


class CommandOffsets:
    """The offsets that are taken.

    Args:
        seen: the read model's positions.
        faults: shows which partitions were cut.
        clock: seconds that only go forwards.
    """

    def __init__(self, seen: SeenCauses, faults: LogFaults, clock: Callable[[], float] = time.monotonic):
        self._seen, self._faults, self._clock = seen, faults, clock
        self._taken: dict[int, Taken] = {}
        self._refused_until: dict[int, float] = {}

    async def taken(self, partition: int, deadline: float) -> Taken:
        """The offsets that are taken. Ask before each append.

        Args:
            partition: where a command is to be appended.
            deadline: loop time to give up at.

        Raises:
            CommandsCut: the partition was found to be cut a moment ago.
            CommandLogUnavailable: the read model was never reached since the start, so nobody can tell.
        """
        if self._refused_until and self._refused_until.get(partition, 0.0) > self._clock():
            raise CommandsCut
        if not self._seen.loaded:
            try:
                await self._seen.load(deadline)
            except TimeoutError:
                raise CommandLogUnavailable("the read model can't be reached, so no command is accepted") from None
        known, seen = self._taken.get(partition, NOTHING), self._seen.seen_cause(partition)
        if seen > known.decided:
            # Remembered, since behind a new connection to Postgres may be an older copy of the read model.
            known = self._taken[partition] = Taken(seen, known.acknowledged)
        return known

    def appended(self, partition: int, offset: int, taken: Taken) -> None:
        """Check where a command was appended.

        Args:
            partition: of the command.
            offset: that Kafka has acknowledged.
            taken: what `taken` said before.

        Raises:
            CommandsCut: the offset is that of a command that was decided, so this one will not be carried out.
            CommandsLost: the offset is that of an older command, so nobody can tell whether it will.
        """
        known = self._taken.get(partition, NOTHING)
        try:
            check_commands(partition, max(taken) + 1, offset)
        except LogFault as fault:
            self._taken[partition] = Taken(known.decided, offset)
            if not self._faults.stands(READER, partition):
                logger.error("%s", fault)
            self._faults.show(READER, partition, fault)
            # As the read model is now: it may have come to the older command meanwhile.
            is_decided = offset <= max(taken.decided, self._seen.seen_cause(partition))
            self._refused_until[partition] = self._clock() + (LOOK_AGAIN_SECONDS if is_decided else CATCH_UP_SECONDS)
            raise (CommandsCut if is_decided else CommandsLost) from None
        if offset > known.acknowledged:
            self._taken[partition] = Taken(known.decided, offset)
        if self._refused_until and self._refused_until.pop(partition, None) is not None:
            logger.info("commands of partition %d are accepted again", partition)
            self._faults.clear(READER, partition)
