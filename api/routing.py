"""From a request to its operation, and from its result or error to an answer.

An `Operation` is one verb and path of the contract; a handler makes an `Answer` of a `Call`. The same table
of operations makes the routes here and the description in `openapi`.

`PathRoute` replaces Starlette's `Route`: it knows all methods of its path, answers every error in JSON, HEAD wherever
there is a GET, and takes a trailing slash without a redirect.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import unquote

from msgspec import Struct
from starlette.types import Receive, Scope, Send

from api.answers import Answer, error_answer, json_answer
from api.calls import Call
from api.errors import REPEAT, ApiError, ClientGone, Fault, NotAllowed, NotFound, Unavailable
from api.metrics import Metrics
from api.services import Services
from api.waiting import Admission
from projections.queries.errors import ReadModelUnavailable, RowUnreadable
from schemas.resources import ErrorCode

logger = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Answer]]

_READING: Final = frozenset({"GET", "HEAD"})


class Parameter(Struct, frozen=True, kw_only=True):
    """A parameter of a path, query or header, for the description."""

    name: str
    where: Literal["path", "query", "header"]
    type: Any = str
    """A type, or its JSON Schema."""
    description: str = ""


class Operation(Struct, frozen=True, kw_only=True):
    """One verb and path of the contract."""

    id: str
    """Name of the operation in generated clients."""
    method: str
    path: str
    """Below the base path, with `{names}`."""
    handler: Handler
    summary: str
    status: int
    """Of success."""
    answer: Any = None
    """Type of the body of success; None for no body."""
    also: Mapping[int, Any] = {}
    """By status, the types of other successful answers."""
    body: Any = None
    """Type of the request's body, or its JSON Schema; None without a body."""
    body_required: bool = True
    body_types: tuple[str, ...] = ("application/json",)
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    """Statuses beside 405, 500 and 503, which every operation can answer."""
    not_found_code: ErrorCode = "VALIDATION"
    """errorCode of 404: clients of the older operations know only VALIDATION (contract: `http-api`, Errors)."""
    slash: bool = False
    """Whether the path also matches with a trailing slash: those of collections and items do."""
    unlimited: bool = False
    """Whether it is answered however many requests wait."""
    reads: bool = False
    """Whether it only reads, although it is not a GET; then a token needs no more than for a GET."""
    public: bool = False
    """Whether it is answered without a token, also when authorization is on."""
    streams: bool = False
    """Whether its success is a stream of server-sent events: then `answer` is what their data may be, its time ends
    with its beginning, and it takes no place of other requests."""

    @property
    def only_reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET" or self.reads


def constant(id: str, path: str, summary: str, value: object, kind: Any) -> Operation:
    """A GET of what never changes, for everybody.

    Args:
        id: name of the operation.
        path: below the base path.
        summary: of the operation.
        value: what is answered.
        kind: its type, or its JSON Schema.
    """
    answer = json_answer(200, value)

    async def get(call: Call) -> Answer:
        return answer

    return Operation(
        id=id,
        method="GET",
        path=path,
        handler=get,
        summary=summary,
        status=200,
        answer=kind,
        unlimited=True,
        public=True,
    )


class PathRoute:
    """All operations of one path.

    Args:
        base_path: what comes before the path.
        operations: with the same path, one per method.
        services: what the handlers work with.
        reads: cap on GETs in progress.
        commands: cap on other requests in progress. Apart, so that waiting runs leave room for reads.
        metrics: counts requests.
    """

    def __init__(
        self,
        base_path: str,
        operations: Sequence[Operation],
        services: Services,
        reads: Admission,
        commands: Admission,
        metrics: Metrics,
    ):
        self.path = base_path + operations[0].path
        self._operations = {operation.method: operation for operation in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]
        self._admissions = {method: reads if method in _READING else commands for method in self._operations}
        self._match = re.compile(_pattern(self.path, operations[0].slash)).fullmatch
        self._services = services
        self._metrics = metrics
        allow = ", ".join(sorted(self._operations)).encode()
        self._not_allowed = error_answer(NotAllowed("method not allowed"), headers=[(b"allow", allow)])

    def params(self, path: str) -> dict[str, str] | None:
        """What a path holds, by name; None if it is not this one."""
        match = self._match(path)
        return None if match is None else match.groupdict()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for this path, whose parameters are in the scope."""
        started = time.perf_counter()
        method = scope["method"]
        operation = self._operations.get(method)
        if operation is not None and operation.streams:
            call = Call(self._services, scope, receive, scope["path_params"])
            await self._stream(operation, method, call, receive, send)
            return
        status = CLIENT_GONE
        try:
            if operation is None:
                method = "other"  # a client may make up any number of methods
                status = self._not_allowed.status
                await self._not_allowed.send(receive, send)
            else:
                call = Call(self._services, scope, receive, scope["path_params"])
                status = await self._operate(operation, method, call, receive, send)
        finally:
            self._metrics.observe_request(self.path, method, status, time.perf_counter() - started)

    async def _stream(self, operation: Operation, method: str, call: Call, receive: Receive, send: Send) -> None:
        """Answer with a stream. It may last for days, which would say nothing beside the times of other requests."""
        started = time.perf_counter()
        answer = await _answer(operation, call)
        status = CLIENT_GONE if answer is None else answer.status
        self._metrics.observe_request(self.path, method, status, time.perf_counter() - started)
        if answer is not None:
            await _send(answer, method, receive, send)

    async def _operate(self, operation: Operation, method: str, call: Call, receive: Receive, send: Send) -> int:
        admission = self._admissions[method]
        if not (operation.unlimited or admission.enter()):
            await _OVERLOADED.send(receive, send)
            return _OVERLOADED.status
        try:
            answer = await _answer(operation, call)
            if answer is None:
                return CLIENT_GONE
            await _send(answer, method, receive, send)
            return answer.status
        finally:
            if not operation.unlimited:
                admission.leave()


async def _send(answer: Answer, method: str, receive: Receive, send: Send) -> None:
    if method == "HEAD":
        await answer.send_head(send)
    else:
        await answer.send(receive, send)


async def _answer(operation: Operation, call: Call) -> Answer | None:
    """The answer of the operation, errors included; None if the client has gone."""
    try:
        return await operation.handler(call)
    except NotFound as error:
        return error_answer(error, operation.not_found_code)
    except ApiError as error:
        return error_answer(error)
    except ReadModelUnavailable as error:
        # Its message may repeat what Postgres said, which is not for clients.
        if count := call.services.repeats.met("read model"):
            logger.warning("%s: %s (requests that met this since the last line: %d)", operation.id, error, count)
        return error_answer(Unavailable("the read model is unavailable"))
    except RowUnreadable as error:
        logger.error("%s: %s", operation.id, error)
        return error_answer(Fault(str(error)))
    except ClientGone:
        return None
    except asyncio.CancelledError:  # by the server, whose stop can't wait any longer
        if operation.only_reads:
            return error_answer(Unavailable("the server is stopping"))
        return error_answer(
            Unavailable(f"the server is stopping, and nobody knows whether this is carried out: {REPEAT}")
        )
    except Exception:
        logger.exception("%s failed", operation.id)
        return error_answer(Fault())


CLIENT_GONE: Final = 499
"""Status in the metrics of a request whose client closed the connection before its answer."""


class Paths:
    """Finds the route of a path: those without parameters by their text, others by how many parts they have.

    Args:
        routes: in the order in which they are tried.
    """

    def __init__(self, routes: Sequence[PathRoute]):
        self._plain: dict[str, tuple[PathRoute, dict[str, str]]] = {}
        self._by_slashes: dict[int, list[PathRoute]] = {}
        for route in routes:
            for path in (route.path, route.path + "/"):
                if "{" in path:
                    self._by_slashes.setdefault(path.count("/"), []).append(route)
                elif route.params(path) is not None:
                    self._plain.setdefault(path, (route, {}))

    def find(self, path: str) -> tuple[PathRoute, dict[str, str]] | None:
        """The route, with the parameters that the path holds; None if there is no such path."""
        found = self._plain.get(path)
        if found is not None:
            return found
        for route in self._by_slashes.get(path.count("/"), ()):
            params = route.params(path)
            if params is not None:
                return route, params
        return None


def path_of(scope: Scope) -> str:
    """The path of a request, decoded except for slashes: `a%2Fb` is one parameter, as in the reference."""
    raw: bytes = scope.get("raw_path") or b""
    return unquote(_SLASH.sub(b"%252F", raw)) if b"%2" in raw else scope["path"]


_SLASH: Final = re.compile(rb"%2F", re.IGNORECASE)


def path_routes(
    base_path: str,
    operations: Sequence[Operation],
    services: Services,
    reads: Admission,
    commands: Admission,
    metrics: Metrics,
) -> list[PathRoute]:
    """One route per path, in the order of the operations: they are tried in turn, so put frequent ones first.

    A path that an earlier one would take, whose parameter matches any text, comes before that.
    """
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    routes: list[PathRoute] = []
    for group in by_path.values():
        route = PathRoute(base_path, group, services, reads, commands, metrics)
        taken_by = (number for number, earlier in enumerate(routes) if earlier.params(route.path) is not None)
        routes.insert(next(taken_by, len(routes)), route)
    return routes


_OVERLOADED: Final = error_answer(Unavailable("too many requests are waiting"))


def _pattern(path: str, slash: bool) -> str:
    literal_and_names: Mapping[int, str] = dict(enumerate(re.split(r"\{(\w+)\}", path)))
    pieces = [f"(?P<{text}>[^/]+)" if i % 2 else re.escape(text) for i, text in literal_and_names.items()]
    return "".join(pieces) + ("/?" if slash else "")
