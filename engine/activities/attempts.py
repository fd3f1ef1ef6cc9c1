"""One attempt of an activity, however its request is carried: from its input to a request, from the answer to a result.

`StackCaller` carries requests over HTTP. Scenario tests hand them to the sandbox in the same process: what they show
is what an engine would do, since all of this is the same.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from engine.activities import ledger, payments, wallets
from engine.activities.operations import Operation, Request
from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.retries import Failure
from schemas.error_texts import INTERNAL_FAULT
from schemas.stack.answers import Answer
from schemas.stack.errors import CallFailed, NotSendable

logger = logging.getLogger(__name__)

SERVICES: Final = {"ledger": ledger.OPERATIONS, "wallets": wallets.OPERATIONS, "payments": payments.OPERATIONS}
"""The activities of each service of the stack."""

OPERATIONS: Final[dict[str, Operation]] = {
    name: made for operations in SERVICES.values() for name, made in operations.items()
}
"""Every activity by its name."""

_SERVICE_OF: Final = {name: service for service, operations in SERVICES.items() for name in operations}

Send = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[Answer]]
"""Carries a request: method, path below the stack's URL, headers, body. Raises `CallFailed` if there is no answer."""


def service_of(activity: str) -> str:
    """The service of the stack that an activity calls, by its name; empty if the activity is unknown."""
    return _SERVICE_OF.get(activity, "")


async def attempt(activity: CallActivity, send: Send, timeout_seconds: float) -> ActivityDone:
    """Carry out one attempt. Whatever goes wrong is a failure in the result, never an exception.

    Args:
        activity: what to call.
        send: carries the request.
        timeout_seconds: how long the attempt may take.
    """
    failure: Failure
    try:
        async with asyncio.timeout(timeout_seconds):
            return ActivityDone(activity.token, output=await _output(activity, send))
    except TimeoutError:
        failure = Failure(f"timeout after {timeout_seconds:g} s")
    except CallFailed as failed:
        failure = as_failure(failed)
    except Exception:
        # A bug here must neither stop the partition nor leave the instance waiting for a result.
        logger.exception("an attempt failed", extra={"activity": activity.name})
        failure = Failure(INTERNAL_FAULT)
    return ActivityDone(activity.token, failure=failure)


async def _output(activity: CallActivity, send: Send) -> Any:
    operation = OPERATIONS.get(activity.name)
    if operation is None:
        raise CallFailed("this engine does not know the activity")
    request = operation.request(activity.input, activity.idempotency_key)
    return operation.output(await _exchange(request, send))


async def _exchange(request: Request, send: Send) -> Answer:
    body = None if request.body is None else _encoded(request.body)
    headers: dict[str, str] = {} if body is None else {"Content-Type": "application/json"}
    if request.idempotency_key is not None:
        headers["Idempotency-Key"] = request.idempotency_key
    return await send(request.method, request.path, headers, body)


def as_failure(failed: CallFailed) -> Failure:
    """The error as data."""
    return Failure(str(failed), failed.status, failed.code)


def _encoded(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (ValueError, RecursionError) as error:
        raise NotSendable(f"the request can't be encoded: {type(error).__name__}") from None
