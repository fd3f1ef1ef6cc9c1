"""One attempt of an activity: from its input to a request, over HTTP, and from the answer to its output.

Requests and answers have a thread of their own. On the loop of the decisions every answer that is read would be
before the acknowledgements of turns: with a thousand calls in flight, for as long as a thousand answers take.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.activities import ledger, payments, wallets
from engine.activities.loop_thread import LoopThread
from engine.activities.operations import Operation, Request
from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.retries import Failure, is_final
from engine.metrics import Metrics
from engine.ports import MayStart
from schemas.settings import EngineSettings
from schemas.stack.answers import Answer
from schemas.stack.client import StackClient
from schemas.stack.errors import CallFailed, NotSendable

logger = logging.getLogger(__name__)

SERVICES: Final = {"ledger": ledger.OPERATIONS, "wallets": wallets.OPERATIONS, "payments": payments.OPERATIONS}
"""The activities of each service of the stack."""

OPERATIONS: dict[str, Operation] = {name: made for operations in SERVICES.values() for name, made in operations.items()}
"""Every activity by its name."""

_SERVICE_OF: Final = {name: service for service, operations in SERVICES.items() for name in operations}


def service_of(activity: str) -> str:
    """The service of the stack that an activity calls, by its name; empty if the activity is unknown."""
    return _SERVICE_OF.get(activity, "")


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
        return await self._thread.run(self._attempt(activity))

    async def _attempt(self, activity: CallActivity) -> ActivityDone:
        failure: Failure
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return ActivityDone(activity.token, output=await self._output(activity))
        except TimeoutError:
            failure = Failure(f"timeout after {self._timeout_seconds:g} s")
        except CallFailed as failed:
            failure = as_failure(failed)
        except Exception:
            # A bug here must neither stop the partition nor leave the instance waiting for a result.
            logger.exception("an attempt failed", extra={"activity": activity.name})
            failure = Failure("internal fault")
        return ActivityDone(activity.token, failure=failure)

    async def _output(self, activity: CallActivity) -> Any:
        operation = OPERATIONS.get(activity.name)
        if operation is None:
            raise CallFailed("this engine does not know the activity")
        request = operation.request(activity.input, activity.idempotency_key)
        return operation.output(await self._exchange(request))

    async def _exchange(self, request: Request) -> Answer:
        body = None if request.body is None else _encoded(request.body)
        headers: dict[str, str] = {} if body is None else {"Content-Type": "application/json"}
        if request.idempotency_key is not None:
            headers["Idempotency-Key"] = request.idempotency_key
        return await self._client.send(request.method, self._client.url + request.path, headers, body)


def as_failure(failed: CallFailed) -> Failure:
    """The error as data."""
    return Failure(str(failed), failed.status, failed.code)


def _encoded(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (ValueError, RecursionError) as error:
        raise NotSendable(f"the request can't be encoded: {type(error).__name__}") from None
