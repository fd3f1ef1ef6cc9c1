"""Attempts of activities over HTTP.

An attempt is allowed to start by the loop of decisions, and its request sets out a moment later. Where it has to wait
for an access token or a connection, it asks again before the request is sent: meanwhile its instance may have been
aborted, and the abort answered, or another engine may own it.

Requests and answers have a thread of their own. On the loop of the decisions every answer that is read would be
before the acknowledgements of turns: with a thousand calls in flight, for as long as a thousand answers take.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from engine.activities.attempts import attempt
from engine.activities.loop_thread import LoopThread
from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.retries import Failure, is_final
from engine.metrics import Metrics
from engine.ports import MayStart
from schemas.settings import EngineSettings
from schemas.stack.answers import Answer
from schemas.stack.client import StackClient
from schemas.stack.errors import Withdrawn

MAX_SET_OUT_SECONDS: Final = 0.05
"""How long the permission to start an attempt lasts. Much longer, and a request would be sent after the abort of its
instance was answered; with none at all, each request would visit the loop of decisions twice."""


class _Permission:
    """Whether an attempt may start.

    Args:
        may_start: asked in the event loop in which this is made.
        monotonic: seconds that never go back.
    """

    def __init__(self, may_start: MayStart, monotonic: Callable[[], float]):
        self._may_start, self._monotonic = may_start, monotonic
        self._loop = asyncio.get_running_loop()
        self._given_at = -math.inf
        self.denied = False

    async def ask(self) -> bool:
        """Whether the attempt may start now. To be called in the loop of `may_start`."""
        self.denied = not await self._may_start()
        self._given_at = self._monotonic()
        return not self.denied

    async def renew(self) -> None:
        """Ask again, from any loop, unless that was done a moment ago.

        Raises:
            Withdrawn: the attempt may not start any more.
        """
        if self._monotonic() - self._given_at <= MAX_SET_OUT_SECONDS:
            return
        if not await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.ask(), self._loop)):
            raise Withdrawn("it is not wanted any more")


class StackCaller:
    """`engine.ports.ActivityCaller` over HTTP. To be opened before the first call.

    Args:
        settings: where the stack is, its credentials, and the limits.
        metrics: counts attempts.
        monotonic: seconds that never go back.

    Raises:
        SettingsError: the stack's URL is not a URL, or one of the two client credentials is missing.
    """

    def __init__(self, settings: EngineSettings, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic):
        self._client = StackClient(settings, monotonic)
        self._thread = LoopThread("activities")
        self._timeout_seconds = settings.activity_timeout_seconds
        self._metrics = metrics
        self._monotonic = monotonic

    async def open(self) -> None:
        """Make ready for calls. The stack need not be there yet."""
        self._thread.start()
        await self._thread.run(self._client.open())

    async def close(self) -> None:
        """Close all connections. Calls under way fail."""
        if self._thread.running:
            await self._thread.run(self._client.close())
            await self._thread.stop()

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        """See `ActivityCaller.call`."""
        permission = _Permission(may_start, self._monotonic)
        if not await permission.ask():
            return None
        begin = self._monotonic()
        with self._metrics.calls_in_flight.track_inprogress():
            done = await self._attempt_there(activity, permission)
        if permission.denied:
            return None
        outcome = "ok" if done.failure is None else "final" if is_final(activity.name, done.failure) else "retry"
        self._metrics.attempts.labels(activity.name, outcome).inc()
        self._metrics.attempt_seconds.labels(activity.name).observe(self._monotonic() - begin)
        return done

    async def _attempt_there(self, activity: CallActivity, permission: _Permission) -> ActivityDone:
        if not self._thread.running:
            return ActivityDone(activity.token, failure=Failure("the caller is closed"))
        return await self._thread.run(attempt(activity, partial(self._send, permission), self._timeout_seconds))

    async def _send(
        self, permission: _Permission, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        return await self._client.send(method, self._client.url + path, headers, body, permission.renew)
