"""The issuer's keys: kept, renewed in time, and renewed at once when a token names an unknown one."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from api.auth.errors import IssuerFault, KeysUnavailable
from api.auth.issuer import Keys
from api.waiting import Admission

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_SECONDS: Final = 5.0
"""How long a fetch may take, discovery included. Requests that need its outcome wait as long."""

FETCH_PAUSE_SECONDS: Final = 5.0
"""Shortest time from the end of a fetch to the start of the next. Without it anyone could make us hammer the issuer,
with tokens that name unknown keys. It is also how long a new key may stay unknown."""

MAX_STALE_SECONDS: Final = 3600.0
"""How much longer keys are used while the issuer is away. Access tokens commonly live this long at most, so clients
that have one do not notice the outage. Without an end, a withdrawn key would stay valid for ever."""

MAX_WAITING_REQUESTS: Final = 256
"""Requests that wait for a fetch; one more is answered 503. Without a limit, made-up tokens would take the places of
all requests while the issuer is slow."""


class IssuerKeys:
    """Keys at hand. While they are fresh nobody waits, and whoever must wait shares one fetch.

    Args:
        fetch: gets them from the issuer; raises `IssuerFault`.
        ttl_seconds: how long they are used before they are fetched again, in the background.
        monotonic: seconds that never go back.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[Keys]], ttl_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ):
        self._fetch = fetch
        self._ttl_seconds = ttl_seconds
        self._monotonic = monotonic
        self._keys: Keys | None = None
        self._fetched_at = self._next_fetch_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None
        self._failed = False
        self._waiting = Admission(MAX_WAITING_REQUESTS)

    def renew(self) -> None:
        """Start a fetch, unless one is under way or the last one ended just now."""
        if self._fetching is None and self._monotonic() >= self._next_fetch_at:
            self._fetching = asyncio.create_task(self._renew())

    async def current(self) -> Keys:
        """The keys. As long as they don't change it is the same tuple.

        Raises:
            KeysUnavailable: no keys were fetched yet, or they are too old.
        """
        age = self._monotonic() - self._fetched_at
        if age >= self._ttl_seconds:
            self.renew()
        if age >= self._ttl_seconds + MAX_STALE_SECONDS:
            await self._fetched()
            if self._monotonic() - self._fetched_at >= self._ttl_seconds + MAX_STALE_SECONDS:
                raise KeysUnavailable("the keys of the token issuer are not available")
        assert self._keys is not None  # noqa: S101 - they were fetched less than for ever ago
        return self._keys

    async def newer(self, than: Keys) -> Keys | None:
        """Keys that were fetched later than these, fetched now if need be; None if it is too soon to ask again.

        Raises:
            KeysUnavailable: the issuer is away, or too many wait for it.
        """
        if self._keys is than:
            self.renew()
            await self._fetched()
        if self._keys is not than:
            return self._keys
        if self._failed:
            raise KeysUnavailable("the token may be signed with a new key, but the issuer can't be asked for it")
        return None

    async def close(self) -> None:
        """End a fetch under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    async def _fetched(self) -> None:
        """Wait for the fetch under way, if there is one."""
        if self._fetching is None:
            return
        if not self._waiting.enter():
            raise KeysUnavailable("too many requests are waiting for the keys of the token issuer")
        try:
            # Unlike awaiting it, this doesn't take the fetch away from the others when this request is cancelled.
            await asyncio.wait({self._fetching})
        finally:
            self._waiting.leave()

    async def _renew(self) -> None:
        self._failed = True  # until it has succeeded
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                keys = await self._fetch()
        except IssuerFault as fault:
            logger.warning("the keys of the token issuer could not be fetched: %s", fault)
        except TimeoutError:
            logger.warning("the keys of the token issuer did not come within %g s", FETCH_TIMEOUT_SECONDS)
        except Exception:
            logger.exception("the keys of the token issuer could not be fetched")
        else:
            if not keys:
                logger.warning("the token issuer publishes no key that can be used, so no token is valid")
            self._keys, self._fetched_at, self._failed = keys, self._monotonic(), False
        finally:
            self._next_fetch_at = self._monotonic() + FETCH_PAUSE_SECONDS
            self._fetching = None
