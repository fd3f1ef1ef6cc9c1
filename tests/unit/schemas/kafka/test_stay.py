"""Who ends for good leaves its group; who fails comes back to what it had."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from schemas.kafka import KafkaFault, staying


class Closing:
    """A member that keeps how it was closed."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def last(self) -> None:
        self.said.append("last")

    async def close(self, timeout_seconds: float, *, leave: bool) -> None:
        self.said.append("leaves" if leave else "comes back")


async def fails(error: Exception) -> None:
    raise error


async def waits() -> None:
    await asyncio.Event().wait()


async def told(
    work: Callable[[], Awaitable[None]], last: Callable[[], Awaitable[None]] | None = None, **options: Any
) -> list[str]:
    """What becomes of a member when work in its block ends, or is cancelled a moment later."""
    member = Closing()

    async def stay() -> None:
        async with staying(member, last or member.last, **options):  # type: ignore[arg-type]
            await work()

    task = asyncio.create_task(stay())
    await asyncio.wait([task], timeout=0.01)
    task.cancel()
    await asyncio.wait([task])
    return member.said


async def test_who_is_told_to_end_leaves() -> None:
    assert await told(waits) == ["last", "leaves"]


@pytest.mark.parametrize("error", [KafkaFault("away"), ValueError("a defect")], ids=repr)
async def test_who_fails_comes_back(error: Exception) -> None:
    assert await told(lambda: fails(error)) == ["last", "comes back"]


async def test_after_other_errors_nobody_comes_back() -> None:
    assert await told(lambda: fails(ValueError()), faults=KafkaFault) == ["last", "leaves"]


async def test_who_fails_and_is_told_to_end_meanwhile_leaves() -> None:
    assert await told(lambda: fails(KafkaFault("away")), waits) == ["leaves"]


async def test_a_member_is_closed_also_when_the_last_thing_fails() -> None:
    assert await told(lambda: fails(KafkaFault("away")), lambda: fails(ValueError())) == ["comes back"]
