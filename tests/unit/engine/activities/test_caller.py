"""Calls over real sockets: the sandbox for what a stack answers, small servers for what none should."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from aiohttp import web
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from deploy.sandbox import SandboxSettings, create_app
from deploy.sandbox.faults import FaultRule, Faults, FaultSettings
from deploy.sandbox.payments import Payment
from deploy.sandbox.server import server_config
from deploy.sandbox.wallets import CreateWallet
from engine.activities import service_of
from engine.activities.attempts import OPERATIONS
from engine.activities.caller import StackCaller
from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity, Token
from engine.core.retries import Failure
from engine.metrics import Metrics
from schemas import activities
from schemas.activities import Activity
from schemas.settings import EngineSettings, SettingsError
from schemas.stack import oauth

HUGE = 2**70 + 1
TOKEN = Token("call", 3, 1, 2)
GET_WALLET = activities.get_wallet("w-1")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def attempt(activity: Activity, key: str = "i1:0:0") -> CallActivity:
    return CallActivity(token=TOKEN, name=activity.name, input=activity.input, idempotency_key=key, not_before=None)


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


class Watched:
    """A caller and what it counted."""

    def __init__(self, caller: StackCaller, registry: CollectorRegistry):
        self._caller = caller
        self._registry = registry

    async def call(self, activity: Activity, key: str = "i1:0:0") -> ActivityDone:
        done = await self._caller.call(attempt(activity, key), yes)
        assert done is not None
        return done

    async def start(self, activity: Activity, may_start: Callable[[], Awaitable[bool]]) -> ActivityDone | None:
        return await self._caller.call(attempt(activity), may_start)

    async def refused(self, activity: Activity) -> None:
        assert await self.start(activity, no) is None

    async def output(self, activity: Activity, key: str = "i1:0:0") -> Any:
        done = await self.call(activity, key)
        assert done == ActivityDone(TOKEN, output=done.output)
        return done.output

    async def failure(self, activity: Activity) -> Failure:
        done = await self.call(activity)
        assert done.token == TOKEN
        assert done.output is None
        assert done.failure is not None
        return done.failure

    def counted(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"orchestration_engine_{name}", labels)


@contextlib.asynccontextmanager
async def caller_of(url: str, clock: Callable[[], float] | None = None, **settings: Any) -> AsyncIterator[Watched]:
    registry = CollectorRegistry()
    given = EngineSettings(stack_url=url, **settings)
    caller = StackCaller(given, Metrics(registry)) if clock is None else StackCaller(given, Metrics(registry), clock)
    await caller.open()
    try:
        yield Watched(caller, registry)
    finally:
        await caller.close()


@contextlib.asynccontextmanager
async def sandbox(settings: SandboxSettings | None = None) -> AsyncIterator[tuple[Starlette, str]]:
    """A sandbox of its own, and its URL."""
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(server_config(app))
        serving = asyncio.create_task(server._serve([listener]))
        try:
            yield app, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server with one handler for everything; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def answering(raw: bytes) -> AsyncIterator[str]:
    """A server that takes the head of a request, sends these bytes and hangs up; its URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# Through the sandbox


async def test_amounts_beyond_64_bits_go_there_and_back() -> None:
    posting = {"source": "world", "destination": "users:7", "amount": HUGE, "asset": "EUR/2"}
    async with sandbox() as (_, url), caller_of(url) as stack:
        created = await stack.output(activities.create_transaction("default", postings=[posting], metadata={"k": "v"}))
        assert created["data"][0]["postings"] == [posting]
        assert created["data"][0].keys() == {"id", "txid", "postings", "metadata", "timestamp", "reverted"}
        account = await stack.output(activities.get_account("default", "users:7"))
        assert account["data"]["volumes"]["EUR/2"]["input"] == HUGE


async def test_all_activities_meet_their_endpoints() -> None:
    euros = {"amount": HUGE, "asset": "EUR/2"}
    async with sandbox() as (app, url), caller_of(url) as stack:
        state = app.state.sandbox
        wallet = state.wallets.create(CreateWallet(name="alice"), None).value.view()
        state.payments.add(Payment(id="p-1", asset="EUR/2", initial_amount=HUGE))
        assert (await stack.output(activities.list_wallets("alice")))["cursor"]["data"][0]["id"] == wallet["id"]
        await stack.output(activities.credit_wallet(wallet["id"], amount=euros, balance="main", metadata={}), "i:0:0")
        await stack.output(activities.debit_wallet(wallet["id"], amount=euros, balances=["main"], metadata={}), "i:0:1")
        found = await stack.output(activities.get_wallet(wallet["id"]))
        assert found["data"]["balances"]["main"]["assets"] == {"EUR/2": 0}
        assert (await stack.output(activities.get_payment("p-1")))["data"]["initialAmount"] == HUGE
        await stack.output(activities.add_account_metadata("default", "users:7", {"k": "v"}), "i:0:2")
        assert (await stack.output(activities.get_account("default", "users:7")))["data"]["metadata"] == {"k": "v"}
        await stack.output(_transfer(), "i:0:3")
        assert [made.reference for made in state.payments.transfers] == ["i:0:3"]
        assert {count.calls for count in state.calls.values()} <= {1, 2}


async def test_a_call_whose_answer_was_lost_is_done_once() -> None:
    posting = {"source": "world", "destination": "users:7", "amount": 5, "asset": "EUR/2"}
    async with sandbox() as (app, url), caller_of(url) as stack:
        state = app.state.sandbox
        for activity in (activities.create_transaction("default", postings=[posting], metadata={}), _transfer()):
            state.faults = Faults(FaultSettings([FaultRule(endpoint="*", kind="drop")]))
            lost = await stack.failure(activity)
            assert lost in (Failure("connection closed without an answer"), Failure("connection reset by peer"))
            state.faults = Faults(FaultSettings())
            await stack.output(activity)
        assert len(state.ledgers.get("default").transactions) == 1
        assert len(state.payments.transfers) == 1
        assert stack.counted("activity_attempts_total", activity="CreateTransaction", outcome="retry") == 1
        assert stack.counted("activity_attempts_total", activity="CreateTransaction", outcome="ok") == 1
        assert stack.counted("activity_attempt_seconds_count", activity="CreateTransaction") == 2


async def test_an_unknown_wallet_ends_its_activity() -> None:
    async with sandbox() as (_, url), caller_of(url) as stack:
        assert await stack.failure(GET_WALLET) == Failure("wallet not found", 404)
        assert stack.counted("activity_attempts_total", activity="GetWallet", outcome="final") == 1


# Tokens

CREDENTIALS: dict[str, Any] = {"stack_client_id": "engine:1", "stack_client_secret": "s é&cret"}
CLIENTS = SandboxSettings(require_token=True, clients={"engine:1": "s é&cret"}, token_ttl_seconds=100)


async def test_a_token_is_fetched_once_and_again_after_it_was_revoked() -> None:
    async with sandbox(CLIENTS) as (app, url), caller_of(url, **CREDENTIALS) as stack:
        calls = app.state.sandbox.calls
        await asyncio.gather(*(stack.output(activities.list_wallets("a")) for _ in range(20)))
        assert (calls["GetToken"].calls, calls["ListWallets"].calls) == (1, 20)
        app.state.sandbox.tokens.revoke_all()
        await stack.output(activities.list_wallets("a"))
        assert (calls["GetToken"].calls, calls["ListWallets"].calls) == (2, 22)


async def test_a_token_is_renewed_before_it_expires() -> None:
    now = 1000.0
    async with sandbox(CLIENTS) as (app, url), caller_of(url, lambda: now, **CREDENTIALS) as stack:
        calls = app.state.sandbox.calls
        await stack.output(activities.list_wallets("a"))
        now += 70
        await stack.output(activities.list_wallets("a"))
        assert calls["GetToken"].calls == 1
        now += 30
        await stack.output(activities.list_wallets("a"))
        assert calls["GetToken"].calls == 2


async def test_a_call_with_no_credentials_carries_no_token() -> None:
    async with sandbox(CLIENTS) as (app, url), caller_of(url) as stack:
        refused = await stack.failure(GET_WALLET)
        assert (refused.status, app.state.sandbox.calls.keys()) == (401, {"GetWallet"})


async def test_wrong_credentials_fail_the_call_and_are_not_shown() -> None:
    wrong = CREDENTIALS | {"stack_client_secret": "hunter2"}
    async with sandbox(CLIENTS) as (app, url), caller_of(url, **wrong) as stack:
        assert await stack.failure(GET_WALLET) == Failure("no access token: HTTP 401 invalid_client")
        assert "GetWallet" not in app.state.sandbox.calls


async def test_a_second_401_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth, "REFUSAL_PAUSE_SECONDS", 1000.0)
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        if request.method == "POST":
            return web.json_response({"access_token": f"t{len(seen)}", "token_type": "bearer", "expires_in": "3600"})
        seen.append(request.headers["Authorization"])
        return web.Response(status=401)

    async with serving(handler) as url, caller_of(url, **CREDENTIALS, stack_token_url=f"{url}/token") as stack:
        for _ in range(3):
            assert await stack.failure(GET_WALLET) == Failure("HTTP 401", 401)
    assert seen == ["Bearer t0", "Bearer t1", "Bearer t1", "Bearer t1"], "it does not make a token for each call"


# What no stack should do


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "connection closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "connection broken in the middle of the answer"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
            "connection broken in the middle of the answer",
        ),
    ],
)
async def test_an_answer_that_breaks_off_is_a_failure(raw: bytes, error: str) -> None:
    async with answering(raw) as url, caller_of(url) as stack:
        assert await stack.failure(GET_WALLET) == Failure(error)


async def test_a_stack_that_is_down_is_a_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with caller_of(f"http://127.0.0.1:{unused.getsockname()[1]}") as stack:
            assert await stack.failure(GET_WALLET) == Failure("connection refused")
            assert stack.counted("activity_attempts_total", activity="GetWallet", outcome="retry") == 1


async def test_a_stack_that_does_not_answer_is_a_timeout() -> None:
    never = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with serving(handler) as url, caller_of(url, activity_timeout_seconds=0.05) as stack:
        assert await stack.failure(GET_WALLET) == Failure("timeout after 0.05 s")
        assert stack.counted("calls_in_flight") == 0


async def test_an_answer_that_trickles_is_a_timeout() -> None:
    never = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await never.wait()
        return response

    async with serving(handler) as url, caller_of(url, activity_timeout_seconds=0.05) as stack:
        assert await stack.failure(GET_WALLET) == Failure("timeout after 0.05 s")


@pytest.mark.parametrize(
    ("status", "size", "expected"),
    [
        (200, 2000, Failure("HTTP 200, but the answer can't be read: JSON is malformed", 200)),
        (200, 2001, Failure("the answer is larger than 2000 bytes", 200)),
        (500, 2001, Failure("HTTP 500", 500)),
    ],
)
async def test_an_answer_is_read_up_to_a_size(status: int, size: int, expected: Failure) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, body=b"x" * size)

    async with serving(handler) as url, caller_of(url, max_answer_bytes=2000) as stack:
        found = await stack.failure(GET_WALLET)
        assert found.status == expected.status
        assert found.error.startswith(expected.error.partition(": ")[0])


async def test_an_answer_without_end_is_given_up() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" " * 10_000)
        return response

    async with serving(handler) as url, caller_of(url, max_answer_bytes=100_000) as stack:
        assert await stack.failure(GET_WALLET) == Failure("the answer is larger than 100000 bytes", 200)


async def test_redirects_are_not_followed() -> None:
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(handler) as url, caller_of(url) as stack:
        assert (await stack.failure(GET_WALLET)).status == 307
    assert paths == ["/api/wallets/wallets/w-1"]


async def test_the_wire_carries_path_key_and_body_as_they_are() -> None:
    seen: list[tuple[str, str, str | None, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key")
        seen.append((request.method, request.raw_path, key, await request.read()))
        return web.Response(status=204)

    odd = activities.add_account_metadata("main", "a?b#c%2e:d =é@", {"k": "v"})
    async with serving(handler) as url, caller_of(f"{url}/stack/") as stack:
        await stack.output(odd, "i7:1:0")
    path = "/stack/api/ledger/v2/main/accounts/a%3Fb%23c%252e:d%20%3D%C3%A9%40/metadata"
    assert seen == [("POST", path, "i7:1:0", b'{"k":"v"}')]


async def test_a_call_that_may_not_start_is_not_made() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"cursor": {"data": []}})

    async with serving(handler) as url, caller_of(url) as stack:
        await stack.refused(activities.list_wallets("a"))
        assert stack.counted("activity_attempts_total", activity="ListWallets", outcome="ok") is None
        await stack.output(activities.list_wallets("a"))
        assert stack.counted("activity_attempts_total", activity="ListWallets", outcome="ok") == 1


async def test_a_call_that_had_to_wait_for_its_token_asks_again_before_it_is_sent() -> None:
    now, tokens, calls = 1000.0, [asyncio.Event(), asyncio.Event()], list[str]()
    token_wanted = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        if request.path != "/token":
            calls.append(request.path)
            return web.Response(status=401) if len(calls) == 1 else web.Response(status=204)
        token_wanted.set()
        await tokens[len(calls)].wait()
        return web.json_response({"access_token": f"t{len(calls)}", "expires_in": 3600})

    asked: list[bool] = []
    allowed = True

    async def may_start() -> bool:
        asked.append(allowed)
        return allowed

    async with (
        serving(handler) as url,
        caller_of(url, lambda: now, **CREDENTIALS, stack_token_url=f"{url}/token") as stack,
    ):
        waiting = asyncio.create_task(stack.start(_transfer(), may_start))
        await token_wanted.wait()
        # The instance is aborted meanwhile, and that is answered.
        now, allowed = now + 5, False
        tokens[0].set()
        assert await waiting is None
        assert (asked, calls) == ([True, False], []), "nothing was sent after the abort"
        assert stack.counted("activity_attempts_total", activity="CreateTransferInitiation", outcome="retry") is None

        # Likewise behind a token that the stack does not take any more.
        allowed = True
        token_wanted.clear()
        waiting = asyncio.create_task(stack.start(_transfer(), may_start))
        await token_wanted.wait()
        now, allowed = now + 5, False
        tokens[1].set()
        assert await waiting is None
        assert (asked[2:], len(calls)) == ([True, False], 1)

        allowed = True
        assert await stack.start(_transfer(), may_start) == ActivityDone(TOKEN)
        assert (asked[4:], len(calls)) == ([True], 2), "what did not wait asks once"


async def test_a_call_that_had_to_wait_for_its_connection_asks_again_before_it_is_sent() -> None:
    now, calls = 1000.0, list[str]()

    async def handler(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.Response(status=204)

    def slow() -> float:
        """A clock by which everything takes a second."""
        nonlocal now
        now += 1
        return now

    answers = iter((True, False, True, True))

    async def may_start() -> bool:
        return next(answers)

    async with serving(handler) as url, caller_of(url, slow) as stack:
        assert await stack.start(_transfer(), may_start) is None
        assert calls == []
        assert await stack.start(_transfer(), may_start) == ActivityDone(TOKEN)
        assert len(calls) == 1


async def test_calls_under_way_are_counted_also_when_they_are_cancelled() -> None:
    entered, never = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        entered.set()
        await never.wait()
        return web.Response()

    async with serving(handler) as url, caller_of(url) as stack:
        cancelled = asyncio.create_task(stack.call(activities.list_wallets("a")))
        await entered.wait()
        assert stack.counted("calls_in_flight") == 1
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert stack.counted("calls_in_flight") == 0


def test_each_activity_belongs_to_a_service() -> None:
    services = {name: service_of(name) for name in OPERATIONS}
    assert set(services.values()) == {"ledger", "wallets", "payments"}
    assert (services["GetAccount"], services["ListWallets"], services["GetPayment"]) == (
        "ledger",
        "wallets",
        "payments",
    )
    assert service_of("MakeCoffee") == ""


@pytest.mark.parametrize(
    ("activity", "error"),
    [
        (Activity("MakeCoffee", {}), "this engine does not know the activity"),
        (Activity("GetWallet", {}), "internal fault"),
        (activities.get_wallet("../x"), "'../x' can't be a wallet id"),
        (activities.add_account_metadata("main", "a", {"k": "\ud800"}), "the request can't be encoded"),
    ],
)
async def test_what_can_not_be_called_is_a_failure(activity: Activity, error: str) -> None:
    async with caller_of("http://127.0.0.1:1") as stack:
        assert (await stack.failure(activity)).error.startswith(error)


async def test_a_caller_that_is_closed_fails_its_calls() -> None:
    async with caller_of("http://127.0.0.1:1") as stack:
        pass
    assert await stack.failure(GET_WALLET) == Failure("the caller is closed")


@pytest.mark.parametrize(
    "settings",
    [{"stack_url": "stack.example"}, {"stack_client_id": "engine"}, {"stack_client_secret": "s"}],
)
def test_settings_that_can_not_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="ORCHESTRATION_STACK_"):
        StackCaller(EngineSettings(**settings), Metrics(CollectorRegistry()))


def _transfer() -> Activity:
    return activities.create_transfer_initiation(
        amount=HUGE,
        asset="EUR/2",
        provider="stripe",
        type="PAYOUT",
        destination="acc-1",
        waiting_validation=False,
        metadata={},
    )
