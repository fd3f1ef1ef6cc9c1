"""Access tokens: discovery, the two ways to name the client, sharing, renewal, and token endpoints in trouble."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from engine.activities.attempts import as_failure
from schemas.settings import EngineSettings
from schemas.stack.answers import Answer
from schemas.stack.errors import NoAnswer, NoToken
from schemas.stack.oauth import FAILURE_PAUSE_SECONDS, REFUSAL_PAUSE_SECONDS, TokenSource

URL = "https://stack.example/api/auth/oauth/token"
DISCOVERY = "https://stack.example/api/auth/.well-known/openid-configuration"
BASIC = "Basic " + base64.b64encode(b"an+id%3A1:s%26cret").decode()


def answer(status: int, value: Any) -> Answer:
    return Answer(status, json.dumps(value).encode())


def grant(access: str = "t", **more: Any) -> Answer:
    return answer(200, {"access_token": access, "token_type": "bearer", "expires_in": 100} | more)


class Server:
    """Answers token requests from a list, the last one again and again, and keeps what it was asked."""

    def __init__(self, *replies: Answer | Exception, discovery: Answer | None = None):
        self.replies = list(replies)
        self.discovery = discovery
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        self.asked.append((method, url, headers or {}, dict(parse_qsl((body or b"").decode()))))
        await self.gate.wait()
        if method == "GET":
            assert self.discovery is not None
            return self.discovery
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def source(server: Server, clock: Clock | None = None, **settings: Any) -> TokenSource:
    given: dict[str, Any] = {
        "stack_url": "https://stack.example/",
        "stack_client_id": "an id:1",
        "stack_client_secret": "s&cret",
        "stack_token_url": URL,
    }
    return TokenSource(EngineSettings(**(given | settings)), server, clock or Clock())


async def problem(tokens: TokenSource) -> str:
    with pytest.raises(NoToken) as caught:
        await tokens.token()
    failure = as_failure(caught.value)
    # A status would be taken for the stack's own: 404 would end a GetWallet.
    assert (failure.status, failure.code) == (None, None)
    return failure.error


async def test_the_client_is_named_by_basic_credentials() -> None:
    server = Server(grant())
    assert await source(server).token() == "t"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": BASIC}
    assert server.asked == [("POST", URL, headers, {"grant_type": "client_credentials"})]


@pytest.mark.parametrize("status", [400, 401])
async def test_then_in_the_form_if_that_is_refused(status: int) -> None:
    server = Server(answer(status, {"error": "invalid_client"}), grant())
    assert await source(server).token() == "t"
    _, _, headers, form = server.asked[1]
    assert "Authorization" not in headers
    assert form == {"grant_type": "client_credentials", "client_id": "an id:1", "client_secret": "s&cret"}


@pytest.mark.parametrize(
    ("offered", "basic"),
    [
        (None, True),
        (["client_secret_post"], False),
        (["private_key_jwt", "client_secret_post", "client_secret_basic"], True),
        (["private_key_jwt"], True),
    ],
)
async def test_discovery_tells_where_and_how(offered: list[str] | None, basic: bool) -> None:
    found = {"token_endpoint": "https://id.example/token"}
    if offered is not None:
        found["token_endpoint_auth_methods_supported"] = offered  # type: ignore[assignment]
    server = Server(grant(), discovery=answer(200, found))
    assert await source(server, stack_token_url=None).token() == "t"
    assert server.asked[0][:2] == ("GET", DISCOVERY)
    assert server.asked[1][1] == "https://id.example/token"
    assert ("Authorization" in server.asked[1][2]) == basic


async def test_the_issuer_may_be_another_host() -> None:
    server = Server(grant(), discovery=answer(200, {"token_endpoint": URL}))
    await source(server, stack_token_url=None, stack_issuer="http://id.example/realm/").token()
    assert server.asked[0][1] == "http://id.example/realm/.well-known/openid-configuration"


@pytest.mark.parametrize(
    "found",
    [
        answer(404, {}),
        Answer(200, b"<html>"),
        answer(200, {}),
        answer(200, {"token_endpoint": "/token"}),
        answer(200, {"token_endpoint": "http://stack.example/token"}),
    ],
)
async def test_the_secret_stays_here_if_discovery_fails_or_names_an_unprotected_endpoint(found: Answer) -> None:
    server = Server(grant(), discovery=found)
    assert "OIDC discovery" in await problem(source(server, stack_token_url=None))
    assert [asked[0] for asked in server.asked] == ["GET"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(403, {"error": "unauthorized_client"}), "no access token: HTTP 403 unauthorized_client"),
        (answer(404, {"errorCode": "VALIDATION"}), "no access token: HTTP 404"),
        (Answer(502, b"<html>"), "no access token: HTTP 502"),
        (Answer(200, b"<html>"), "no access token: the token endpoint's answer can't be read"),
        (grant(token_type="mac"), "no access token: the token endpoint's answer can't be read"),
        (grant("a\r\nX-Evil: 1"), "no access token: the token endpoint's answer can't be read"),
        (grant(""), "no access token: the token endpoint's answer can't be read"),
        (NoAnswer("connection refused"), "no access token: connection refused"),
    ],
)
async def test_a_token_endpoint_in_trouble_is_a_failure(reply: Answer | Exception, error: str) -> None:
    assert await problem(source(Server(reply))) == error


async def test_after_a_failure_the_endpoint_is_left_alone_for_a_while() -> None:
    server, clock = Server(NoAnswer("connection refused"), grant()), Clock()
    tokens = source(server, clock)
    await problem(tokens)
    assert await problem(tokens) == "no access token: connection refused"
    assert len(server.asked) == 1
    clock.now += FAILURE_PAUSE_SECONDS
    assert await tokens.token() == "t"


async def test_callers_share_a_renewal_that_outlives_the_one_who_began_it() -> None:
    server = Server(grant())
    server.gate.clear()
    tokens = source(server)
    first, *others = [asyncio.create_task(tokens.token()) for _ in range(10)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    server.gate.set()
    assert await asyncio.gather(*others) == ["t"] * 9
    assert first.cancelled()
    assert len(server.asked) == 1


async def test_nobody_waits_for_the_renewal_of_a_token_that_is_still_valid() -> None:
    server, clock = Server(grant("old"), NoAnswer("down"), grant("new")), Clock()
    tokens = source(server, clock)
    assert await tokens.token() == "old"
    clock.now += 74.9
    assert await tokens.token() == "old"
    assert len(server.asked) == 1
    clock.now += 0.2
    server.gate.clear()
    assert await tokens.token() == "old"
    await _renewed(tokens, server)
    assert len(server.asked) == 2
    assert await tokens.token() == "old"
    clock.now += 2
    assert await tokens.token() == "old"
    await _renewed(tokens, server)
    assert await tokens.token() == "new"
    assert len(server.asked) == 3


async def _renewed(tokens: TokenSource, server: Server) -> None:
    """Let the renewal in the background end."""
    server.gate.set()
    assert tokens._renewal is not None
    await tokens._renewal


async def test_an_expired_token_is_not_handed_out() -> None:
    server, clock = Server(grant("old"), NoAnswer("down")), Clock()
    tokens = source(server, clock)
    await tokens.token()
    clock.now += 100
    assert await problem(tokens) == "no access token: down"


LIFETIMES = [(None, 300), (0, 300), (-1, 300), ("NaN", 300), ("50", 50), (50.5, 50.5)]


@pytest.mark.parametrize(("told", "seconds"), LIFETIMES)
async def test_lifetimes_that_servers_tell(told: Any, seconds: float) -> None:
    server, clock = Server(grant("old", expires_in=told), NoAnswer("down")), Clock()
    tokens = source(server, clock)
    await tokens.token()
    clock.now += seconds - 0.1
    assert await tokens.token() == "old"
    clock.now += 2
    await problem(tokens)


async def test_only_the_token_that_was_refused_is_dropped() -> None:
    server = Server(grant("a"), grant("b"), grant("c"))
    tokens = source(server)
    assert await tokens.token() == "a"
    assert tokens.reject("a")
    assert await tokens.token() == "b"
    assert tokens.reject("a"), "the other one is worth a try"
    assert await tokens.token() == "b"


async def test_a_token_is_kept_for_a_while_when_a_new_one_did_not_help() -> None:
    server, clock = Server(grant("a"), grant("b"), grant("c")), Clock()
    tokens = source(server, clock)
    assert tokens.reject(await tokens.token())
    assert await tokens.token() == "b"
    tokens.reject_new()
    assert not tokens.reject("b")
    assert await tokens.token() == "b"
    clock.now += REFUSAL_PAUSE_SECONDS
    assert tokens.reject("b")
    assert await tokens.token() == "c"


async def test_closing_ends_a_renewal() -> None:
    server = Server(grant())
    server.gate.clear()
    tokens = source(server)
    waiting = asyncio.create_task(tokens.token())
    await asyncio.sleep(0)
    await tokens.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
