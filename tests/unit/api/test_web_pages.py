"""What web pages may make browsers send: bodies that a browser asks for first, and hosts that are ours."""

import logging
from uuid import uuid4

import pytest

from api.auth.guard import make_guard
from api.web_pages import host_name
from schemas.settings import ApiSettings
from tests.unit.api.fakes import Backend, make_client

ORIGIN = {"origin": "https://elsewhere.example"}
WORKFLOW = b'{"stages":[]}'


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain, application/json",
        "text/plain;a=b, text/yaml",
        "",
    ],
)
async def test_a_page_can_not_send_what_a_form_can(kind: str) -> None:
    backend = Backend()
    client = make_client(backend)
    sent = {"content-type": kind} if kind else {}
    refused = await client.call("POST", "/workflows", WORKFLOW, {**ORIGIN, **sent})
    assert refused.error == (400, "VALIDATION")
    assert (await client.call("POST", "/workflows", headers={**ORIGIN, **sent}, chunks=[WORKFLOW])).status == 400
    assert backend.commands == []
    assert (await client.call("POST", "/workflows", WORKFLOW, sent)).status == 201, "clients that are not browsers may"


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON; charset=utf-8", "text/vnd.yaml", "application/yaml", "application/x+json"],
)
@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://127.0.0.1:8080"])
async def test_a_page_may_send_what_its_browser_asks_for(kind: str, origin: str) -> None:
    sent = {"origin": origin, "content-type": kind}
    assert (await make_client(Backend()).call("POST", "/workflows", WORKFLOW, sent)).status == 201


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 400),
        ({"sec-fetch-site": "cross-site", "authorization": "Basic YTpi"}, 400),
        ({"sec-fetch-site": "cross-site", "authorization": "Bearer a.b.c"}, 201),
        ({"sec-fetch-site": "same-site"}, 400),
        ({"sec-fetch-site": "same-site", "content-type": "application/json"}, 201),
        ({"sec-fetch-site": "same-origin"}, 201),
        # Browsers leave it out over HTTP without TLS.
        ({"host": "payments.internal:8080"}, 400),
        ({"host": "payments.internal:8080", "authorization": "Bearer a.b.c"}, 201),
        ({"host": "payments.internal:8080", "content-type": "application/json"}, 201),
        ({"host": "payments.internal:8080", "origin": "null"}, 400),
        ({"host": "payments.internal:8080", "origin": "http://payments.internal"}, 400),
        ({"host": "payments.internal:8080", "origin": "http://payments.internal:8080"}, 201),
        ({"host": "", "origin": "null"}, 400),
        ({"origin": "null"}, 400),
    ],
)
async def test_a_run_without_a_body(sent: dict[str, str], status: int) -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    answer = await make_client(backend).call("POST", f"/workflows/{workflow.id}/instances", headers={**ORIGIN, **sent})
    assert answer.status == status
    assert bool(backend.commands) is (status == 201)


async def test_clients_that_are_not_browsers_need_no_body() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    answer = await make_client(backend).call("POST", f"/workflows/{workflow.id}/instances")
    assert answer.status == 201


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.com", 200),
        ("API.Example.com:8080", 200),
        ("localhost:8080", 200),
        ("[::1]:8080", 200),
        ("[::1]", 200),
        ("localhost.", 200),
        ("evil.example", 400),
        ("api.example.com.evil.example", 400),
        ("api.example.com:80@evil.example", 400),
        ("[::1", 400),
        ("", 400),
        (None, 400),
    ],
)
async def test_hosts_can_be_listed(host: str | None, status: int) -> None:
    client = make_client(Backend(), allowed_hosts="api.example.com, localhost,[::1]")
    headers = {} if host is None else {"host": host}
    answer = await client.call("GET", "/workflows", headers=headers)
    assert answer.status == status
    if status == 400:
        assert answer.error == (400, "VALIDATION")
        assert "ORCHESTRATION_ALLOWED_HOSTS" in answer.json()["errorMessage"]
    assert (await client.call("GET", "/livez", headers=headers, base="")).status == 200


async def test_a_request_for_two_hosts_is_refused() -> None:
    client = make_client(Backend(), allowed_hosts="api.example.com")
    for hosts in (["api.example.com", "evil.example"], ["api.example.com", "api.example.com"]):
        answer = await client.call("GET", "/workflows", headers=[("host", host) for host in hosts])
        assert answer.error == (400, "VALIDATION")


@pytest.mark.parametrize("allowed", ["", "*"])
async def test_any_host_is_allowed_by_default(allowed: str) -> None:
    client = make_client(Backend(), allowed_hosts=allowed)
    assert (await client.call("GET", "/workflows", headers={"host": "evil.example"})).status == 200


def test_host_name() -> None:
    assert host_name("a.example:") == "a.example"
    assert host_name("::1") == ":"  # is not how a Host header writes it, and no name


@pytest.mark.parametrize(
    ("more", "warned"), [({}, True), ({"auth_audience": "a"}, False), ({"auth_check_scopes": True}, False)]
)
def test_a_start_warns_when_every_token_will_do(
    more: dict[str, object], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ApiSettings(auth_enabled=True, auth_issuer="https://issuer.example", **more)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        make_guard(settings)
    assert ("every token of https://issuer.example may do everything" in caplog.text) == warned
