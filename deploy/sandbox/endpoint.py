"""From ASGI to a plain function and back.

A handler is `(sandbox, call) -> answer`, without `await`: what it does is done before any other request is looked at.
These classes read the body, answer errors as the stack does, and around the stack's own calls check the token, count,
and let faults strike. They speak ASGI directly, since the sandbox shares the machine with what it is there to test.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from api import answers
from api.errors import ClientGone, Invalid, TooLarge
from api.requests import HttpRequest
from deploy.sandbox.errors import SandboxError, TooLargeError, ValidationError, WalletNotFoundError
from deploy.sandbox.faults import UNHARMED, Fate, FaultRule
from deploy.sandbox.state import CallCount, Sandbox

ABORT_EXTENSION: Final = "sandbox.abort"
"""ASGI extension of the sandbox's own server; see `server`."""

_encode = msgspec.json.Encoder().encode
_SANDBOX: Final = (b"x-sandbox", b"true")
_HIT: Final = (b"idempotency-hit", b"true")
_GARBAGE: Final = b"<html>this is not JSON</html>"


class Call(HttpRequest):
    """A request with the whole body."""

    __slots__ = ("body",)

    def __init__(self, scope: Scope, receive: Receive):
        super().__init__(scope, receive, scope["path_params"])
        self.body = b""

    def number(self, name: str, default: int, maximum: int) -> int:
        """A query parameter as a number from 0 to `maximum`; raises `ValidationError`."""
        text = self.query(name)
        if text is None:
            return default
        # A number of thousands of digits would not even convert.
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(maximum)) and int(text) <= maximum):
            raise ValidationError(f"{name} must be a number from 0 to {maximum}")
        return int(text)


class Answer(answers.Answer):
    """An answer, marked as the sandbox's.

    Args:
        status: the HTTP status.
        body: JSON, or nothing.
        hit: whether an idempotency key was used before.
        show_hit: whether a header says so.
    """

    __slots__ = ("hit",)

    def __init__(self, status: int, body: bytes = b"", *, hit: bool = False, show_hit: bool = False):
        headers = [_SANDBOX, _HIT] if hit and show_hit else [_SANDBOX]
        super().__init__(status, None if status == 204 else body, headers)
        self.hit = hit


Handler = Callable[[Sandbox, Call], Answer]


def json_answer(status: int, body: Any, *, hit: bool = False, show_hit: bool = False) -> Answer:
    """An answer with `body` as JSON."""
    return Answer(status, _encode(body), hit=hit, show_hit=show_hit)


def error_answer(status: int, code: str, message: str) -> Answer:
    """An answer in the form of all the stack's errors."""
    return json_answer(status, {"errorCode": code, "errorMessage": message})


class Endpoint:
    """A handler as an ASGI application, for the sandbox's own `/sandbox/…`."""

    def __init__(self, sandbox: Sandbox, handler: Handler, *, writes: bool = False) -> None:
        """Wraps `handler`; `writes` says that it adds to what the sandbox keeps."""
        self._sandbox = sandbox
        self._handler = handler
        self._writes = writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        try:
            call = await self._read(scope, receive)
            answer = self._handle(call)
        except SandboxError as error:
            answer = _refusal(error)
        await answer.send(receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> Call:
        call = Call(scope, receive)
        try:
            call.body = await call.read(self._sandbox.settings.max_body_bytes)
        except TooLarge as error:
            raise TooLargeError(str(error)) from None
        except (Invalid, ClientGone):
            raise ValidationError("incomplete request body") from None
        return call

    def _handle(self, call: Call) -> Answer:
        if not self._writes:
            return self._handler(self._sandbox, call)
        self._sandbox.check_room()
        answer = self._handler(self._sandbox, call)
        if not answer.hit:
            self._sandbox.count_write()
        return answer


class StackEndpoint(Endpoint):
    """A call of the stack: counted by name, open to faults, and behind the bearer token where one is required."""

    def __init__(
        self, sandbox: Sandbox, name: str, handler: Handler, *, writes: bool = False, public: bool = False
    ) -> None:
        """Wraps `handler`; `name` is the call's in counters and fault switches, `public` that it needs no token."""
        super().__init__(sandbox, handler, writes=writes)
        self._name = name
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or does not, as the faults have it."""
        fate = UNHARMED
        try:
            call = await self._read(scope, receive)
            count = self._sandbox.calls.setdefault(self._name, CallCount())
            count.calls += 1
            if self._sandbox.settings.require_token and not self._public:
                self._sandbox.tokens.check(call.header(b"authorization"))
            fate = self._sandbox.faults.draw(self._name)
            if fate is not UNHARMED:
                _count_faults(count, fate)
            if fate.rule is not None and not fate.rule.commits:
                answer = _fault_answer(fate.rule)
            else:
                answer = self._handle(call)
                count.idempotency_hits += answer.hit
        except SandboxError as error:
            answer = _refusal(error)
        if fate is UNHARMED:
            await answer.send(receive, send)
        else:
            await self._suffer(fate, answer, scope, receive, send)

    async def _suffer(self, fate: Fate, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if fate.delay_seconds:
            await self._sandbox.settings.sleep(fate.delay_seconds)
        kind = fate.rule.kind if fate.rule is not None else None
        if kind == "drop":
            await _drop(scope, receive, send)
        elif kind == "garbage":
            await Answer(200, _GARBAGE).send(receive, send)
        elif fate.rule is not None:
            await _fault_answer(fate.rule).send(receive, send)
        else:
            await answer.send(receive, send)


async def _drop(scope: Scope, receive: Receive, send: Send) -> None:
    abort = scope.get("extensions", {}).get(ABORT_EXTENSION)
    if abort is not None:
        abort()
        # Returning before the server noticed would make it answer for us.
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    # Under a server without the extension: announce a body that never comes, which makes the server hang up.
    headers = [_SANDBOX, (b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


def _refusal(error: SandboxError) -> Answer:
    if isinstance(error, WalletNotFoundError):
        return Answer(error.status)
    return error_answer(error.status, error.code, str(error))


def _fault_answer(rule: FaultRule) -> Answer:
    return error_answer(rule.status, rule.code, rule.message)


def _count_faults(count: CallCount, fate: Fate) -> None:
    kinds = ["slow"] if fate.delay_seconds else []
    if fate.rule is not None:
        kinds.append(fate.rule.kind)
    for kind in kinds:
        count.faults[kind] = count.faults.get(kind, 0) + 1
