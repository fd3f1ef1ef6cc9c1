"""Attempts of activities over HTTP.

Requests and answers have a thread of their own. On the loop of the decisions every answer that is read would be
before the acknowledgements of turns: with a thousand calls in flight, for as long as a thousand answers take.
"""

import time
from collections.abc import Callable, Mapping

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
        if not await may_start():
            return None
        begin = self._monotonic()
        with self._metrics.calls_in_flight.track_inprogress():
            done = await self._attempt_there(activity)
        outcome = "ok" if done.failure is None else "final" if is_final(activity.name, done.failure) else "retry"
        self._metrics.attempts.labels(activity.name, outcome).inc()
        self._metrics.attempt_seconds.labels(activity.name).observe(self._monotonic() - begin)
        return done

    async def _attempt_there(self, activity: CallActivity) -> ActivityDone:
        if not self._thread.running:
            return ActivityDone(activity.token, failure=Failure("the caller is closed"))
        return await self._thread.run(attempt(activity, self._send, self._timeout_seconds))

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        return await self._client.send(method, self._client.url + path, headers, body)
