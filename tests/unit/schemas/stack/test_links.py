"""Fetching what `link()` names: who gets the credentials, and what is an answer (contract: `triggers-and-events`)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from schemas.expressions import Allowance, EvaluationError, LinkAnswer, compile_expression
from schemas.redaction import without_credentials
from schemas.settings import SettingsError, StackSettings
from schemas.stack import links as fetching
from schemas.stack.links import LinkFetcher

LINK = compile_expression("link(event, 'it')")
MAX_ANSWER_BYTES = 1000


class Server:
    """Answers as told and keeps what it was asked: path and authorization."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, str | None]] = []
        self.answer: tuple[int, bytes, dict[str, str]] = (200, b'{"data": {"n": 12345678901234567890123}}', {})
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/token":
            return web.json_response({"access_token": "secret", "token_type": "bearer", "expires_in": 100})
        self.asked.append((request.raw_path, request.headers.get("Authorization")))
        await self.gate.wait()
        status, body, headers = self.answer
        return web.Response(status=status, body=body, headers=headers)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = site.name
        yield server
    finally:
        server.gate.set()
        await runner.cleanup()


@pytest.fixture
async def stack() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


@pytest.fixture
async def stranger() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


async def fetch(stack: Server, uri: str, links: dict[str, LinkAnswer] | None = None, allowed: str = "") -> Any:
    """What a link to a uri yields, for a service with credentials."""
    settings = StackSettings(
        stack_url=stack.url,
        stack_client_id="id",
        stack_client_secret="s",
        stack_token_url=f"{stack.url}/token",
        link_allowed_origins=allowed,
        max_answer_bytes=MAX_ANSWER_BYTES,
    )
    fetcher = LinkFetcher(settings)
    await fetcher.open()
    try:
        payload = {"links": [{"name": "it", "uri": uri}]}
        return await fetcher.evaluate(LINK, payload, {} if links is None else links, Allowance())
    finally:
        await fetcher.close()


async def error(stack: Server, uri: str, allowed: str = "") -> str:
    with pytest.raises(EvaluationError) as raised:
        await fetch(stack, uri, allowed=allowed)
    return str(raised.value)


async def test_the_stack_is_asked_with_credentials(stack: Server) -> None:
    assert await fetch(stack, f"{stack.url}/a%2Fb?c=d") == {"n": 12345678901234567890123}
    assert stack.asked == [("/a%2Fb?c=d", "Bearer secret")]


async def test_an_allowed_origin_is_asked_without(stack: Server, stranger: Server) -> None:
    uri = f"{stranger.url}/x"
    assert await fetch(stack, uri, allowed=f"http://example.com, {stranger.url}") == {"n": 12345678901234567890123}
    assert stranger.asked == [("/x", None)]


async def test_other_origins_are_not_asked(stack: Server, stranger: Server) -> None:
    port = stack.url.rpartition(":")[2]
    uris = [
        f"{stranger.url}/x?y",
        f"https://127.0.0.1:{port}/x",
        f"http://127.0.0.2:{port}/x",
        f"{stack.url}@{stranger.url.removeprefix('http://')}/x",
        f"http://user:pw@127.0.0.1:{port}/x",
        f"{stranger.url}\\@127.0.0.1:{port}/x",
        f"//127.0.0.1:{port}/x",
        "/x",
        "file:///etc/passwd",
        "http://127.0.0.1:99999/x",
        "http://[/x",
        "",
    ]
    for uri in uris:
        assert (await error(stack, uri)).startswith(f"link {without_credentials(uri)}: "), uri
    assert stack.asked == stranger.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/a b",
        "/x HTTP/1.1\r\nX-Injected: 1\r\n\r\nGET /y",
        "/x\r\nHost: evil",
        "/x\ty",
        "/x\0y",
        "/é",
        "/%",
        "/%zz",
        "/<x>",
        "/x\\y",
        "/x y?token=1",
        " ",
    ],
)
async def test_what_is_not_encoded_is_not_sent(stack: Server, path: str) -> None:
    uri = stack.url + path
    told = await error(stack, uri)
    assert told.endswith(": it holds characters that must be percent-encoded in a URL")
    assert told.isprintable()
    assert stack.asked == []


async def test_errors_show_no_credentials(stack: Server) -> None:
    for uri, shown in (
        (f"{stack.url.replace('//', '//user:s3cret@')}/x", f"{stack.url.replace('//', '//…@')}/x"),
        (f"{stack.url}:s3cret@/x", "http://…@/x"),
        ("http:\\\\user:s3cret@host", "http:\\\\…@host"),
        ("http://us/er:s3cret@host", "http://…@host"),
        ("http://other.example/x?token=s3cret#s3cret", "http://other.example/x?…"),
        (f"{stack.url}/{'x' * 5000}?s3cret", f"{stack.url}/{'x' * 300}"[:297] + "…"),
    ):
        stack.answer = 404, b"", {}
        told = await error(stack, uri)
        assert told.startswith(f"link {shown}: "), told
        assert "s3cret" not in told


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(stack: Server, stranger: Server, status: int) -> None:
    for target in (f"{stranger.url}/x", f"{stack.url}/y"):
        stack.answer = status, b'{"data": 1}', {"Location": target}
        assert f"HTTP {status}" in await error(stack, f"{stack.url}/x")
    assert [path for path, _ in stack.asked] == ["/x", "/x"]
    assert stranger.asked == []


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (404, b'{"data": 1}', "HTTP 404"),
        (500, b"", "HTTP 500"),
        (200, b"", "not a JSON object with `data`"),
        (200, b"{", "not a JSON object with `data`"),
        (200, b"[]", "not a JSON object with `data`"),
        (200, b'{"Data": 1}', "not a JSON object with `data`"),
        (200, b'{"data": 1} x', "not a JSON object with `data`"),
        (200, b'{"data": "' + b"x" * 200_000 + b'"}', f"larger than {MAX_ANSWER_BYTES} bytes"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_no_answer(stack: Server, status: int, body: bytes, problem: str) -> None:
    stack.answer = status, body, {}
    assert problem in await error(stack, f"{stack.url}/x")


async def test_null_is_an_answer(stack: Server) -> None:
    stack.answer = 200, b'{"data": null, "more": 1}', {}
    assert await fetch(stack, f"{stack.url}/x") is None


async def test_each_uri_is_fetched_once_whatever_comes_of_it(stack: Server) -> None:
    links: dict[str, LinkAnswer] = {}
    for _ in range(2):
        await fetch(stack, f"{stack.url}/x", links)
    stack.answer = 404, b"", {}
    for _ in range(2):
        with pytest.raises(EvaluationError):
            await fetch(stack, f"{stack.url}/y", links)
    assert [path for path, _ in stack.asked] == ["/x", "/y"]


async def test_a_stack_that_does_not_answer(stack: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LINK_TIMEOUT_SECONDS", 0.1)
    stack.gate.clear()
    assert await error(stack, f"{stack.url}/x") == f"link {stack.url}/x: timeout after 0.1 s"
    assert "link http://127.0.0.1:1/x: " in await error(stack, "http://127.0.0.1:1/x", allowed="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("status", "may_pass"),
    [(400, False), (401, False), (404, False), (301, False), (429, True), (500, True), (503, True), (200, False)],
)
async def test_what_may_pass_by_the_answer(stack: Server, status: int, may_pass: bool) -> None:
    stack.answer = status, b"no JSON", {}
    assert await whether_it_may_pass(stack, f"{stack.url}/x") is may_pass


async def test_what_may_pass_without_an_answer(stack: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LINK_TIMEOUT_SECONDS", 0.1)
    assert await whether_it_may_pass(stack, "http://127.0.0.1:1/x", allowed="http://127.0.0.1:1")
    assert not await whether_it_may_pass(stack, "http://127.0.0.1:1/x")
    assert not await whether_it_may_pass(stack, "no uri")
    stack.gate.clear()
    assert await whether_it_may_pass(stack, f"{stack.url}/x")


async def whether_it_may_pass(stack: Server, uri: str, allowed: str = "") -> bool:
    links: dict[str, LinkAnswer] = {}
    with pytest.raises(EvaluationError):
        await fetch(stack, uri, links, allowed)
    return links[uri].may_pass


@pytest.mark.parametrize(
    "settings", [{"link_allowed_origins": "example.com"}, {"link_allowed_origins": "http://a:s3cret@b"}]
)
def test_an_origin_that_is_none_is_a_wrong_setting(settings: dict[str, str]) -> None:
    given = StackSettings(**settings)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="ORCHESTRATION_LINK_ALLOWED_ORIGINS") as raised:
        LinkFetcher(given)
    assert "s3cret" not in str(raised.value)


def test_a_wrong_url_of_the_stack_is_shown_without_its_password() -> None:
    with pytest.raises(SettingsError, match=r"ORCHESTRATION_STACK_URL 'http://…@stack': it is not a plain") as raised:
        LinkFetcher(StackSettings(stack_url="http://user:s3cret@stack"))
    assert "s3cret" not in str(raised.value)
