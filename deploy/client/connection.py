"""The API as commands call it: surface v2 over HTTP, with a token, and again when that is safe and may help."""

import asyncio
import string
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import msgspec

from deploy.client.errors import Refused, Unavailable
from deploy.client.profiles import Profile
from deploy.client.server_events import EVENT_STREAM, NoStream, ServerEvent, read_events
from schemas.settings import StackSettings
from schemas.stack.answers import Answer, printable
from schemas.stack.errors import CallFailed, NoAnswer
from schemas.stack.oauth import TokenSource
from schemas.stack.transport import Transport

CONNECT_TIMEOUT_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_PAGE_SIZE: Final = 1000
NOT_THERE: Final = ("unknown path", "HTTP 404")
"""What this API and others say of a path that they don't have."""
PAUSES_SECONDS: Final = (0.5, 1.0, 2.0)
"""Before the attempts after the first. A restart of the API, or of what is behind it, takes about as long."""
MAX_MESSAGE_CHARACTERS: Final = 1000

PLAIN: Final = string.punctuation.replace("%", "") + " "
"""What stays as it is in a header, beside letters and digits; everything else is percent-encoded."""


class Api:
    """One API. A context manager: connections are closed at its end.

    Args:
        profile: where it is, and who calls it.
        timeout_seconds: how long a request may take, its attempts together.
        sleep: waits for some seconds.
        reason: why something is changed: it goes with every request that may do so.
    """

    def __init__(
        self,
        profile: Profile,
        timeout_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        reason: str | None = None,
    ):
        self._reason = {} if not reason else {"X-Reason": quote(reason, safe=PLAIN)}
        self._sleep = sleep
        self.url = profile.url
        self._token = profile.token
        self._timeout_seconds = timeout_seconds
        self._transport = Transport(CONNECT_TIMEOUT_SECONDS, MAX_ANSWER_BYTES)
        self._tokens = None if profile.client_id is None or profile.token else TokenSource(
            StackSettings(
                stack_client_id=profile.client_id,
                stack_client_secret=profile.client_secret,
                stack_token_url=profile.token_url,
                stack_issuer=profile.issuer,
            ),
            self._transport,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        """Nothing is connected yet."""
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        if self._tokens is not None:
            await self._tokens.close()
        await self._transport.close()

    async def get(self, *path: str, **query: str | None) -> Any:
        """What is read; the `data` of the answer."""
        return self._data(await self._call("GET", path, query))

    async def pages(self, *path: str, limit: int = 0, **query: str | Sequence[str] | None) -> AsyncIterator[Any]:
        """The items of a list, page by page.

        Args:
            path: of the list.
            limit: how many to read at most; 0 for all.
            query: its filters; a list of values for one that is repeated.
        """
        size = min(limit or MAX_PAGE_SIZE, MAX_PAGE_SIZE)
        parameters: dict[str, str | Sequence[str] | None] = {**query, "pageSize": str(size)}
        count = 0
        while True:
            page = (await self._call("GET", path, parameters)).get("cursor")
            for item in self._data(page, list):
                yield item
                count += 1
                if count == limit:
                    return
            if not page.get("next"):
                return
            parameters = {"cursor": page["next"]}

    async def post(
        self,
        *path: str,
        body: object = None,
        text: bytes | None = None,
        content_type: str = "application/json",
        key: str | None = None,
    ) -> Any:
        """What was made; the `data` of the answer, None without one.

        Args:
            path: of the operation.
            body: its body, sent as JSON.
            text: its body as it is.
            content_type: of `text`.
            key: Idempotency-Key; one of its own when not given, so that repeating the request has no second effect.
        """
        sent = msgspec.json.encode(body) if text is None else text
        headers = {"Content-Type": content_type, "Idempotency-Key": key or str(uuid.uuid4())}
        answer = await self._call("POST", path, {}, sent, headers)
        return None if answer is None else self._data(answer)

    async def put(self, *path: str) -> None:
        """Carry out an operation; repeating the request has no second effect."""
        await self._call("PUT", path, {}, headers={"Idempotency-Key": str(uuid.uuid4())})

    async def delete(self, *path: str) -> None:
        """Delete something. What is gone after a try that nobody answered is deleted."""
        await self._call("DELETE", path, {})

    async def stream(self, *path: str, last_event_id: str) -> AsyncGenerator[ServerEvent, None]:
        """The messages of a stream, until its connection ends.

        Args:
            path: of the stream.
            last_event_id: of the last message that came, or `""`.

        Raises:
            NoStream: there is none, or not now.
            CallFailed: there is no connection, or it broke.
        """
        headers = {"Accept": EVENT_STREAM, **await self._credentials()}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        async with self._transport.stream(self._url(path), headers=headers) as answer:
            if answer.status != 200 or answer.content_type != EVENT_STREAM:
                raise NoStream(answer.status)
            async for message in read_events(answer.pieces):
                yield message

    async def credentials(self) -> dict[str, str]:
        """The headers that say who calls, as of now.

        Raises:
            Unavailable: no token can be had.
        """
        try:
            return await self._credentials()
        except CallFailed as error:
            raise Unavailable(f"{self.url}: {error}") from None

    async def _call(
        self,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, str | Sequence[str] | None],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        url = self._url(path)
        given = {name: value for name, value in query.items() if value is not None}
        if given:
            url += f"?{urlencode(given, doseq=True)}"
        sent_headers = {**(headers or {}), **({} if method == "GET" else self._reason)}
        problem = "it did not answer"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                for tries, pause in enumerate((*PAUSES_SECONDS, None)):
                    try:
                        answer = await self._send(method, url, body, sent_headers)
                        if method == "DELETE" and answer.status == 404 and tries:
                            return None  # an earlier try has deleted it, or somebody else
                        if answer.status != 503:
                            return self._read(answer)
                        problem = _message(answer)
                    except NoAnswer as error:
                        problem = str(error)
                    if pause is not None:
                        await self._sleep(pause)
        except TimeoutError:
            problem = f"{problem} within {self._timeout_seconds:g} s"
        except CallFailed as error:
            problem = str(error)
        raise Unavailable(f"{self.url}: {problem}")

    async def _send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        return await self._transport.send(method, url, headers={**headers, **await self._credentials()}, body=body)

    async def _credentials(self) -> dict[str, str]:
        token = self._token if self._tokens is None else await self._tokens.token()
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def _url(self, path: tuple[str, ...]) -> str:
        return f"{self.url}/v2/{'/'.join(quote(step, safe='') for step in path)}"

    def _read(self, answer: Answer) -> Any:
        """The value of a success.

        Raises:
            Refused: the API answered with an error.
            Unavailable: the answer is not from such an API.
        """
        if answer.status in (401, 403):
            hint = "give a token or client credentials: see `orchestration workflows --help`"
            status = f"HTTP {answer.status}"
            message = _message(answer)
            told = message if message == status else f"{message} ({answer.status})"
            raise Refused(f"{told}; {hint}", answer.status)
        if 400 <= answer.status < 500:
            message = _message(answer)
            if answer.status == 404 and message in NOT_THERE:
                message = f"{self.url}: {message}; is that the address of the API, with its base path?"
            raise Refused(message, answer.status)
        if 300 <= answer.status < 400:
            raise Unavailable(f"{self.url}: HTTP {answer.status}, a redirection; is that the address of the API?")
        if answer.status >= 500:
            raise Unavailable(f"{self.url}: {_message(answer)}")
        if not answer.body:
            return None
        try:
            value = msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            value = None
        if not isinstance(value, dict) or not value.keys() & {"data", "cursor"}:
            raise self._foreign()
        return _told(value)

    def _data(self, holder: Any, *kinds: type) -> Any:
        """The `data` of an answer or a page: objects. Services beside this one have `data` and `cursor`, too.

        Args:
            holder: the answer or the page.
            kinds: what it may be; an object or a list if not given.

        Raises:
            Unavailable: it is something else.
        """
        data = holder.get("data") if isinstance(holder, dict) else None
        items = data if isinstance(data, list) else [data]
        if not isinstance(data, kinds or (dict, list)) or not all(isinstance(item, dict) for item in items):
            raise self._foreign()
        return data

    def _foreign(self) -> Unavailable:
        return Unavailable(f"{self.url}: the answer is not from this API; is the base path in the URL?")


class _Told(dict[str, Any]):
    """An object of an answer. Asked for a field that it does not have, it says so to the user."""

    def __missing__(self, name: str) -> Any:
        raise Unavailable(f"the answer has no field {name!r}: is that the address of this API, and of this version?")


def _told(value: Any) -> Any:
    """A value of JSON with such objects."""
    if isinstance(value, dict):
        return _Told((name, _told(item)) for name, item in value.items())
    return [_told(item) for item in value] if isinstance(value, list) else value


def _message(answer: Answer) -> str:
    """What an error says."""
    try:
        message = msgspec.json.decode(answer.body)["errorMessage"]
        return printable(str(message), MAX_MESSAGE_CHARACTERS)
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"HTTP {answer.status}"
