"""How long somebody is a member of a group: a planned end leaves it, a fault comes back to what it had."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from schemas.kafka.ports import Member


@asynccontextmanager
async def staying(
    member: Member,
    last: Callable[[], Awaitable[None]],
    *,
    faults: type[Exception] = Exception,
    timeout_seconds: float = 3.0,
) -> AsyncIterator[None]:
    """Close a member behind the block, however that ends.

    One that fails keeps the member's place: its owner joins again under the same name. One that is cancelled leaves for
    good, so that the partitions move at once. So does one that fails and is cancelled before it has ended.

    Args:
        member: started in the block.
        last: done before the member is closed, also when the block has failed.
        faults: after which its owner joins again.
        timeout_seconds: see `Member.close`.
    """
    leave = True
    try:
        yield
    except faults:
        leave = False
        raise
    finally:
        try:
            await last()
        except asyncio.CancelledError:
            leave = True
            raise
        finally:
            await member.close(timeout_seconds, leave=leave)
