"""Authorization over real connections: an issuer, tokens as an OAuth2 server makes them, and the API behind uvicorn.

What stands behind the operations is in memory.
"""

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from yarl import URL

from api.app import create_app
from api.auth import keys as keys_module
from api.auth import tokens as tokens_module
from api.auth.errors import IssuerFault
from api.auth.issuer import Issuer
from deploy.http.server import ManagedServer, bind, server_config
from schemas.settings import ApiSettings
from schemas.stack.discovery import MAX_DOCUMENT_BYTES
from tests.integration.http_client import Answer, Client
from tests.unit.api.fakes import Backend, fake_services

HOST = "127.0.0.1"
READ, WRITE = "orchestration:read", "orchestration:write"
AUDIENCE = "orchestration"
LIMIT_SECONDS = 60.0
UNKNOWN = "11111111-2222-3333-4444-555555555555"


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncIterator[int]:
    """An app behind uvicorn; gives its port."""
    with bind(HOST, port) as listener:
        server = ManagedServer(server_config(app, max_connections=100, stop_seconds=1, lifespan="auto"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            async with asyncio.timeout(LIMIT_SECONDS):
                await task


class OAuthClient:
    """Who asks for tokens."""

    def get_client_id(self) -> str:
        return "client-1"

    def get_allowed_scope(self, scope: str) -> str:
        return scope


class TokenServer(JWTBearerTokenGenerator):  # type: ignore[misc]
    """An issuer: makes tokens by RFC 9068, and serves what checks them."""

    def __init__(self, url: str = "") -> None:
        super().__init__(issuer=url)
        self.audience: str | list[str] = AUDIENCE
        self.answers: dict[str, Response] = {}
        self.asked: list[str] = []
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.rotate()

    def rotate(self) -> None:
        """Sign with a new key, and withdraw the old one."""
        self.keys = KeySet([RSAKey.generate_key(2048)])

    def get_jwks(self) -> KeySet:
        return self.keys

    def get_audiences(self, client: Any, user: Any, scope: Any) -> str | list[str]:
        return self.audience

    def token(self, scope: str = f"{READ} {WRITE}", expires_in: int = 3600) -> str:
        """The access token of a token endpoint's answer."""
        granted = self("client_credentials", OAuthClient(), scope=scope, expires_in=expires_in)
        assert granted["token_type"] == "Bearer"
        return str(granted["access_token"])

    def app(self) -> Starlette:
        """Discovery and keys; `answers` replaces what a path answers."""

        async def answer(request: Request) -> Response:
            path = request.url.path
            self.asked.append(path)
            self.reached.set()
            await self.gate.wait()
            if path in self.answers:
                return self.answers[path]
            if path == KEYS:
                return JSONResponse(self.keys.as_dict())
            return JSONResponse({"issuer": self.issuer, "jwks_uri": f"{self.issuer}{KEYS}"})

        return Starlette(routes=[Route(path, answer) for path in (DISCOVERY, KEYS, "/elsewhere")])


DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"


@pytest.fixture
async def issuer() -> AsyncIterator[TokenServer]:
    server = TokenServer()
    async with serving(server.app()) as port:
        server.issuer = f"http://{HOST}:{port}"
        yield server


@contextlib.asynccontextmanager
async def api(**settings: Any) -> AsyncIterator[Client]:
    """The API with authorization on."""
    given: dict[str, Any] = {"auth_enabled": True, "auth_audience": AUDIENCE, "auth_check_scopes": True}
    configured = ApiSettings(**(given | settings))
    backend = Backend()
    services = fake_services(backend, configured)
    async with serving(create_app(configured, services)) as port, aiohttp.ClientSession() as session:
        yield Client(session, f"http://{HOST}:{port}", configured.base_path)


async def call(client: Client, method: str, path: str, token: str | None, scheme: str = "Bearer") -> Answer:
    headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
    body = {"stages": "not a list"} if method == "POST" else None
    return await client.call(method, path, body, headers=headers)


async def status_of(client: Client, lines: str) -> int:
    """The status of `GET /workflows` with these lines in its head, as no client library sends them."""
    url = URL(f"{client.base_url}/workflows")
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET {url.path} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ")[1])


READS = [
    ("GET", "/workflows"),
    ("GET", f"/workflows/{UNKNOWN}"),
    ("GET", f"/instances/{UNKNOWN}/history"),
    ("POST", "/v2/workflows/validate"),
]
WRITES = [
    ("POST", "/workflows"),
    ("DELETE", f"/workflows/{UNKNOWN}"),
    ("POST", f"/workflows/{UNKNOWN}/instances"),
    ("PUT", f"/instances/{UNKNOWN}/abort"),
    ("POST", f"/instances/{UNKNOWN}/events"),
]


async def test_scopes_of_operations(issuer: TokenServer) -> None:
    async with api(auth_issuer=issuer.issuer) as client:
        for scope, allowed in (
            (READ, READS),
            (WRITE, READS + WRITES),
            (f"openid {READ} {WRITE}", READS + WRITES),
            ("openid", []),
            ("orchestration", []),
            (f"{READ}s", []),
            ("", []),
        ):
            token = issuer.token(scope)
            for method, path in READS + WRITES:
                answer = await call(client, method, path, token)
                case = (scope, method, path)
                if (method, path) in allowed:
                    assert answer.status in (200, 400, 404), case
                    continue
                assert answer.error == (403, "VALIDATION"), case
                needed = READ if (method, path) in READS else WRITE
                challenge = f'Bearer error="insufficient_scope", scope="{needed}"'
                assert answer.headers["www-authenticate"] == challenge
    assert issuer.asked == [DISCOVERY, KEYS]


async def test_scopes_are_not_checked_unless_told(issuer: TokenServer) -> None:
    async with api(auth_issuer=issuer.issuer, auth_check_scopes=False) as client:
        token = issuer.token("")
        assert (await call(client, "GET", "/workflows", token)).data == []
        assert (await call(client, "POST", "/workflows", token)).status == 400
        assert (await call(client, "POST", "/workflows", None)).status == 401


async def test_requests_without_a_good_token(issuer: TokenServer) -> None:
    other = TokenServer(issuer.issuer)
    async with api(auth_issuer=issuer.issuer) as client:
        for method, path in READS + WRITES:
            answer = await call(client, method, path, None)
            assert answer.error == (401, "VALIDATION"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
        good = issuer.token()
        issuer.audience = "somebody else"
        for token in ("garbage", other.token(), issuer.token(), good[:-6] + "AAAAAA", f"{good} {good}"):
            answer = await call(client, "GET", "/workflows", token)
            assert answer.error == (401, "VALIDATION")
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        for scheme in ("Basic", "Bearer:", ""):
            assert (await call(client, "GET", "/workflows", good, scheme)).error == (401, "VALIDATION")
        issuer.audience = AUDIENCE
        for second in ("garbage", issuer.token()):
            lines = [f"Authorization: Bearer {token}\r\n" for token in (issuer.token(), second)]
            assert await status_of(client, "".join(lines)) == 401
            assert await status_of(client, lines[0]) == 200
        for scheme in ("Bearer", "bearer", "BEARER "):
            assert (await call(client, "GET", "/workflows", good, scheme)).status == 200


async def test_what_needs_no_token(issuer: TokenServer) -> None:
    issuer.answers[DISCOVERY] = Response(status_code=500)
    async with api(auth_issuer=issuer.issuer) as client:
        assert (await client.get("/_info")).json()["version"]
        assert (await client.get("/openapi.json")).status == 200
        outside = Client(client._session, client.url, "")
        for path in ("/_healthcheck", "/livez", "/readyz", "/metrics", "/openapi.json"):
            assert (await outside.get(path)).status == 200
        assert (await client.get("/nowhere")).error == (404, "NOT_FOUND")
        assert (await client.call("PATCH", "/workflows")).error == (405, "VALIDATION")
        metrics = (await outside.get("/metrics")).body.decode()
        assert 'path="/api/orchestration/_info",status="200"' in metrics


async def test_refusals_are_counted(issuer: TokenServer) -> None:
    async with api(auth_issuer=issuer.issuer) as client:
        await client.get("/workflows")
        metrics = (await Client(client._session, client.url, "").get("/metrics")).body.decode()
        assert 'path="/api/orchestration/workflows",status="401"} 1.0' in metrics


async def test_a_key_rotation(issuer: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FETCH_PAUSE_SECONDS", 0.0)
    async with api(auth_issuer=issuer.issuer) as client:
        before = issuer.token()
        assert (await call(client, "GET", "/workflows", before)).status == 200
        issuer.rotate()
        assert (await call(client, "GET", "/workflows", issuer.token())).status == 200
        assert (await call(client, "GET", "/workflows", before)).status == 401


async def test_an_issuer_that_is_away_at_first(issuer: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FETCH_PAUSE_SECONDS", 0.0)
    issuer.answers[KEYS] = Response(status_code=502)
    async with api(auth_issuer=issuer.issuer) as client:
        answer = await call(client, "GET", "/workflows", issuer.token())
        assert answer.error == (503, "INTERNAL")
        assert answer.headers["retry-after"] == "1"
        assert (await call(client, "GET", "/workflows", None)).status == 401
        del issuer.answers[KEYS]
        assert (await call(client, "GET", "/workflows", issuer.token())).status == 200


async def test_an_issuer_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FETCH_PAUSE_SECONDS", 0.0)
    server = TokenServer()
    async with contextlib.AsyncExitStack() as running:
        server.issuer = f"http://{HOST}:{await running.enter_async_context(serving(server.app()))}"
        async with api(auth_issuer=server.issuer) as client:
            assert (await call(client, "GET", "/workflows", server.token())).status == 200
            await running.aclose()
            assert (await call(client, "GET", "/workflows", server.token(READ))).status == 200
            server.rotate()
            assert (await call(client, "GET", "/workflows", server.token())).error == (503, "INTERNAL")
            assert (await call(client, "GET", "/workflows", "garbage")).status == 401


def configuration(**changed: str) -> Response:
    return JSONResponse({"issuer": "", "jwks_uri": ""} | changed)


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        (DISCOVERY, Response(status_code=404), "HTTP 404"),
        (DISCOVERY, RedirectResponse("/elsewhere"), "HTTP 307"),
        (DISCOVERY, Response(b"<html>"), "can't be read"),
        (DISCOVERY, JSONResponse({"issuer": "x"}), "can't be read"),
        (DISCOVERY, configuration(issuer="https://evil.example"), "calls itself 'https://evil.example'"),
        (KEYS, RedirectResponse("/elsewhere"), "HTTP 307"),
        (KEYS, Response(b"[" * 100_000), "can't be read"),
        (KEYS, JSONResponse({"keys": {}}), "can't be read"),
        (KEYS, Response(b" " * (MAX_DOCUMENT_BYTES + 1)), "is larger"),
        (
            KEYS,
            Response(gzip.compress(b'{"keys": []}', mtime=0), headers={"content-encoding": "gzip"}),
            "can't be read",
        ),
    ],
)
async def test_an_issuer_that_is_broken(issuer: TokenServer, path: str, answer: Response, reason: str) -> None:
    issuer.answers[path] = answer
    asking = Issuer(issuer.issuer)
    await asking.open()
    try:
        with pytest.raises(IssuerFault, match=reason):
            await asking.keys()
    finally:
        await asking.close()
    assert "/elsewhere" not in issuer.asked


async def test_a_closed_issuer(issuer: TokenServer) -> None:
    asking = Issuer(issuer.issuer)
    await asking.open()
    assert len(await asking.keys()) == 1
    await asking.close()
    with pytest.raises(IssuerFault, match="closed"):
        await asking.keys()


async def test_stopping_does_not_wait_for_the_issuer(issuer: TokenServer, caplog: pytest.LogCaptureFixture) -> None:
    issuer.gate.clear()
    async with api(auth_issuer=issuer.issuer) as client, asyncio.timeout(LIMIT_SECONDS):
        assert (await client.get("/_info")).status == 200
        await issuer.reached.wait()
    assert not [record for record in caplog.records if record.name.startswith("api.auth")]
    issuer.gate.set()


async def test_an_issuer_below_a_path(issuer: TokenServer) -> None:
    realm = Starlette()
    realm.mount("/realms/one", issuer.app())
    async with serving(realm) as port:
        server = TokenServer(f"http://{HOST}:{port}/realms/one/")
        found = configuration(issuer=server.issuer, jwks_uri=f"{issuer.issuer}{KEYS}")
        issuer.answers[f"/realms/one{DISCOVERY}"] = found
        server.keys = issuer.keys
        async with api(auth_issuer=server.issuer) as client:
            assert (await call(client, "GET", "/workflows", server.token())).status == 200


async def test_the_description_tells_of_tokens(issuer: TokenServer) -> None:
    async with api(auth_issuer=issuer.issuer) as client:
        described = msgspec.json.decode((await client.get("/openapi.json")).body)
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, item in described["paths"].items():
        for operation in item.values():
            # An editor fetches the schema by itself, without a token.
            public = path.endswith(("/_info", "/schema.json"))
            assert operation.get("security") == (None if public else [{"bearer": []}])
            assert ("401" in operation["responses"], "403" in operation["responses"]) == (not public, not public)
    async with api(auth_enabled=False) as client:
        described = msgspec.json.decode((await client.get("/openapi.json")).body)
        assert (await client.get("/workflows")).data == []
    assert "securitySchemes" not in described["components"]
    assert not any("security" in operation for item in described["paths"].values() for operation in item.values())


async def test_a_stream_ends_when_its_token_expires_or_its_key_is_withdrawn(
    issuer: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = 0.0
    verifier = partial(tokens_module.TokenVerifier, now=lambda: time.time() + ahead)
    monkeypatch.setattr(tokens_module, "TokenVerifier", verifier)
    impatient = {"auth_leeway_seconds": 0, "auth_keys_ttl_seconds": 0.5, "stream_heartbeat_seconds": 0.1}
    async with api(auth_issuer=issuer.issuer, **impatient) as client, contextlib.AsyncExitStack() as streams:
        assert (await call(client, "GET", "/v2/instances/stream", None)).error == (401, "VALIDATION")

        async def begun(token: str) -> aiohttp.ClientResponse:
            url, headers = f"{client.base_url}/v2/instances/stream", {"Authorization": f"Bearer {token}"}
            answer = await streams.enter_async_context(client._session.get(url, headers=headers))
            assert answer.status == 200
            return answer

        long = await begun(issuer.token())
        issuer.GRANT_TYPES_EXPIRES_IN = {"client_credentials": 300}
        short = await begun(issuer.token())
        ending = asyncio.create_task(long.read())
        ahead = 600.0
        assert (await short.read()).endswith(b'errorMessage":"invalid token: it has expired"}\n\n')
        assert not ending.done()
        issuer.rotate()
        withdrawn = await ending
        assert withdrawn.count(b"event: expired\n") == 1
        assert b"it is not signed with a key of the issuer" in withdrawn


async def test_a_stream_does_not_call_a_token_expired_that_nobody_can_check(
    issuer: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "MAX_STALE_SECONDS", 0.0)
    impatient = {"auth_keys_ttl_seconds": 0.5, "stream_heartbeat_seconds": 0.1}
    async with api(auth_issuer=issuer.issuer, **impatient) as client:
        url, headers = f"{client.base_url}/v2/instances/stream", {"Authorization": f"Bearer {issuer.token()}"}
        async with client._session.get(url, headers=headers) as answer:
            assert answer.status == 200
            issuer.answers[KEYS] = Response(status_code=500)
            told = await answer.read()
            assert b"event: open\n" in told
            assert b"event: expired\n" not in told
        assert (await call(client, "GET", "/workflows", issuer.token())).status == 503
