"""Our processes end and start again, in order and not, and nothing is lost or done twice."""

import asyncio
import functools
import os
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from schemas.epochs import is_claim
from schemas.events import CANCELED, InstanceStarted, PartitionClaimed
from schemas.records import RecordCodec
from schemas.topics import EVENTS, partition_of
from tests.integration.event_log_reader import records
from tests.integration.http_client import Answer, Client, Json
from tests.integration.installation import PARTITIONS, Installation, Process
from tests.integration.log_checks import check_log, check_read_model, received
from tests.integration.sandbox_client import SandboxClient
from tests.integration.waiting import eventually

SEED = int(os.environ.get("RESTARTS_SEED", "1"))
"""Decides who is killed when; set the variable to try another one."""
LEAVE_SECONDS = 60.0
SESSION_SECONDS = 2 * LEAVE_SECONDS
"""It outlasts a stop and a start: what a process had that ends in order is not waited for."""
CALL_SECONDS = 15.0
"""Of a call that is to be under way when its engine stops. On a machine with time, it does so after half a second."""
DELAY_SECONDS = 6
"""It outlasts a stop, also on a machine that stands still meanwhile."""
RUNS = 60
CLIENTS = 6
ASSET = "EUR/2"
WAITS: Json = {"wait_event": {"event": "go"}}
HOUR: Json = {"delay": {"duration": "1h"}}
SEND: Json = {
    "send": {
        "source": {"account": {"id": "world"}},
        "destination": {"account": {"id": "users:${user}"}},
        "amount": {"amount": 1, "asset": ASSET},
    }
}


@pytest.fixture(scope="module")
async def installation(
    kafka_bootstrap_servers: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    folder = tmp_path_factory.mktemp("restarts")
    engine = {"snapshot_seconds": 1.0}
    async with Installation(kafka_bootstrap_servers, database_url, folder, engine=engine, sandbox=True) as installation:
        yield installation


def credit(wallet: str) -> Json:
    """A stage that pays into a wallet."""
    source = {"account": {"id": "world", "ledger": "wallets-002"}}
    amount = {"amount": 1, "asset": ASSET}
    return {"send": {"source": source, "destination": {"wallet": {"id": wallet}}, "amount": amount}}


async def insist(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Send until there is an answer other than 503; whether an earlier try had an effect is unknown."""

    async def tried() -> Answer | None:
        try:
            answer = await client.call(method, path, body, headers=headers)
        except aiohttp.ClientError:
            return None
        return None if answer.status == 503 else answer

    answer = await eventually(tried, seconds=60.0)
    assert answer is not None
    return answer


async def instance_of(client: Client, instance_id: str) -> Json:
    shown: Json = (await insist(client, "GET", f"/instances/{instance_id}")).data
    return shown


async def until_ended(client: Client, instance_id: str) -> Json:
    return await eventually(lambda: instance_of(client, instance_id), lambda i: i["terminated"], seconds=60.0)


async def test_an_orderly_restart_carries_on(installation: Installation) -> None:
    client = installation.client()
    waiting = await client.run(await client.workflow(WAITS, {"noop": {}}))
    delayed = await client.run(await client.workflow({"delay": {"duration": f"{DELAY_SECONDS}s"}}))
    due = datetime.fromisoformat(delayed["createdAt"]) + timedelta(seconds=DELAY_SECONDS)
    processes = [installation.api, installation.engine, installation.projections]
    assert await asyncio.gather(*(process.terminate() for process in processes)) == [0, 0, 0]
    await eventually(lambda: clock_reads(due))
    started = datetime.now(UTC)
    await asyncio.gather(*(process.start() for process in processes))
    ended = await until_ended(client, delayed["id"])
    assert "error" not in ended
    assert datetime.fromisoformat(ended["terminatedAt"]) > started
    assert len((await client.instance(waiting["id"]))["status"]) == 1
    assert (await client.send(waiting["id"], "go", marker="restart")).status == 204
    assert "error" not in await until_ended(client, waiting["id"])
    await check_log(installation)


async def test_a_killed_engine_reads_the_snapshot_and_what_came_after_it(installation: Installation) -> None:
    client, engine = installation.client(), installation.engine
    assert await engine.metric("orchestration_engine_configured_partitions") == PARTITIONS
    decided = await engine.metric("orchestration_engine_commands_total")
    ends, waits = await client.workflow({"noop": {}}), await client.workflow(WAITS)
    instances = [instance["id"] for instance in await asyncio.gather(*(client.run(waits) for _ in range(10)))]
    await asyncio.gather(*(client.run(ends, wait=True) for _ in range(60)))
    assert await engine.metric("orchestration_engine_commands_total") >= decided + 72
    await eventually(functools.partial(snapshot_ages, engine), lambda ages: max(ages) == 0.0)
    events = await engine.metric("orchestration_engine_events_total")
    instances += [(await client.run(waits))["id"] for _ in range(3)]
    await engine.restart()
    assert await engine.metric('orchestration_engine_restored_records_total{source="snapshot"}') > 10
    # Two of each instance that came after it, a claim of each partition, and a proof for its snapshot.
    assert await engine.metric('orchestration_engine_restored_records_total{source="events"}') <= 3 * 2 + 2 * PARTITIONS
    assert events > 200
    assert await engine.metric("orchestration_engine_instances") >= 13
    for instance_id in instances:
        assert (await client.send(instance_id, "go", marker=f"kept-{instance_id}")).status == 204
        assert "error" not in await until_ended(client, instance_id)
    await check_log(installation)


async def snapshot_ages(engine: Process) -> list[float]:
    """The age of each partition's newest snapshot; 0 if nothing has come since."""
    sample = "orchestration_engine_snapshot_age_seconds"
    return [await engine.metric(f'{sample}{{partition="{n}"}}') for n in range(PARTITIONS)]


async def clock_reads(at: datetime) -> bool:
    return datetime.now(UTC) > at


@dataclass
class Stream:
    """Clients that run workflows, send events and abort, while something kills processes.

    Args:
        client: talks to the API.
        rng: decides what comes when.
        kills: how many steps until who is killed.
    """

    client: Client
    rng: random.Random
    kills: list[tuple[int, Process]]
    workflows: dict[str, str] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    steps: int = 0
    restarts: list[asyncio.Task[None]] = field(default_factory=list)
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def flow(self, kinds: list[str]) -> None:
        """One client: its instances, one after another, each to its end."""
        while kinds:
            kind = kinds.pop()
            instance_id = await self._start(kind)
            self.started[instance_id] = kind
            self._step()
            if kind == "event":
                await self._send(instance_id)
            elif kind == "abort":
                assert (await insist(self.client, "PUT", f"/instances/{instance_id}/abort")).status == 204
            self._step()
            ended = await until_ended(self.client, instance_id)
            assert ended.get("error") == (CANCELED if kind == "abort" else None)

    async def _start(self, kind: str) -> str:
        path = f"/workflows/{self.workflows[kind]}/instances"
        body = {"user": str(self.rng.randrange(100))}
        answer = await insist(self.client, "POST", path, body, **{"Idempotency-Key": uuid.uuid4().hex})
        return str(answer.data["id"])

    async def _send(self, instance_id: str) -> None:
        """Send an event with a marker of its own; one with an unknown outcome is only repeated if it had no effect."""
        while True:
            marker = uuid.uuid4().hex
            body = {"name": "go", "marker": marker}
            try:
                answer = await self.client.call("POST", f"/instances/{instance_id}/events", body)
            except aiohttp.ClientError:
                answer = None
            if answer is not None and answer.status == 204:
                self.acknowledged.add(marker)
                return
            assert answer is None or answer.status in (400, 503), answer
            self.doubtful.add(marker)
            if (await instance_of(self.client, instance_id))["terminated"]:
                return

    def _step(self) -> None:
        self.steps += 1
        while self.kills and self.steps >= self.kills[0][0]:
            self.restarts.append(asyncio.create_task(self._restart(self.kills.pop(0)[1])))

    async def _restart(self, victim: Process) -> None:
        async with self.locks.setdefault(victim.name, asyncio.Lock()):
            await victim.restart()


async def test_kills_under_load_lose_nothing_and_repeat_nothing(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(SEED)
    victims = [installation.engine, installation.engine, installation.api, installation.api, installation.projections]
    rng.shuffle(victims)
    moments = sorted(rng.sample(range(5, 2 * RUNS - 10), len(victims)))
    stream = Stream(installation.client(), rng, list(zip(moments, victims, strict=True)))
    print(f"RESTARTS_SEED={SEED}:", [(moment, victim.name) for moment, victim in stream.kills])
    stages = {"event": WAITS, "abort": HOUR, "money": SEND, "delay": {"delay": {"duration": "300ms"}}}
    stream.workflows = {kind: await stream.client.workflow(stage) for kind, stage in stages.items()}
    kinds = [rng.choice(list(stages)) for _ in range(RUNS)]
    expected = sorted(kinds)
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(stream.flow(kinds))
    assert not stream.kills
    await asyncio.gather(*stream.restarts)

    assert sorted(stream.started.values()) == expected
    observer = await check_log(installation)
    ours = set(stream.workflows.values())
    admitted = [recorded for records in observer.admitted for recorded in records]
    runs = [r.aggregate_id for r in admitted if isinstance(r.event, InstanceStarted) and r.event.workflow_id in ours]
    assert sorted(runs) == sorted(stream.started)
    taken = received(observer)
    assert {taken[marker] for marker in stream.acknowledged} == {1}
    assert {taken[marker] for marker in stream.doubtful} <= {0, 1}
    assert installation.sandbox
    async with SandboxClient(installation.sandbox.url) as sandbox:
        assert len(await sandbox.transactions("default")) == expected.count("money")
    await check_read_model(installation)


async def test_an_engine_that_stood_still_is_superseded(installation: Installation) -> None:
    assert installation.sandbox
    client = installation.client()
    slow, fast = installation.engine, installation.add_engine(engine_id="engine-2")
    await fast.start()
    await until_partitions(PARTITIONS // 2, slow, fast)
    delay, pay = await client.workflow({"delay": {"duration": "3s"}}, SEND), await client.workflow(SEND)
    async with SandboxClient(installation.sandbox.url) as sandbox:
        made = await sandbox.call("POST", "/api/wallets/wallets", {"name": "aborted", "metadata": {}})
        wallet = f"/api/wallets/wallets/{made['data']['id']}"
        refused = {"endpoint": "CreditWallet", "kind": "error", "status": 503}
        await sandbox.faults(refused)
        retrying = await runs(client, await client.workflow(credit(made["data"]["id"])), "aborted")
        for instance in retrying:
            await eventually(functools.partial(last_failure, client, instance["id"]))
        due = await runs(client, delay, "due")
        # Money has moved, but no engine knows yet.
        await sandbox.faults(refused, {"endpoint": "CreateTransaction", "kind": "slow", "delay_seconds": CALL_SECONDS})
        called = await runs(client, pay, "called")
        await eventually(lambda: payments(sandbox, "called"), lambda count: count == len(called))
        slow.pause()
        await until_partitions(PARTITIONS, fast)
        for instance in retrying:
            assert (await client.call("PUT", f"/instances/{instance['id']}/abort")).status == 204
        await sandbox.faults()  # a retry that the slow one starts when it wakes up would succeed
        for instance in (*due, *called):
            assert "error" not in await until_ended(client, instance["id"])
        slow.resume()  # it learns that its session is over before anything that it still writes can count
        await until_partitions(PARTITIONS // 2, slow, fast)
        await check_all_partitions_work(client)
        await fast.kill()
        await until_partitions(PARTITIONS, slow)
        await check_all_partitions_work(client)

        assert await payments(sandbox, "called") == len(called)
        assert await payments(sandbox, "due") == len(due)
        assert (await sandbox.call("GET", wallet))["data"]["balances"]["main"]["assets"] == {}
        assert (await sandbox.calls())["CreateTransaction"]["idempotencyHits"] > 0
    await check_log(installation)
    await check_read_model(installation)


async def test_an_engine_that_comes_back_without_a_setting_stops_nobody_else(installation: Installation) -> None:
    settings = {"engine_id": None, "engine_session_timeout_seconds": SESSION_SECONDS}
    first, second = installation.engine, installation.add_engine(**settings)
    await until_partitions(PARTITIONS, first)
    await second.start()
    await until_partitions(PARTITIONS // 2, first, second)
    before = await claims(installation)
    await second.restart()
    after = await claims(installation)
    again = {partition for partition, owners in after.items() if owners != before[partition]}
    assert len(again) == PARTITIONS // 2, "it has what it had, and the other one claims nothing"
    assert "engine-1" not in {after[partition][-1] for partition in again}
    await second.terminate()
    async with asyncio.timeout(LEAVE_SECONDS):
        await until_partitions(PARTITIONS, first)
    later = await claims(installation)
    assert {partition for partition, owners in later.items() if owners != after[partition]} == again


async def claims(installation: Installation) -> dict[int, list[str]]:
    """The owners of each partition, one after the other."""
    owners: dict[int, list[str]] = {}
    for partition, found in (await records(installation.settings, EVENTS)).items():
        happened = [RecordCodec().decode_event(record).event for record in found if is_claim(record)]
        owners[partition] = [event.owner for event in happened if isinstance(event, PartitionClaimed)]
    return owners


async def last_failure(client: Client, instance_id: str) -> Any:
    """Why the latest attempt of the first stage's activity failed."""
    activities = (await client.call("GET", f"/instances/{instance_id}/stages/0/history")).data
    return activities[-1].get("lastFailure") if activities else None


async def payments(sandbox: SandboxClient, user: str) -> int:
    """How many transactions paid a user."""
    paid = [t["postings"][0]["destination"] for t in await sandbox.transactions("default")]
    return paid.count(f"users:{user}")


async def runs(client: Client, workflow: str, user: str) -> list[Json]:
    """Runs that pay a user, some in each partition: an API sends what comes together to one of them."""
    found: list[Json] = []
    while len({partition_of(instance["id"].encode(), PARTITIONS) for instance in found}) < PARTITIONS:
        found += await asyncio.gather(*(client.run(workflow, {"user": user}) for _ in range(2)))
    return found


async def until_partitions(count: int, *engines: Process) -> None:
    """Wait until each of the engines works on that many partitions."""
    for engine in engines:
        await eventually(functools.partial(partitions, engine), lambda found: found == count)


async def partitions(engine: Process) -> float:
    """How many partitions an engine works on."""
    return await engine.metric("orchestration_engine_partitions")


async def check_all_partitions_work(client: Client) -> None:
    """Instances spread over the partitions by their ids: so many meet all of them."""
    workflow = await client.workflow({"noop": {}})
    for ended in await asyncio.gather(*(client.run(workflow, wait=True) for _ in range(40))):
        assert ended["terminated"] is True
