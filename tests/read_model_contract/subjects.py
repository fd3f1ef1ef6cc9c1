"""What is tested, and what several of the tests use."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Final, Protocol

from projections.ports import Store
from projections.queries.followed import FollowedInstances
from projections.queries.positions import ReadPositions
from projections.queries.read_model import ReadModel
from projections.rows import ReadPosition
from schemas import events
from tests.happened import at, next_batch

DEADLINE_SECONDS: Final = 60.0
"""Of what takes milliseconds. A busy machine may take long for it, or stand still meanwhile."""
NOBODY: Final = uuid.UUID(int=99)
BIG: Final = 10**30


class Subject(Protocol):
    """The queries under test, opened, on a read model that has caught up; and what only tests do to it."""

    store: Store
    model: ReadModel
    positions: ReadPositions
    followed: FollowedInstances

    def new_positions(self) -> ReadPositions:
        """Those of another process, not opened."""

    def lose_announcements(self, lost: bool) -> None:
        """Whether what is announced from now on reaches nobody."""

    def cut(self) -> None:
        """Cut all connections, of those that listen too."""

    def restart(self) -> None:
        """Start the database again. It has not caught up since."""

    def catch_up(self) -> None:
        """Let readers in."""

    async def write(
        self, *happened: tuple[uuid.UUID, Any], partition: int = 0, cause: int | None = None, announce: bool = True
    ) -> ReadPosition:
        """Put events into the read model, as one batch; where the partition is now.

        Args:
            happened: the ids of the aggregates, with events.
            partition: of the events.
            cause: the offset of their command.
            announce: whether the notification reaches anybody.
        """
        batch, after = await next_batch(self.store, happened, partition, cause)
        self.lose_announcements(not announce)
        await self.store.write(batch)
        self.lose_announcements(False)
        return after


def soon(seconds: float = DEADLINE_SECONDS) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.01)


def failing(seconds: float, stage: int, key_number: int = 0) -> list[Any]:
    """The events of an instance that fails in this stage, its second one in the first pass."""
    call: dict[str, Any] = {"stage": stage, "index": 1}
    first = [
        events.StageStarted(workflow_id="w", at=at(seconds), number=0, name="RunNoop", input={}),
        events.StageEnded(workflow_id="w", at=at(seconds), number=0),
    ]
    kept = [
        events.ActivityStarted(at=at(seconds + 1), stage=stage, index=0, name="ListWallets", input={}),
        events.ActivityEnded(at=at(seconds + 1), stage=stage, index=0, attempt=1, output={"n": BIG}),
    ]
    started = events.StageStarted(workflow_id="w", at=at(seconds + 1), number=stage, name="RunSend", input={})
    key: dict[str, Any] = {"key_number": key_number, "key_used": bool(key_number)}
    failed = [
        events.ActivityStarted(**call, at=at(seconds + 2), name="DebitWallet", input={"id": "w"}, **key),
        events.ActivityFailed(**call, at=at(seconds + 3), attempt=1, error="HTTP 503", retry_at=at(seconds + 4)),
        events.ActivityEnded(**call, at=at(seconds + 4), attempt=2, error="no", code="VALIDATION"),
        events.StageEnded(workflow_id="w", at=at(seconds + 4), number=stage, error="no"),
        events.InstanceEnded(workflow_id="w", at=at(seconds + 5), error="no", arrived=[2]),
    ]
    return [*first, started, *kept, *failed] if seconds < 10 else [started, *failed]
