"""From ASGI to a plain function and back.

A handler is `(sandbox, call) -> answer`, without `await`: what it does is done before any other request is looked at.
These classes read the body, answer errors as the stack does, and around the stack's own calls check the token, count,
and let faults strike. They speak ASGI directly, since the sandbox shares the machine with what it is there to test.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import Message, Receive, Scope, Send

from deploy.sandbox.errors import SandboxError, TooLargeError, ValidationError, WalletNotFoundError
from deploy.sandbox.faults import UNHARMED, Fate
from deploy.sandbox.state import CallCount, Sandbox

# Offered by the sandbox's own server; see `server`.
ABORT_EXTENSION = "sandbox.abort"

_encoder = msgspec.json.Encoder()
_BASE_HEADERS = [(b"content-type", b"application/json"), (b"x-sandbox", b"true")]
_HIT_HEADER = (b"idempotency-hit", b"true")
_GARBAGE = b"<html>this is no JSON</html>"


class Call(msgspec.Struct, frozen=True):
    """A request: path parameters, raw query, headers (names in lower case) and the whole body."""

    path: dict[str, str]
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> str | None:
        """The first header of that name (in lower case)."""
        for header, value in self.headers:
            if header == name:
                return value.decode("latin-1")
        return None

    @property
    def idempotency_key(self) -> str | None:
        """The `Idempotency-Key` header."""
        return self.header(b"idempotency-key")

    def query_value(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return parse_qs(self.query.decode("latin-1"), keep_blank_values=True).get(name, [None])[0]

    def query_number(self, name: str, default: int, maximum: int) -> int:
        """A query parameter as a number from 0 to `maximum`; raises `ValidationError`."""
        text = self.query_value(name)
        if text is None:
            return default
        # A number of thousands of digits would not even convert.
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(maximum)) and int(text) <= maximum):
            raise ValidationError(f"{name} must be a number from 0 to {maximum}")
        return int(text)


class Answer(msgspec.Struct, frozen=True):
    """A response: status, JSON body, whether an idempotency key was hit, and whether the header says so."""

    status: int
    body: bytes = b""
    hit: bool = False
    show_hit: bool = False


Handler = Callable[[Sandbox, Call], Answer]


def json_answer(status: int, body: Any, *, hit: bool = False, show_hit: bool = False) -> Answer:
    """An answer with `body` as JSON."""
    return Answer(status, _encoder.encode(body), hit, show_hit)


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
        await send_answer(send, answer)

    async def _read(self, scope: Scope, receive: Receive) -> Call:
        body = b""
        while True:
            message = await receive()
            # A client that went away mid-body is refused like a broken body: nobody reads the answer.
            if message["type"] == "http.disconnect":
                raise ValidationError("incomplete request body")
            body += message.get("body", b"")
            if len(body) > self._sandbox.settings.max_body_bytes:
                raise TooLargeError(f"the request body is larger than {self._sandbox.settings.max_body_bytes} bytes")
            if not message.get("more_body", False):
                return Call(scope["path_params"], scope["query_string"], scope["headers"], body)

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
            if fate.rule is not None and fate.rule.kind == "error" and not fate.rule.after:
                answer = _fault_answer(fate.rule.status)
            else:
                answer = self._handle(call)
                count.idempotency_hits += answer.hit
        except SandboxError as error:
            answer = _refusal(error)
        if fate is UNHARMED:
            await send_answer(send, answer)
        else:
            await self._suffer(fate, answer, scope, receive, send)

    async def _suffer(self, fate: Fate, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if fate.delay_seconds:
            await self._sandbox.settings.sleep(fate.delay_seconds)
        kind = fate.rule.kind if fate.rule is not None else None
        if kind == "drop":
            await _drop(scope, receive, send)
        elif kind == "garbage":
            await send_answer(send, Answer(200, _GARBAGE))
        elif fate.rule is not None:
            await send_answer(send, _fault_answer(fate.rule.status))
        else:
            await send_answer(send, answer)


async def send_answer(send: Send, answer: Answer, extra_headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Sends an answer with the headers that all answers of the sandbox have."""
    headers = [*_BASE_HEADERS, *extra_headers]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if answer.show_hit and answer.hit:
        headers.append(_HIT_HEADER)
    start: Message = {"type": "http.response.start", "status": answer.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})


async def _drop(scope: Scope, receive: Receive, send: Send) -> None:
    abort = scope.get("extensions", {}).get(ABORT_EXTENSION)
    if abort is not None:
        abort()
        # Returning before the server noticed would make it answer for us.
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    # Under a server without the extension: announce a body that never comes, which makes the server hang up.
    headers = [*_BASE_HEADERS, (b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


def _refusal(error: SandboxError) -> Answer:
    if isinstance(error, WalletNotFoundError):
        return Answer(error.status)
    return error_answer(error.status, error.code, str(error))


def _fault_answer(status: int) -> Answer:
    return error_answer(status, "INTERNAL_ERROR", "the sandbox was told to fail")


def _count_faults(count: CallCount, fate: Fate) -> None:
    kinds = ["slow"] if fate.delay_seconds else []
    if fate.rule is not None:
        kinds.append(fate.rule.kind)
    for kind in kinds:
        count.faults[kind] = count.faults.get(kind, 0) + 1
