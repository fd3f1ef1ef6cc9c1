"""The sandbox over HTTP: statuses and bodies of the contract's page `stack-api`, faults, tokens, and its own API."""

import asyncio
import base64
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
import uvicorn

from deploy.sandbox import SandboxSettings, create_app
from deploy.sandbox.auth import MAX_TOKENS, TokenRequestError, Tokens
from deploy.sandbox.faults import Faults, FaultSettings
from deploy.sandbox.server import server_config

TRANSACTIONS = "/api/ledger/v2/default/transactions"
WALLETS = "/api/wallets/wallets"
PAY_ALICE = {"postings": [{"source": "world", "destination": "alice", "amount": 1250, "asset": "EUR/2"}]}
UNKNOWN = "00000000-0000-4000-8000-00000000ffff"


class Response(msgspec.Struct):
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> tuple[int, str]:
        assert set(self.json) == {"errorCode", "errorMessage"}
        return self.status, self.json["errorCode"]


class Client:
    """Calls one running sandbox, and checks what all answers have in common."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        data = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, path, data=data, headers=named) as response:
            assert response.headers["X-Sandbox"] == "true"
            return Response(response.status, response.headers, await response.read())

    async def post(self, path: str, body: Any = None, **headers: str) -> Response:
        return await self.call("POST", path, body, **headers)

    async def get(self, path: str, **headers: str) -> Response:
        return await self.call("GET", path, **headers)

    async def balance(self, account: str) -> int:
        found = (await self.get(f"/api/ledger/default/accounts/{account}")).json["data"]["balances"]
        return int(found.get("EUR/2", 0))

    async def set_faults(self, *faults: dict[str, Any], seed: int = 0) -> None:
        assert (await self.call("PUT", "/sandbox/faults", {"faults": faults, "seed": seed})).status == 204


@contextlib.asynccontextmanager
async def running(settings: SandboxSettings) -> AsyncIterator[Client]:
    # Listening before the server runs: early connections wait in the backlog, so nobody has to poll for its start.
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it every answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(server_config(create_app(settings)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    timeout = aiohttp.ClientTimeout(total=60)
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with aiohttp.ClientSession(base_url, timeout=timeout) as session:
            yield Client(session)
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[Client]:
    async with running(SandboxSettings()) as client:
        yield client


@pytest.fixture
async def client(shared: Client) -> Client:
    assert (await shared.post("/sandbox/reset")).status == 204
    return shared


async def test_a_transaction(client: Client) -> None:
    body = PAY_ALICE | {"metadata": {"order": "A-1"}, "reference": "r1", "timestamp": "2026-03-01T10:00:05.58Z"}
    answer = await client.post(TRANSACTIONS, body)
    assert answer.status == 200
    data = answer.json["data"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", data.pop("insertedAt"))
    data.pop("updatedAt")
    before = {name: {"EUR/2": {"input": 0, "output": 0, "balance": 0}} for name in ("world", "alice")}
    after = {
        "world": {"EUR/2": {"input": 0, "output": 1250, "balance": -1250}},
        "alice": {"EUR/2": {"input": 1250, "output": 0, "balance": 1250}},
    }
    assert data == {
        "id": 1,
        "postings": PAY_ALICE["postings"],
        "metadata": {"order": "A-1"},
        "timestamp": "2026-03-01T10:00:05.580000Z",
        "reverted": False,
        "reference": "r1",
        "preCommitVolumes": before,
        "postCommitVolumes": after,
        "preCommitEffectiveVolumes": before,
        "postCommitEffectiveVolumes": after,
    }


async def test_integers_are_exact_on_the_wire(client: Client) -> None:
    amount = b"123456789012345678901234567890"
    body = b'{"postings": [{"source": "world", "destination": "a", "asset": "COIN", "amount": %s}]}' % amount
    assert b'"amount":' + amount in (await client.post(TRANSACTIONS, body)).body
    assert b'"COIN":' + amount in (await client.get("/api/ledger/default/accounts/a")).body


def posting(**changes: Any) -> dict[str, Any]:
    return {"postings": [PAY_ALICE["postings"][0] | changes]}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (TRANSACTIONS, posting(source="poor"), 400, "INSUFFICIENT_FUND"),
        (TRANSACTIONS, posting(amount=-1), 400, "VALIDATION"),
        (TRANSACTIONS, posting(amount=1.5), 400, "VALIDATION"),
        (TRANSACTIONS, posting(amount=1250.0), 400, "VALIDATION"),
        (TRANSACTIONS, posting(amount="1250"), 400, "VALIDATION"),
        (TRANSACTIONS, posting(amount=None), 400, "VALIDATION"),
        (TRANSACTIONS, posting(destination="a::b"), 400, "VALIDATION"),
        (TRANSACTIONS, posting(destination="a\n"), 400, "VALIDATION"),
        (TRANSACTIONS, posting(asset="eur"), 400, "VALIDATION"),
        (TRANSACTIONS, posting(asset="EUR/1234567"), 400, "VALIDATION"),
        (TRANSACTIONS, posting(asset="A" * 18), 400, "VALIDATION"),
        (TRANSACTIONS, PAY_ALICE | {"metadata": {"a": 1}}, 400, "VALIDATION"),
        (TRANSACTIONS, PAY_ALICE | {"timestamp": "yesterday"}, 400, "VALIDATION"),
        (TRANSACTIONS, b"{", 400, "VALIDATION"),
        (TRANSACTIONS, b'{"reference": "\xff"}', 400, "VALIDATION"),
        (TRANSACTIONS, b'{"x":' + b"[" * 100_000, 400, "VALIDATION"),
        (TRANSACTIONS, {"metadata": {}}, 400, "NO_POSTINGS"),
        (TRANSACTIONS, {"script": {"plain": "send money"}}, 400, "COMPILATION_FAILED"),
        ("/api/ledger/v2/nowhere/transactions", PAY_ALICE, 404, "LEDGER_NOT_FOUND"),
        ("/api/ledger/v2/nowhere/accounts/a/metadata", {}, 404, "LEDGER_NOT_FOUND"),
        ("/api/ledger/v2/default/accounts/a/metadata", {"a": 1}, 400, "VALIDATION"),
        ("/api/ledger/v2/default", None, 400, "LEDGER_ALREADY_EXISTS"),
        (WALLETS, {"metadata": {}}, 400, "VALIDATION"),
        (f"{WALLETS}/{UNKNOWN}/credit", {"amount": {"amount": -1, "asset": "EUR/2"}}, 400, "VALIDATION"),
        (f"{WALLETS}/{UNKNOWN}/debit", {"amount": {"amount": 1, "asset": "EUR/2"}}, 500, "INTERNAL_ERROR"),
        ("/api/payments/transfer-initiations", {"reference": "r"}, 400, "VALIDATION"),
        ("/sandbox/payments", {"asset": "EUR/2"}, 400, "VALIDATION"),
        ("/api/ledger/v2", None, 404, "NOT_FOUND"),
        ("/sandbox/calls", None, 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_refusals(client: Client, path: str, body: Any, status: int, code: str) -> None:
    assert (await client.post(path, body)).error == (status, code)
    assert (await client.get("/sandbox/ledgers/default/transactions")).json == {"data": [], "hasMore": False}


async def test_idempotency_keys(client: Client) -> None:
    first = await client.post(TRANSACTIONS, PAY_ALICE, Idempotency_Key="k")
    reordered = b'{ "postings": [{"asset":"EUR/2","amount":1250,"destination":"alice","source":"world"}] }'
    again = await client.post(TRANSACTIONS, reordered, Idempotency_Key="k")
    assert "Idempotency-Hit" not in first.headers
    assert again.headers["Idempotency-Hit"] == "true"
    assert (again.status, again.body) == (200, first.body)
    assert await client.balance("alice") == 1250
    other = await client.post(TRANSACTIONS, posting(amount=1), Idempotency_Key="k")
    assert other.error == (400, "VALIDATION")
    assert (await client.get("/sandbox/calls")).json["data"]["CreateTransaction"] == {
        "calls": 3,
        "idempotencyHits": 1,
        "faults": {},
    }


async def test_references_conflict(client: Client) -> None:
    await client.post(TRANSACTIONS, PAY_ALICE | {"reference": "r"})
    assert (await client.post(TRANSACTIONS, PAY_ALICE | {"reference": "r"})).error == (409, "CONFLICT")
    assert (await client.post(TRANSACTIONS, PAY_ALICE)).json["data"]["id"] == 3


async def test_account_metadata(client: Client) -> None:
    path = "/api/ledger/v2/main/accounts/users:7/metadata"
    assert (await client.post(path, {"a": "1"}, Idempotency_Key="k")).status == 204
    hit = await client.post(path, {"a": "1"}, Idempotency_Key="k")
    assert (hit.status, hit.body, hit.headers["Idempotency-Hit"]) == (204, b"", "true")
    assert (await client.get("/api/ledger/main/accounts/users:7")).json["data"]["metadata"] == {"a": "1"}
    unused = (await client.get("/api/ledger/main/accounts/users:8")).json["data"]
    assert unused["firstUsage"] == "0001-01-01T00:00:00Z"
    assert (await client.get("/api/ledger/nowhere/accounts/a")).error == (404, "LEDGER_NOT_FOUND")


async def test_ledgers_are_created(client: Client) -> None:
    assert (await client.post("/api/ledger/v2/new")).status == 204
    assert (await client.post("/api/ledger/v2/new/transactions", PAY_ALICE)).status == 200


async def test_wallets(client: Client) -> None:
    created = await client.post(WALLETS, {"name": "al ice", "metadata": {"k": "v"}})
    assert created.status == 201
    wallet = created.json["data"]
    path = f"{WALLETS}/{wallet['id']}"
    money = {"amount": {"amount": 67, "asset": "EUR/2"}}
    assert (await client.post(f"{path}/credit", money)).status == 204
    shown = (await client.get(path)).json["data"]
    assert shown == wallet | {"balances": {"main": {"expiresAt": None, "priority": 0, "assets": {"EUR/2": 67}}}}
    listed = (await client.get(f"{WALLETS}?name=al%20ice")).json
    assert listed == {"cursor": {"pageSize": 15, "hasMore": False, "data": [wallet]}}
    assert (await client.get(f"{WALLETS}?name=")).json["cursor"]["data"] == []

    holds = [await client.post(f"{path}/debit", money | {"pending": True}, Idempotency_Key="k") for _ in range(2)]
    assert [hold.status for hold in holds] == [201, 201]
    assert holds[0].body == holds[1].body
    assert (await client.post(f"{path}/debit", money)).error == (400, "INSUFFICIENT_FUND")
    hold_path = f"/api/wallets/holds/{holds[0].json['data']['id']}"
    assert (await client.post(f"{hold_path}/void")).status == 204
    assert (await client.post(f"{hold_path}/confirm")).error == (400, "HOLD_CLOSED")
    assert (await client.post(f"{path}/debit", money)).status == 204


async def test_unknown_and_empty_wallets(client: Client) -> None:
    missing = await client.get(f"{WALLETS}/{UNKNOWN}")
    assert (missing.status, missing.body) == (404, b"")
    money = {"amount": {"amount": 1, "asset": "EUR/2"}}
    assert (await client.post(f"{WALLETS}/{UNKNOWN}/credit", money)).status == 204
    poor = money | {"sources": [{"type": "ACCOUNT", "identifier": "poor"}]}
    assert (await client.post(f"{WALLETS}/{UNKNOWN}/credit", poor)).error == (500, "INTERNAL_ERROR")
    bank = money | {"sources": [{"type": "BANK", "identifier": "x"}]}
    assert (await client.post(f"{WALLETS}/{UNKNOWN}/credit", bank)).error == (400, "VALIDATION")


async def test_more_wallets_of_one_name_than_a_page_shows(client: Client) -> None:
    for _ in range(16):
        await client.post(WALLETS, {"name": "twin"})
    cursor = (await client.get(f"{WALLETS}?name=twin")).json["cursor"]
    assert (len(cursor["data"]), cursor["hasMore"]) == (15, True)


async def test_payments(client: Client) -> None:
    seed = {"id": "pay-1", "asset": "EUR/2", "initialAmount": 99, "metadata": {"a": "b"}}
    created = await client.post("/sandbox/payments", seed)
    assert created.status == 201
    shown = await client.get("/api/payments/payments/pay-1")
    assert shown.body == created.body
    assert shown.json["data"] == {
        "id": "pay-1",
        "reference": "",
        "sourceAccountID": "",
        "destinationAccountID": "",
        "connectorID": "",
        "provider": "SANDBOX",
        "type": "PAY-IN",
        "status": "SUCCEEDED",
        "scheme": "other",
        "asset": "EUR/2",
        "initialAmount": 99,
        "amount": 99,
        "createdAt": shown.json["data"]["createdAt"],
        "metadata": {"a": "b"},
        "adjustments": [],
    }
    assert (await client.get("/api/payments/payments/pay-2")).error == (404, "NOT_FOUND")


async def test_transfer_initiations(client: Client) -> None:
    body = {"reference": "r", "amount": 5, "asset": "EUR/2", "destinationAccountID": "acc", "type": "PAYOUT"}
    created = await client.post("/api/payments/transfer-initiations", body | {"validated": True, "provider": "STRIPE"})
    assert created.status == 200
    data = created.json["data"]
    assert body.items() <= data.items()
    assert (data["status"], data["provider"], data["initialAmount"], data["error"]) == ("VALIDATED", "STRIPE", 5, "")
    assert (await client.post("/api/payments/transfer-initiations", body)).error == (400, "CONFLICT")
    assert (await client.get("/sandbox/transfer-initiations")).json == {"data": [data], "hasMore": False}


async def test_transactions_are_listed_in_pages(client: Client) -> None:
    for _ in range(3):
        await client.post(TRANSACTIONS, PAY_ALICE)
    listed = "/sandbox/ledgers/default/transactions"
    page = (await client.get(f"{listed}?offset=1&limit=1")).json
    assert ([entry["id"] for entry in page["data"]], page["hasMore"]) == ([2], True)
    for query in ("limit=x", "limit=-1", "limit=10001", "offset=" + "9" * 5000):
        assert (await client.get(f"{listed}?{query}")).error == (400, "VALIDATION")


async def test_a_full_sandbox_says_so_until_reset() -> None:
    async with running(SandboxSettings(max_writes=1)) as client:
        await client.post(TRANSACTIONS, PAY_ALICE)
        assert (await client.post(TRANSACTIONS, PAY_ALICE)).error == (503, "SANDBOX_FULL")
        assert await client.balance("alice") == 1250
        await client.post("/sandbox/reset")
        assert (await client.post(TRANSACTIONS, PAY_ALICE)).json["data"]["id"] == 1


async def test_a_body_above_the_limit_is_refused() -> None:
    async with running(SandboxSettings(max_body_bytes=100)) as client:
        assert (await client.post(TRANSACTIONS, b" " * 101)).error == (413, "REQUEST_TOO_LARGE")
        assert (await client.post(TRANSACTIONS, b" " * 100)).error == (400, "VALIDATION")


async def test_a_dropped_answer_is_committed_and_given_when_asked_again(client: Client) -> None:
    await client.set_faults({"endpoint": "CreateTransaction", "kind": "drop"})
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.post(TRANSACTIONS, PAY_ALICE, Idempotency_Key="k")
    assert await client.balance("alice") == 1250
    await client.set_faults()
    again = await client.post(TRANSACTIONS, PAY_ALICE, Idempotency_Key="k")
    assert (again.json["data"]["id"], again.headers["Idempotency-Hit"]) == (1, "true")


async def test_without_the_servers_help_a_dropped_answer_is_cut_short() -> None:
    app = create_app()
    app.state.sandbox.faults = Faults(msgspec.convert({"faults": [{"endpoint": "*", "kind": "drop"}]}, FaultSettings))
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": WALLETS, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert (b"content-length", b"1") in sent[0]["headers"]


@pytest.mark.parametrize(
    ("fault", "status", "balance"),
    [
        ({"kind": "error"}, 500, 0),
        ({"kind": "error", "status": 503}, 503, 0),
        ({"kind": "error", "status": 502, "after": True}, 502, 1250),
        ({"kind": "error", "status": 404}, 404, 0),
        ({"kind": "garbage"}, 200, 1250),
        ({"kind": "garbage", "after": False}, 200, 0),
        ({"kind": "error", "probability": 0}, 200, 1250),
    ],
)
async def test_faults_before_and_after_committing(
    client: Client, fault: dict[str, Any], status: int, balance: int
) -> None:
    await client.set_faults({"endpoint": "CreateTransaction", **fault})
    answer = await client.post(TRANSACTIONS, PAY_ALICE)
    assert answer.status == status
    assert await client.balance("alice") == balance
    if fault["kind"] == "garbage":
        with pytest.raises(msgspec.DecodeError):
            _ = answer.json
    struck = (await client.get("/sandbox/calls")).json["data"]["CreateTransaction"]["faults"]
    assert struck == ({fault["kind"]: 1} if fault.get("probability") != 0 else {})


@pytest.mark.parametrize(("after", "balance"), [(None, 1250), (True, 1250), (False, 0)])
async def test_a_dropped_call_is_committed_unless_told_otherwise(
    client: Client, after: bool | None, balance: int
) -> None:
    await client.set_faults({"endpoint": "CreateTransaction", "kind": "drop", "after": after})
    with pytest.raises(aiohttp.ClientError):
        await client.post(TRANSACTIONS, PAY_ALICE)
    assert await client.balance("alice") == balance


@pytest.mark.parametrize(
    ("switch", "struck"),
    [({"call": 2}, [2, 3, 4]), ({"call": 2, "times": 2}, [2, 3]), ({"times": 1}, [1]), ({"call": 9}, [])],
)
async def test_faults_at_certain_calls(client: Client, switch: dict[str, int], struck: list[int]) -> None:
    told = {"status": 409, "code": "CONFLICT", "message": "this was paid already"}
    await client.get(f"{WALLETS}?name=x")  # calls from before the switch was set do not count
    await client.set_faults({"endpoint": "ListWallets", "kind": "error", **told, **switch})
    for call in range(1, 5):
        answer = await client.get(f"{WALLETS}?name=x")
        await client.post(TRANSACTIONS, PAY_ALICE)  # nor do those of other endpoints
        if call in struck:
            assert answer.status == 409
            assert answer.json == {"errorCode": "CONFLICT", "errorMessage": "this was paid already"}
        else:
            assert answer.status == 200


async def test_a_slow_answer_is_committed_before_the_delay() -> None:
    delays = []
    go_on = asyncio.Event()
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        asleep.set()
        await go_on.wait()

    async with running(SandboxSettings(sleep=sleep)) as client:
        await client.set_faults(
            {"endpoint": "CreateTransaction", "kind": "slow", "delay_seconds": 2.5},
            {"endpoint": "CreateTransaction", "kind": "slow", "delay_seconds": 30},
        )
        slow = asyncio.create_task(client.post(TRANSACTIONS, PAY_ALICE))
        await asyncio.wait_for(asleep.wait(), 60)
        assert await client.balance("alice") == 1250
        assert not slow.done()
        go_on.set()
        assert (await slow).status == 200
    assert delays == [32.5]


async def test_the_same_seed_gives_every_endpoint_the_same_fates(client: Client) -> None:
    async def statuses(seed: int, others: bool) -> list[int]:
        await client.set_faults({"endpoint": "*", "kind": "error", "probability": 0.5}, seed=seed)
        found = []
        for _ in range(30):
            if others:
                await client.get(f"{WALLETS}?name=x")
            found.append((await client.post(TRANSACTIONS, PAY_ALICE)).status)
        return found

    first = await statuses(seed=7, others=False)
    assert set(first) == {200, 500}
    assert await statuses(seed=7, others=True) == first
    assert await statuses(seed=8, others=False) != first


@pytest.mark.parametrize(
    "fault",
    [
        {"endpoint": "NoSuchCall", "kind": "drop"},
        {"endpoint": "*", "kind": "explode"},
        {"endpoint": "*", "kind": "drop", "probability": 1.1},
        {"endpoint": "*", "kind": "slow", "delay_seconds": 1e9},
        {"endpoint": "*", "kind": "error", "status": 200},
        {"endpoint": "*", "kind": "error", "delay": 1},
    ],
)
async def test_bad_fault_switches_are_refused_and_leave_the_old(client: Client, fault: dict[str, Any]) -> None:
    await client.set_faults({"endpoint": "GetWallet", "kind": "drop"}, seed=3)
    assert (await client.call("PUT", "/sandbox/faults", {"faults": [fault]})).error == (400, "VALIDATION")
    kept = {"data": {"faults": [{"endpoint": "GetWallet", "kind": "drop"}], "seed": 3}}
    assert (await client.get("/sandbox/faults")).json == kept


async def fetch_token(client: Client, form: bytes, **headers: str) -> Response:
    return await client.post("/api/auth/oauth/token", form, **headers)


async def test_tokens() -> None:
    clock = [0.0]
    settings = SandboxSettings(
        require_token=True, clients={"me": "s3cret"}, token_ttl_seconds=60, clock=lambda: clock[0]
    )
    async with running(settings) as client:
        assert (await client.post(TRANSACTIONS, PAY_ALICE)).error == (401, "UNAUTHORIZED")
        discovery = (await client.get("/api/auth/.well-known/openid-configuration")).json
        assert discovery["token_endpoint"] == discovery["issuer"] + "/oauth/token"
        assert discovery["token_endpoint"].startswith("http://127.0.0.1:")

        form = b"grant_type=client_credentials&client_id=me&client_secret=s3cret"
        answer = (await fetch_token(client, form)).json
        assert answer["expires_in"] == 60
        bearer = f"Bearer {answer['access_token']}"
        assert (await client.post(TRANSACTIONS, PAY_ALICE, Authorization=bearer)).status == 200
        wrong_scheme = await client.get(f"{WALLETS}?name=x", Authorization=bearer.replace("Bearer", "Token"))
        assert wrong_scheme.error == (401, "UNAUTHORIZED")
        clock[0] = 60
        assert (await client.get(f"{WALLETS}?name=x", Authorization=bearer)).error == (401, "UNAUTHORIZED")

        basic = {"Authorization": "Basic " + base64.b64encode(b"me:s3cret").decode()}
        bearer = f"Bearer {(await fetch_token(client, b'grant_type=client_credentials', **basic)).json['access_token']}"
        assert (await client.get(f"{WALLETS}?name=x", Authorization=bearer)).status == 200
        assert (await client.post("/sandbox/tokens/revoke")).json == {"data": {"revoked": 1}}
        assert (await client.get(f"{WALLETS}?name=x", Authorization=bearer)).error == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        (b"grant_type=password&client_id=me&client_secret=s3cret", 400, "unsupported_grant_type"),
        (b"", 400, "unsupported_grant_type"),
        (b"grant_type=client_credentials&client_id=me&client_secret=wrong", 401, "invalid_client"),
        (b"grant_type=client_credentials&client_id=you&client_secret=s3cret", 401, "invalid_client"),
        (b"grant_type=client_credentials", 401, "invalid_client"),
    ],
)
def test_token_requests_that_are_refused(form: bytes, status: int, error: str) -> None:
    with pytest.raises(TokenRequestError) as caught:
        Tokens({"me": "s3cret"}, 60, lambda: 0).issue(form, None)
    assert (caught.value.status, caught.value.error) == (status, error)


def test_old_tokens_are_forgotten_before_the_memory_is_full() -> None:
    tokens = Tokens(None, 60, lambda: 0)
    for _ in range(MAX_TOKENS + 5):
        tokens.issue(b"grant_type=client_credentials&client_id=me", None)
    assert tokens.revoke_all() == MAX_TOKENS
