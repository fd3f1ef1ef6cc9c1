"""Values that may be used for a moment after they were read, so that not every request has to read them.

This needs help from the request that changes such a value: it answers no sooner than `LEASE_SECONDS` after the change
can be read. By then every lease on the old value has ended, on every replica.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LEASE_SECONDS: Final = 0.1
"""How long a value may be used. A change waits for as long, so a longer lease would be felt there. It must be the same
in every release: replicas of two releases run side by side, and a change in one waits for the leases of the other."""


class _Lease(NamedTuple, Generic[V]):
    ends_at: float
    value: V


class Leases(Generic[K, V]):
    """Reads values by key, unless the last one read may still be used.

    Args:
        read: the value of a key as it is now or later; None if it does not exist, which is not kept.
        clock: seconds, monotonic.
    """

    def __init__(self, read: Callable[[K], Awaitable[V | None]], clock: Callable[[], float] = time.monotonic):
        self._read = read
        self._clock = clock
        self._held: dict[K, _Lease[V]] = {}

    async def get(self, key: K) -> V | None:
        """The value as it was at most `LEASE_SECONDS` ago; raises what `read` raises."""
        now = self._clock()
        lease = self._held.get(key)
        if lease is not None and now < lease.ends_at:
            return lease.value
        value = await self._read(key)
        if value is not None:
            self._forget_before(now)
            self._held.pop(key, None)  # so that it goes to the end
            # From before the read: the value may have changed right after it was looked at.
            self._held[key] = _Lease(now + LEASE_SECONDS, value)
        return value

    def _forget_before(self, now: float) -> None:
        """Drop leases that have ended, which bounds them to what was read within one."""
        while self._held:
            oldest = next(iter(self._held))
            if self._held[oldest].ends_at > now:
                return
            del self._held[oldest]
