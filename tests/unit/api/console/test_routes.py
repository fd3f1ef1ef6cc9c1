"""Where the console is served, and with which headers."""

from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

from api.console.files import console_files
from api.console.routes import console_routes
from api.console.sign_in import PAUSE_SECONDS, SignIn
from schemas.settings import ApiSettings
from schemas.stack.answers import Answer
from schemas.stack.errors import NoAnswer
from tests.unit.api.fakes import Backend, Client, make_client

ISSUER = "https://issuer.example"
DISCOVERED = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://issuer.example/authorize",
    "token_endpoint": "https://tokens.example:8443/token",
    "jwks_uri": "https://issuer.example/keys",
}
FOR_EVER = "public, max-age=31536000, immutable"


class FakeIssuer:
    """Answers discovery; counts how often it is asked."""

    def __init__(self, **changed: Any) -> None:
        self.document = {**DISCOVERED, **changed}
        self.away = False
        self.asked = 0

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        self.asked += 1
        if self.away:
            raise NoAnswer("no answer")
        return Answer(200, msgspec.json.encode(self.document))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def signed_in_by(issuer: FakeIssuer, clock: Clock | None = None, **changed: Any) -> Client:
    given: dict[str, Any] = {"auth_enabled": True, "auth_issuer": ISSUER, "console_client_id": "console", **changed}
    settings = ApiSettings(**given)
    return Client(Starlette(routes=console_routes(settings, SignIn(settings, issuer, clock or Clock()))), "")


@pytest.mark.parametrize("base_path", ["", "/api/orchestration"])
async def test_every_way_leads_to_the_page(base_path: str) -> None:
    client = make_client(Backend(), base_path=base_path)
    page = await client.call("GET", "/console/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    # Relative, since nobody here knows what a gateway puts in front.
    assert (await client.call("GET", "/console")).headers["location"] == "console/"
    outside = await client.call("GET", "/console", base="")
    assert outside.headers["location"] == f"{base_path}/console/".removeprefix("/")


async def test_files_are_kept_for_ever_and_the_page_is_asked_for() -> None:
    client = make_client(Backend())
    digest = console_files().digest
    page = await client.call("GET", "/console/")
    assert page.headers["cache-control"] == "no-cache"
    again = await client.call("GET", "/console/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    script = await client.call("GET", f"/console/{digest}/main.js", headers={"accept-encoding": "br"})
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["content-encoding"] == "br"
    assert script.headers["vary"] == "accept-encoding"
    assert script.headers["cache-control"] == FOR_EVER


async def test_a_page_of_another_build_gets_files_that_nobody_keeps() -> None:
    client = make_client(Backend())
    answer = await client.call("GET", "/console/0123456789abcdef/main.js")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")


@pytest.mark.parametrize("name", ["nothing.js", "../files.py", "..%2Ffiles.py", "lib/preact.d.ts", ""])
async def test_nothing_else_is_served(name: str) -> None:
    client = make_client(Backend())
    assert (await client.call("GET", f"/console/{console_files().digest}/{name}")).status == 404


@pytest.mark.parametrize("path", ["/console/", "/console/config.json", "/console/x/main.js", "/console/x/app.css"])
async def test_foreign_scripts_are_kept_out(path: str) -> None:
    headers = (await make_client(Backend()).call("GET", path)).headers
    policy = headers["content-security-policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


async def test_it_can_be_turned_off() -> None:
    client = make_client(Backend(), console_enabled=False)
    for path in ("/console", "/console/", "/console/config.json"):
        assert (await client.call("GET", path)).status == 404


async def test_without_authorization_there_is_nobody_to_ask() -> None:
    config = (await make_client(Backend()).call("GET", "/console/config.json")).json()
    assert config["auth"] is None


async def test_the_page_learns_where_to_sign_in_and_may_talk_to_that_origin_alone() -> None:
    issuer = FakeIssuer()
    client = signed_in_by(issuer, base_path="")
    config = (await client.call("GET", "/console/config.json")).json()
    assert config["auth"]["authorizationEndpoint"] == DISCOVERED["authorization_endpoint"]
    assert config["auth"]["clientID"] == "console"
    policy = (await client.call("GET", "/console/")).headers["content-security-policy"]
    assert "connect-src 'self' https://tokens.example:8443;" in policy
    assert issuer.asked == 1


async def test_an_issuer_that_is_away_is_asked_again_later() -> None:
    issuer, clock = FakeIssuer(), Clock()
    issuer.away = True
    client = signed_in_by(issuer, clock, base_path="")

    async def endpoint() -> Any:
        return (await client.call("GET", "/console/config.json")).json()["auth"]["tokenEndpoint"]

    assert await endpoint() is None
    issuer.away = False
    assert await endpoint() is None
    assert issuer.asked == 1
    clock.now += PAUSE_SECONDS
    assert await endpoint() == DISCOVERED["token_endpoint"]
    issuer.away = True
    clock.now += ApiSettings().auth_keys_ttl_seconds
    assert await endpoint() == DISCOVERED["token_endpoint"], "what was known stays"


@pytest.mark.parametrize("endpoint", ["javascript:alert(1)", "http://issuer.example/token", "//elsewhere"])
async def test_endpoints_that_are_not_protected_are_not_used(endpoint: str) -> None:
    client = signed_in_by(FakeIssuer(authorization_endpoint=endpoint), base_path="")
    assert (await client.call("GET", "/console/config.json")).json()["auth"]["authorizationEndpoint"] is None


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://",
        "https://a;script-src *",
        "https://a b/token",
        "https://u:p@a/token",
        "https://a:99999/",
        "https://[::1",
    ],
)
async def test_an_endpoint_that_is_not_a_plain_url_breaks_no_page_and_no_policy(endpoint: str) -> None:
    client = signed_in_by(FakeIssuer(token_endpoint=endpoint), base_path="")
    page = await client.call("GET", "/console/")
    assert page.status == 200
    assert "connect-src 'self';" in page.headers["content-security-policy"]
    assert (await client.call("GET", "/console/config.json")).json()["auth"]["tokenEndpoint"] is None


async def test_without_a_client_id_people_paste_a_token() -> None:
    issuer = FakeIssuer()
    client = signed_in_by(issuer, console_client_id=None, base_path="")
    auth = (await client.call("GET", "/console/config.json")).json()["auth"]
    assert (auth["clientID"], auth["tokenEndpoint"]) == (None, None)
    assert issuer.asked == 0
