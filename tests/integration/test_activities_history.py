"""What the API shows of activities: every pair, attempts while retrying, and aborts (contract: `workflows`)."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.events import CANCELED, LateResultRecorded
from tests.chaos.bank import Bank, furnish
from tests.chaos.shown import check_input, check_output
from tests.integration.event_log_reader import admitted_events
from tests.integration.http_client import Client, Json
from tests.integration.installation import Installation
from tests.integration.sandbox_client import SandboxClient
from tests.integration.waiting import eventually

AMOUNT: Json = {"amount": 70, "asset": "EUR/2"}
MARK: Json = {"order": "A-1"}
TO_WALLETS: Json = {"orchestration/move-to-ledger": "wallets-002"}
FROM_DEFAULT: Json = {"orchestration/move-from-ledger": "default"}
INTERNAL = "orchestration-000-internal"


@pytest.fixture(scope="module")
async def installation(
    kafka_bootstrap_servers: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    folder = tmp_path_factory.mktemp("activities")
    async with Installation(kafka_bootstrap_servers, database_url, folder, sandbox=True) as installation:
        yield installation


@pytest.fixture
async def sandbox(installation: Installation) -> AsyncIterator[SandboxClient]:
    """The sandbox, empty."""
    assert installation.sandbox is not None
    async with SandboxClient(installation.sandbox.url) as sandbox:
        await sandbox.call("POST", "/sandbox/reset")
        yield sandbox
        await sandbox.faults()


@pytest.fixture
async def bank(sandbox: SandboxClient) -> Bank:
    """The sandbox with wallets, payments, and money where the tests take it from."""
    bank = await furnish(sandbox)
    for ledger, account in (("default", "users:1"), ("wallets-002", "users:1"), ("wallets-002", "bank")):
        posting = {"source": "world", "destination": account, "amount": 10_000, "asset": "EUR/2"}
        await sandbox.call("POST", f"/api/ledger/v2/{ledger}/transactions", {"postings": [posting]})
    for wallet_id in bank.wallets.values():
        await sandbox.call("POST", f"/api/wallets/wallets/{wallet_id}/credit", {"amount": AMOUNT})
    return bank


def account(id: str = "users:1", ledger: str = "default", **more: Any) -> Json:
    return {"account": {"id": id, "ledger": ledger, **more}}


def transaction(ledger: str, source: str, destination: str, metadata: Json, **more: str) -> Json:
    posting = {"source": source, "destination": destination, **AMOUNT}
    data = {"postings": [posting], "metadata": metadata, **more}
    return {"ledger": ledger, "data": data, "Ledger": ledger, "Data": data}


def overdraft(ledger: str, source: str, destination: str, metadata: Json) -> Json:
    script = f"send [EUR/2 70] (\n  source = @{source} allowing unbounded overdraft\n  destination = @{destination}\n)"
    data = {"script": {"plain": script}, "metadata": metadata}
    return {"ledger": ledger, "data": data, "Ledger": ledger, "Data": data}


def transfer(kind: str = "TRANSFER") -> Json:
    return {
        **AMOUNT,
        "provider": "stripe",
        "type": kind,
        "destination": "acct_1",
        "waitingValidation": False,
        "metadata": MARK,
    }


def credit(wallet: str, metadata: Json, *sources: Json) -> Json:
    return {"id": wallet, "data": {"amount": AMOUNT, "balance": "main", "sources": list(sources), "metadata": metadata}}


def debit(wallet: str, metadata: Json, **destination: Json) -> Json:
    return {"id": wallet, "data": {"amount": AMOUNT, "balances": ["main"], **destination, "metadata": metadata}}


def subject(identifier: str) -> Json:
    return {"type": "ACCOUNT", "identifier": identifier}


def pairs(alice: str, bob: str) -> dict[str, tuple[Json, Json, list[tuple[str, Json]]]]:
    """Source, destination, and the activities with their inputs, written out from the contract's table."""
    by_id, by_name, payout = {"wallet": {"id": alice}}, {"wallet": {"name": "bob"}}, {"payment": {"psp": "stripe"}}
    payout["payment"]["metadata"] = "stripe"
    get_alice: tuple[str, Json] = ("GetWallet", {"id": alice})
    list_bob: tuple[str, Json] = ("ListWallets", {"name": "bob"})
    get_account: tuple[str, Json] = ("GetAccount", {"id": "users:1", "ledger": "default"})
    ingested = ("GetPayment", {"id": "pay-1"})
    ingestion = transaction(INTERNAL, "world", "payment:pay_1", MARK, reference="payment:pay_1")
    ingestion["data"]["postings"][0]["amount"] = 100
    create, to_wallets, from_default = "CreateTransaction", {**MARK, **TO_WALLETS}, {**MARK, **FROM_DEFAULT}
    to_main = {**MARK, "orchestration/move-to-ledger": "main"}
    from_wallets = {**MARK, "orchestration/move-from-ledger": "wallets-002"}
    from_internal = {**MARK, "orchestration/move-from-ledger": INTERNAL}
    internal_to_default = {**MARK, "orchestration/move-to-ledger": "default"}
    internal_to_wallets = {**MARK, **TO_WALLETS}
    return {
        "account to account": (
            account(),
            account("users:2"),
            [(create, transaction("default", "users:1", "users:2", MARK))],
        ),
        "account to account, other ledger, overdraft": (
            account(allowOverdraft=True),
            account("users:2", "main", throughAccount="bank", allowOverdraft=True),
            [
                (create, overdraft("default", "users:1", "world", to_main)),
                (create, overdraft("main", "bank", "users:2", from_default)),
            ],
        ),
        "account to wallet": (
            account(ledger="wallets-002"),
            by_id,
            [get_alice, ("CreditWallet", credit(alice, MARK, subject("users:1")))],
        ),
        "account to wallet, other ledger": (
            account(throughAccount="bank"),
            by_name,
            [
                list_bob,
                (create, transaction("default", "users:1", "bank", to_wallets)),
                ("CreditWallet", credit(bob, from_default, subject("bank"))),
            ],
        ),
        "account to payment": (
            account(),
            payout,
            [
                get_account,
                (create, transaction("default", "users:1", "world", MARK)),
                ("CreateTransferInitiation", transfer()),
            ],
        ),
        "wallet to account": (
            by_id,
            account("users:2", "wallets-002"),
            [get_alice, ("DebitWallet", debit(alice, MARK, destination=subject("users:2")))],
        ),
        "wallet to account, other ledger": (
            by_id,
            account("users:2", "main"),
            [
                get_alice,
                ("DebitWallet", debit(alice, to_main)),
                (create, transaction("main", "world", "users:2", from_wallets)),
            ],
        ),
        "wallet to wallet": (
            by_id,
            by_name,
            [
                get_alice,
                list_bob,
                (
                    "CreditWallet",
                    credit(bob, MARK, {"type": "WALLET", "identifier": alice, "balance": "main"}),
                ),
            ],
        ),
        "wallet to payment": (
            by_id,
            {"payment": {**payout["payment"], "type": "PAYOUT"}},
            [
                get_alice,
                ("DebitWallet", debit(alice, MARK)),
                ("CreateTransferInitiation", transfer("PAYOUT")),
            ],
        ),
        "payment to account": (
            {"payment": {"id": "pay-1"}},
            account("users:2"),
            [
                ingested,
                (create, ingestion),
                (create, transaction(INTERNAL, "payment:pay_1", "world", internal_to_default)),
                (create, transaction("default", "world", "users:2", from_internal)),
            ],
        ),
        "payment to wallet": (
            {"payment": {"id": "pay-1"}},
            by_name,
            [
                ingested,
                (create, ingestion),
                list_bob,
                (create, transaction(INTERNAL, "payment:pay_1", "world", internal_to_wallets)),
                ("CreditWallet", credit(bob, from_internal, subject("world"))),
            ],
        ),
    }


@pytest.mark.parametrize("pair", list(pairs("", "")))
async def test_a_pair_is_shown_as_the_contract_has_it(installation: Installation, bank: Bank, pair: str) -> None:
    client = installation.client()
    source, destination, expected = pairs(bank.wallets["alice"], bank.wallets["bob"])[pair]
    send = {"source": source, "destination": destination, "amount": AMOUNT, "metadata": MARK}
    instance = await client.run(await client.workflow({"send": send}), wait=True)
    assert "error" not in instance
    shown = await activities(client, instance["id"])
    assert [(activity["name"], activity["input"]) for activity in shown] == [
        (name, {name: given}) for name, given in expected
    ]
    for activity in shown:
        name = activity["name"]
        check_input(name, activity["input"][name])
        assert activity["attempt"] == 1
        assert activity["terminated"] is True
        assert activity["terminatedAt"] >= activity["startedAt"]
        assert not {"error", "lastFailure", "nextExecution"} & set(activity)
        if name in ("CreditWallet", "DebitWallet", "CreateTransferInitiation"):
            assert "output" not in activity
        else:
            assert set(activity["output"]) == {name}
            check_output(name, activity["output"][name])


async def test_empty_metadata_is_a_map(installation: Installation, bank: Bank) -> None:
    client = installation.client()
    wallet = {"wallet": {"id": bank.wallets["alice"]}}
    to_account = {"source": wallet, "destination": account("users:2", "wallets-002"), "amount": AMOUNT}
    to_wallet = {"source": account("world"), "destination": wallet, "amount": AMOUNT}
    paid = {"source": account(), "destination": {"payment": {"psp": "s", "metadata": "stripe"}}, "amount": AMOUNT}
    stages = [{"send": stage} for stage in (to_account, to_wallet, paid)]
    instance = await client.run(await client.workflow(*stages), wait=True)
    assert "error" not in instance
    debited = (await activities(client, instance["id"], 0))[-1]["input"]["DebitWallet"]
    assert debited["data"]["metadata"] == {}
    credited = (await activities(client, instance["id"], 1))[-1]["input"]["CreditWallet"]
    assert credited["data"]["metadata"] == {"orchestration/move-from-ledger": "default"}
    left, paid_out = (await activities(client, instance["id"], 2))[1:]
    assert left["input"]["CreateTransaction"]["data"]["metadata"] == {}
    assert paid_out["input"]["CreateTransferInitiation"]["metadata"] == {}


async def test_retries_are_shown_and_outlive_an_engine(installation: Installation, sandbox: SandboxClient) -> None:
    client, engine = installation.client(), installation.engine
    poor = {"send": {"source": account("poor"), "destination": account("users:2"), "amount": AMOUNT}}
    instance = await client.run(await client.workflow(poor))
    shown = await attempt(client, instance["id"], at_least=3)
    check_retrying(shown)
    await engine.kill()
    before = await only(client, instance["id"])
    await engine.start()
    shown = await attempt(client, instance["id"], at_least=before["attempt"] + 1)
    check_retrying(shown)
    assert shown["attempt"] == before["attempt"] + 1, "a restart counts no attempt and skips none"
    assert shown["startedAt"] == before["startedAt"]
    # The attempt that was due while nobody was there failed later than planned; the pause counts from then.
    pause = timedelta(seconds=2 ** (shown["attempt"] - 2))
    assert instant(shown, "nextExecution") >= instant(before, "nextExecution") + pause
    deposit = {"source": account("world"), "destination": account("poor"), "amount": AMOUNT}
    assert "error" not in await client.run(await client.workflow({"send": deposit}), wait=True)
    ended = await eventually(lambda: client.instance(instance["id"]), lambda i: i["terminated"], seconds=60.0)
    assert "error" not in ended
    last = await only(client, instance["id"])
    assert last["attempt"] >= shown["attempt"]
    assert last["lastFailure"] == "account @poor has insufficient funds"
    assert "nextExecution" not in last
    assert "error" not in last


async def test_a_failure_for_good_is_shown(installation: Installation, sandbox: SandboxClient) -> None:
    client = installation.client()
    bad = {"send": {"source": account("world"), "destination": account("no address"), "amount": AMOUNT}}
    instance = await client.run(await client.workflow(bad), wait=True)
    shown = await only(client, instance["id"])
    assert shown["error"] == instance["error"]
    assert shown["terminated"] is True
    assert "output" not in shown


async def test_abort_while_retrying(installation: Installation, sandbox: SandboxClient) -> None:
    client = installation.client()
    poor = {"send": {"source": account("poor"), "destination": account("users:2"), "amount": AMOUNT}}
    instance = await client.run(await client.workflow(poor))
    waiting = await attempt(client, instance["id"], at_least=2)
    assert (await client.abort(instance["id"])).status == 204
    await check_canceled(client, instance["id"])
    shown = await only(client, instance["id"])
    assert shown["attempt"] >= waiting["attempt"]
    assert shown["lastFailure"] == "account @poor has insufficient funds"
    # Another instance that becomes due later shows that the time of the dropped retry has passed.
    calls = (await sandbox.calls())["CreateTransaction"]["calls"]
    seconds = 2 ** (shown["attempt"] - 1) + 1
    await client.run(await client.workflow({"delay": {"duration": f"{seconds}s"}}), wait=True)
    assert (await sandbox.calls())["CreateTransaction"]["calls"] == calls


async def test_abort_while_a_call_is_in_flight(installation: Installation, sandbox: SandboxClient) -> None:
    client = installation.client()
    stage = {"send": {"source": account("world"), "destination": account("users:9"), "amount": AMOUNT}}
    workflow = await client.workflow(stage, stage)
    assert installation.sandbox is not None
    with installation.sandbox.paused():  # so the call takes as long as the rest
        instance = await client.run(workflow)
        await attempt(client, instance["id"], at_least=1)
        assert (await client.abort(instance["id"])).status == 204
        await check_canceled(client, instance["id"])
        before = await only(client, instance["id"])
    late = await eventually(lambda: late_results(installation, instance["id"]))
    assert [(result.stage, result.index, result.attempt, result.error) for result in late] == [(0, 0, 1, None)]
    assert late[0].output["data"][0]["postings"][0]["destination"] == "users:9"
    # A command behind the late result, of the same instance, shows that the read model has passed it.
    assert (await client.send(instance["id"], "any")).status == 400
    assert await only(client, instance["id"]) == before
    assert len(await sandbox.transactions("default")) == 1


async def late_results(installation: Installation, instance_id: str) -> list[LateResultRecorded]:
    logs = await admitted_events(installation.settings)
    mine = [r.event for log in logs.values() for r in log if r.aggregate_id == instance_id]
    return [event for event in mine if isinstance(event, LateResultRecorded)]


async def check_canceled(client: Client, instance_id: str) -> None:
    """Instance, stage and activity have ended with the contract's error."""
    instance = await client.instance(instance_id)
    (stage,) = (await client.get(f"/instances/{instance_id}/history")).data
    for ended in (instance, stage, instance["status"][0], await only(client, instance_id)):
        assert ended["error"] == CANCELED
        assert ended["terminatedAt"]
    assert "nextExecution" not in await only(client, instance_id)


def check_retrying(shown: Json) -> None:
    """What is shown while an activity waits for its next attempt."""
    assert shown["terminated"] is False
    assert shown["lastFailure"] == "account @poor has insufficient funds"
    assert instant(shown, "nextExecution") > instant(shown, "startedAt")
    assert not {"terminatedAt", "error", "output"} & set(shown)


def instant(shown: Json, field: str) -> datetime:
    return datetime.fromisoformat(shown[field])


async def attempt(client: Client, instance_id: str, at_least: int) -> Json:
    """The only activity, once it has reached an attempt."""

    async def read() -> Json | None:
        shown = await activities(client, instance_id)
        return shown[0] if shown and shown[0]["attempt"] >= at_least else None

    found = await eventually(read)
    assert found is not None
    return found


async def only(client: Client, instance_id: str) -> Json:
    """The only activity of the first stage."""
    (shown,) = await activities(client, instance_id)
    return shown


async def activities(client: Client, instance_id: str, stage: int = 0) -> list[Json]:
    """The history of a stage's activities."""
    shown: list[Json] = (await client.get(f"/instances/{instance_id}/stages/{stage}/history")).data
    return shown
