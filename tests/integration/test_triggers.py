"""Messages of other services start workflows, in a real installation (contract: `triggers-and-events`)."""

import asyncio
import json
import os
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engine.kafka_log import KafkaEventLog
from schemas import events
from schemas.kafka import clients_of
from schemas.records import RecordCodec
from schemas.settings import EngineSettings
from schemas.topics import PUBLIC
from schemas.trigger_positions import ListeningPosition, encode_listening
from tests.integration.event_log_reader import admitted_events, records
from tests.integration.http_client import Client, Json
from tests.integration.installation import Installation
from tests.integration.log_checks import check_log, check_read_model, undecided
from tests.integration.sandbox_client import SandboxClient
from tests.integration.waiting import eventually
from tests.raw_records import RawRecord, put_raw

SEED = int(os.environ.get("TRIGGERS_SEED", "1"))
"""Decides when engines are killed; set the variable to try other moments."""
PARTITIONS = 3
MESSAGES = 200
KILLS = 4
SLOW_SECONDS = 6.0
"""More than a machine stands still, and less than a link may take."""
DATE = "2026-03-01T10:00:05.4Z"


class Topic:
    """A topic of another service.

    Args:
        kafka_bootstrap_servers: where it is.
    """

    def __init__(self, kafka_bootstrap_servers: str):
        self.name = f"t{uuid.uuid4().hex[:12]}.ledger"
        self._servers = kafka_bootstrap_servers
        self._producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers, acks="all")

    async def __aenter__(self) -> "Topic":
        """Make it."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self.name, PARTITIONS, 1)])
        finally:
            await admin.close()
        await self._producer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Disconnect."""
        await self._producer.stop()

    async def put(self, value: bytes | None, partition: int = 0, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Append a record; without a value it has a key."""
        await self._producer.send_and_wait(self.name, value, key=b"k", partition=partition, headers=list(headers))

    async def publish(
        self, type_: str, payload: Any, partition: int = 0, headers: Sequence[tuple[str, bytes]] = (), **fields: Any
    ) -> Json:
        """Append a message as the ledger does; returns its envelope."""
        envelope = {"date": DATE, "app": "ledger", "version": "v2", "type": type_, "payload": payload, **fields}
        await self.put(json.dumps(envelope).encode(), partition, headers)
        return envelope


@pytest.fixture(scope="module")
async def topic(kafka_bootstrap_servers: str) -> AsyncIterator[Topic]:
    async with Topic(kafka_bootstrap_servers) as topic:
        yield topic


@pytest.fixture(scope="module")
async def installation(
    kafka_bootstrap_servers: str, database_url: str, tmp_path_factory: pytest.TempPathFactory, topic: Topic
) -> AsyncIterator[Installation]:
    engine = {"trigger_topics": f"another.topic,{topic.name}"}
    folder = tmp_path_factory.mktemp("triggers")
    async with Installation(kafka_bootstrap_servers, database_url, folder, engine=engine, sandbox=True) as installation:
        yield installation


@pytest.fixture(scope="module")
async def client(installation: Installation) -> Client:
    return installation.client()


def new_type() -> str:
    """A type of message that no other test listens to."""
    return f"X{uuid.uuid4().hex[:8]}"


async def listen(client: Client, type_: str, workflow_id: str | None = None, **fields: Any) -> str:
    """Create a trigger; returns its id."""
    workflow_id = workflow_id or await client.workflow({"noop": {}})
    created = await client.post("/triggers", {"event": type_, "workflowID": workflow_id, **fields})
    assert created.status == 201, created
    return str(created.data["id"])


async def occurrences(client: Client, trigger_id: str) -> list[Json]:
    shown: list[Json] = (await client.get(f"/triggers/{trigger_id}/occurrences")).data
    return shown


async def occurred(client: Client, trigger_id: str, count: int = 1) -> list[Json]:
    """The occurrences of a trigger, as soon as there are so many and what they started has ended; newest first."""

    def complete(shown: list[Json]) -> bool:
        ends = ["error" in o or o.get("workflowInstance", {}).get("terminated") for o in shown]
        return len(shown) >= count and all(ends)

    shown = await eventually(lambda: occurrences(client, trigger_id), complete, seconds=60.0)
    assert len(shown) == count
    return shown


async def settle(installation: Installation, topic: Topic) -> None:
    """Wait until everything in the topic has been looked at, and what it fired has been decided."""
    client = installation.client()
    type_ = new_type()
    trigger_id = await listen(client, type_)
    for partition in range(PARTITIONS):
        await topic.publish(type_, {}, partition)
    await occurred(client, trigger_id, PARTITIONS)
    await eventually(lambda: undecided(installation), lambda left: left == 0)


async def fired(installation: Installation, trigger_id: str) -> list[events.TriggerFired]:
    """What a trigger has fired for, as the log has it."""
    log = await admitted_events(installation.settings)
    found = [recorded for some in log.values() for recorded in some if recorded.aggregate_id == trigger_id]
    return [recorded.event for recorded in found if isinstance(recorded.event, events.TriggerFired)]


async def published(installation: Installation, key: str, count: int) -> list[Json]:
    """The public events of an instance or trigger, as soon as there are so many."""

    async def read() -> list[Json]:
        found = await records(installation.settings, PUBLIC, committed_only=True)
        return [json.loads(r.value) for some in found.values() for r in some if r.key == key.encode()]

    return await eventually(read, lambda shown: len(shown) >= count)


async def test_a_message_with_a_header_name_that_is_no_text_fires_like_any_other(
    client: Client, topic: Topic, kafka_bootstrap_servers: str
) -> None:
    type_ = new_type()
    trigger_id = await listen(client, type_)
    value = json.dumps({"type": type_, "version": "v2", "payload": {}}).encode()
    await put_raw(kafka_bootstrap_servers, topic.name, [RawRecord(b"k", value, [(b"\xff\xfe", b"1")])])
    await topic.publish(type_, {})
    await occurred(client, trigger_id, 2)


async def test_a_message_starts_the_workflow_with_its_variables(
    installation: Installation, client: Client, topic: Topic
) -> None:
    type_ = new_type()
    stage = {"wait_event": {"event": "${who}"}}
    workflow_id = await client.workflow(stage)
    variables = {"who": "event.transactions[0].postings[0].source", "amount": "event.amount", "none": "event.nobody"}
    trigger_id = await listen(
        client, type_, workflow_id, version="v2", filter='event.ledger == "main"', vars=variables, name="payouts"
    )
    payload = {"ledger": "main", "amount": 12345678901234567890123, "transactions": [{"postings": [{"source": "ann"}]}]}
    others: list[Any] = [{"ledger": "other"}, {"transactions": []}, [], "text", None]
    for other in others:
        await topic.publish(type_, other)
    await topic.publish(type_, payload, version="v1")
    await topic.publish(new_type(), payload)
    envelope = await topic.publish(type_, payload, idempotency_key="", more={"any": ["thing", 1.5, None]})

    (occurrence,) = await eventually(
        lambda: occurrences(client, trigger_id), lambda shown: shown and "workflowInstance" in shown[0]
    )
    assert occurrence["event"] == envelope
    assert (occurrence["triggerID"], "error" in occurrence) == (trigger_id, False)
    shown = occurrence["workflowInstance"]
    assert set(shown) == {"id", "workflowID", "createdAt", "updatedAt", "terminated"}
    assert (shown["id"], shown["workflowID"]) == (occurrence["workflowInstanceID"], workflow_id)
    (stage_shown,) = await eventually(lambda: history(client, shown["id"]))
    assert stage_shown["input"] == {"event": "ann"}

    assert (await client.send(shown["id"], "ann")).status == 204
    (ended,) = await occurred(client, trigger_id)
    assert ended["workflowInstance"]["terminated"] is True
    (started,) = await fired(installation, trigger_id)
    assert started.variables == {"who": "ann", "amount": "12345678901234567890123"}
    (public,) = await published(installation, trigger_id, 1)
    assert public["type"] == "SUCCEEDED_TRIGGER"
    assert public["payload"] == {
        "id": occurrence["id"],
        "triggerID": trigger_id,
        "workflowInstanceID": occurrence["workflowInstanceID"],
    }


async def history(client: Client, instance_id: str) -> list[Json]:
    shown: list[Json] = (await client.get(f"/instances/{instance_id}/history")).data
    return shown


async def test_links_are_fetched_from_the_stack(installation: Installation, client: Client, topic: Topic) -> None:
    assert installation.sandbox
    type_ = new_type()
    link = {"name": "account", "uri": f"{installation.sandbox.url}/api/ledger/default/accounts/users:7"}
    bad = {"name": "bad", "uri": "http://example.invalid/"}
    payload = {"links": [link, bad]}
    works = await listen(client, type_, vars={"account": "link(event, 'account').address"})
    fails = await listen(client, type_, vars={"account": "link(event, 'bad').address"})
    await topic.publish(type_, payload)
    await occurred(client, works)
    (event,) = await fired(installation, works)
    assert event.variables == {"account": "users:7"}
    (occurrence,) = await occurred(client, fails)
    assert "its origin is not allowed" in occurrence["error"]

    tested = (await client.post(f"/v2/triggers/{works}/test", payload)).data
    assert tested == {"variables": {"account": {"value": "users:7"}}}
    tested = (await client.post(f"/v2/triggers/{fails}/test", payload)).data
    assert tested == {"variables": {"account": {"error": occurrence["error"].removeprefix("account: ")}}}


WALLET = "link(event, 'wallet').metadata"


def linked(installation: Installation, wallet_id: str, **payload: Any) -> Json:
    """A payload with a link to a wallet."""
    assert installation.sandbox
    uri = f"{installation.sandbox.url}/api/wallets/wallets/{wallet_id}"
    return {"links": [{"name": "wallet", "uri": uri}], **payload}


@pytest.fixture
async def sandbox(installation: Installation) -> AsyncIterator[SandboxClient]:
    assert installation.sandbox
    async with SandboxClient(installation.sandbox.url) as sandbox:
        yield sandbox
        await sandbox.faults()


async def wallet(sandbox: SandboxClient) -> str:
    """A new wallet of tier gold."""
    made = await sandbox.call("POST", "/api/wallets/wallets", {"name": uuid.uuid4().hex, "metadata": {"tier": "gold"}})
    return str(made["data"]["id"])


async def wallet_calls(sandbox: SandboxClient) -> int:
    """How often a wallet was asked for."""
    return int((await sandbox.calls()).get("GetWallet", {"calls": 0})["calls"])


async def test_a_link_that_fails_for_a_while_is_asked_again(
    installation: Installation, client: Client, topic: Topic, sandbox: SandboxClient
) -> None:
    trigger_id = await listen(client, "SAVED_PAYMENT", vars={"tier": f"{WALLET}.tier"})
    payload = linked(installation, await wallet(sandbox), id=f"VL-{uuid.uuid4().hex}")
    await sandbox.faults({"endpoint": "GetWallet", "kind": "error", "status": 503})
    await topic.publish("SAVED_PAYMENT", payload)
    retries = 'orchestration_engine_link_evaluations_total{outcome="retry"}'
    await eventually(lambda: installation.engine.metric(retries), lambda count: count >= 2)
    assert await occurrences(client, trigger_id) == []
    assert await installation.engine.metric("orchestration_engine_waiting_evaluations") == 1
    await installation.engine.restart()
    await sandbox.faults()
    await topic.publish("SAVED_PAYMENT", payload, 1)
    await settle(installation, topic)
    waiting = "orchestration_engine_waiting_evaluations"
    await eventually(lambda: installation.engine.metric(waiting), lambda count: count == 0)
    (occurrence,) = await occurred(client, trigger_id)
    assert "error" not in occurrence
    (event,) = await fired(installation, trigger_id)
    assert event.variables == {"tier": "gold"}


async def test_a_link_that_is_refused_fails_at_once_and_uses_nothing_up(
    installation: Installation, client: Client, topic: Topic, sandbox: SandboxClient
) -> None:
    trigger_id = await listen(client, "SAVED_PAYMENT", vars={"tier": f"{WALLET}.tier"})
    id = f"VL-{uuid.uuid4().hex}"
    await topic.publish("SAVED_PAYMENT", linked(installation, str(uuid.uuid4()), id=id))
    (failed,) = await occurred(client, trigger_id)
    assert failed["error"].endswith("HTTP 404")
    await topic.publish("SAVED_PAYMENT", linked(installation, await wallet(sandbox), id=id))
    assert "error" not in (await occurred(client, trigger_id, 2))[0]


async def test_slow_links_hold_up_no_other_message(
    installation: Installation, client: Client, topic: Topic, sandbox: SandboxClient
) -> None:
    slow_type, type_ = new_type(), new_type()
    slow = await listen(client, slow_type, filter=f"{WALLET}.tier == 'gold'")
    other = await listen(client, type_)
    payload = linked(installation, await wallet(sandbox))
    for count in range(1, 4):  # each good end lets one more of the trigger's messages be evaluated beside others
        await topic.publish(slow_type, payload)
        await occurred(client, slow, count)
    await sandbox.faults({"endpoint": "GetWallet", "kind": "slow", "delay_seconds": SLOW_SECONDS})
    before = await wallet_calls(sandbox)
    for _ in range(3):
        await topic.publish(slow_type, payload)
    await topic.publish(type_, {})
    await occurred(client, other)
    await eventually(partial(wallet_calls, sandbox), lambda calls: calls >= before + 3)
    assert len(await occurrences(client, slow)) == 3, "all links are asked for, and none has answered yet"
    await occurred(client, slow, 6)


async def test_a_variable_that_fails_is_recorded_and_starts_nothing(
    installation: Installation, client: Client, topic: Topic
) -> None:
    type_ = new_type()
    workflow_id = await client.workflow({"noop": {}})
    trigger_id = await listen(client, type_, workflow_id, vars={"a": "1", "who": "event.nobody.name"})
    envelope = await topic.publish(type_, {})
    (occurrence,) = await occurred(client, trigger_id)
    assert set(occurrence) == {"id", "triggerID", "date", "event", "error"}
    assert (occurrence["event"], occurrence["error"]) == (envelope, "who: cannot fetch name from nil")
    (public,) = await published(installation, trigger_id, 1)
    assert public["type"] == "FAILED_TRIGGER"
    assert public["payload"] == {"id": occurrence["id"], "triggerID": trigger_id, "error": occurrence["error"]}
    assert (await client.get(f"/instances?workflowID={workflow_id}")).data == []


async def test_a_deleted_workflow_is_not_started(installation: Installation, client: Client, topic: Topic) -> None:
    type_ = new_type()
    workflow_id = await client.workflow({"noop": {}})
    trigger_id = await listen(client, type_, workflow_id)
    await topic.publish(type_, {"n": 1})
    await occurred(client, trigger_id)
    assert (await client.delete(f"/workflows/{workflow_id}")).status == 204
    await topic.publish(type_, {"n": 2})
    failed, worked = await occurred(client, trigger_id, 2)
    assert (failed["event"]["payload"], worked["event"]["payload"]) == ({"n": 2}, {"n": 1})
    assert "deleted" in failed["error"]
    assert "workflowInstanceID" not in failed
    assert [p["type"] for p in await published(installation, trigger_id, 2)] == ["SUCCEEDED_TRIGGER", "FAILED_TRIGGER"]
    assert len((await client.get(f"/instances?workflowID={workflow_id}")).data) == 1


async def test_a_deleted_trigger_fires_no_more(installation: Installation, client: Client, topic: Topic) -> None:
    type_ = new_type()
    trigger_id = await listen(client, type_)
    before = await topic.publish(type_, {"n": 1})
    await occurred(client, trigger_id)
    assert (await client.delete(f"/triggers/{trigger_id}")).status == 204
    await topic.publish(type_, {"n": 2})
    await settle(installation, topic)
    assert [event.event for event in await fired(installation, trigger_id)] == [before]
    assert [o["event"] for o in await occurrences(client, trigger_id)] == [before]
    assert (await client.get(f"/triggers/{trigger_id}")).error == (404, "NOT_FOUND")


async def test_what_is_no_message_is_skipped_and_counted(
    installation: Installation, client: Client, topic: Topic
) -> None:
    type_ = new_type()
    trigger_id = await listen(client, type_)
    counter = f'orchestration_engine_skipped_messages_total{{reason="%s",topic="{topic.name}"}}'
    reasons = ("json", "envelope", "size")
    skipped = [await installation.engine.metric(counter % reason) for reason in reasons]
    deep = b'{"type": "%s", "payload": ' % type_.encode() + b"[" * 5000 + b"]" * 5000 + b"}"
    garbage = [None, b"", b"\xff\x00", b"{", b"[]", b"17", b"{}", b'{"type": 1}', deep]
    for value in garbage:
        await topic.put(value)
    await topic.publish(type_, {"text": "\0 and 😀"})
    (occurrence,) = await occurred(client, trigger_id)
    assert occurrence["event"]["payload"] == {"text": "\0 and 😀"}
    now = [await installation.engine.metric(counter % reason) for reason in reasons]
    assert [after - before for after, before in zip(now, skipped, strict=True)] == [5, len(garbage) - 5, 0]


async def test_large_messages_that_fire_much_get_through(client: Client, topic: Topic) -> None:
    """Together they are larger than what topic `commands` takes at once."""
    type_ = new_type()
    triggers = [await listen(client, type_, vars={"n": "event.n"}) for _ in range(3)]
    await asyncio.gather(*(topic.publish(type_, {"n": n, "text": "x" * 700_000}) for n in range(12)))
    for trigger_id in triggers:
        shown = await occurred(client, trigger_id, 12)
        assert sorted(o["event"]["payload"]["n"] for o in shown) == list(range(12))


async def test_a_payment_fires_once_ever(installation: Installation, client: Client, topic: Topic) -> None:
    always, payments = await listen(client, "COMMITTED_TRANSACTIONS"), await listen(client, "SAVED_PAYMENT")
    id, other = uuid.uuid4().hex, uuid.uuid4().hex
    for partition in range(PARTITIONS):
        for _ in range(2):
            await topic.publish("COMMITTED_TRANSACTIONS", {"id": id}, partition)
            await topic.publish("SAVED_PAYMENT", {"id": id, "status": "PENDING"}, partition)
    await topic.publish("SAVED_ACCOUNT", {"id": other})
    await settle(installation, topic)
    assert await installation.engine.terminate() == 0
    await installation.engine.start()
    await topic.publish("SAVED_PAYMENT", {"id": id, "status": "SUCCEEDED"})
    await topic.publish("SAVED_PAYMENT", {"id": other})
    await settle(installation, topic)
    shown = await occurred(client, payments, 2)
    assert [o["event"]["payload"]["id"] for o in shown] == [other, id]
    await occurred(client, always, PARTITIONS * 2)


async def test_a_message_that_its_producer_writes_twice_fires_once(
    installation: Installation, client: Client, topic: Topic
) -> None:
    type_ = new_type()
    trigger_id = await listen(client, type_)
    id, key = [("ce_id", b"h1")], "k1"
    for partition in range(PARTITIONS):
        await topic.publish(type_, {"n": 1}, partition, idempotency_key=key)
        await topic.publish(type_, {"n": 2}, partition, id, idempotency_key="")
        await topic.publish(type_, {"n": 3}, partition, id, app="wallets")
        await topic.publish(type_, {"n": 4}, partition)
    await topic.publish(type_, {"n": 1}, idempotency_key=key)
    await topic.publish(type_, {"n": 2}, headers=[("_watermill_message_uuid", b"h1")])
    await topic.publish(type_, {"n": 5}, idempotency_key="k2")
    await settle(installation, topic)
    shown = await occurred(client, trigger_id, 7)
    assert Counter(o["event"]["payload"]["n"] for o in shown) == {1: 1, 2: 1, 3: 1, 4: PARTITIONS, 5: 1}


async def rewind(installation: Installation, topic: Topic) -> None:
    """Have the engines begin at the start of the topic again, as a listener can that has lost it without knowing it."""
    settings = installation.engine.settings
    assert isinstance(settings, EngineSettings)
    kafka = clients_of(settings)
    finder, log = kafka.topic_finder(), KafkaEventLog(kafka, settings, RecordCodec())
    try:
        found = await finder.find(topic.name)
        assert found is not None
        start = ListeningPosition(found.id, 0)
        await log.note([encode_listening(topic.name, partition, start) for partition in range(PARTITIONS)])
    finally:
        finder.close()
        await log.close()


async def test_redelivered_records_do_not_fire_again(installation: Installation, client: Client, topic: Topic) -> None:
    type_ = new_type()
    trigger_id = await listen(client, type_)
    for n in range(30):
        await topic.publish(type_, {"n": n}, n % PARTITIONS)
    await occurred(client, trigger_id, 30)
    looked_at = "orchestration_engine_trigger_messages_total"
    assert await installation.engine.terminate() == 0
    await rewind(installation, topic)
    late = await listen_while_away(installation, client, type_)
    await installation.engine.start()
    await settle(installation, topic)
    assert await installation.engine.metric(looked_at) >= 30, "the records came again"
    assert len(await fired(installation, trigger_id)) == 30
    assert len(await fired(installation, late)) == 30, "to a trigger that has not seen them they are new"
    await check_log(installation)
    await check_each_fired_once(installation)


async def check_each_fired_once(installation: Installation) -> None:
    """No trigger has fired twice for the same record."""
    log = await admitted_events(installation.settings)
    kinds = events.TriggerFired | events.TriggerFailed
    found = [
        (r.aggregate_id, r.event.source, r.event.offset)
        for some in log.values()
        for r in some
        if isinstance(r.event, kinds)
    ]
    assert len(found) == len(set(found))


async def listen_while_away(installation: Installation, client: Client, type_: str) -> str:
    """Create a trigger by an engine that does not listen."""
    deaf = installation.add_engine(engine_id="deaf", trigger_topics="")
    await deaf.start()
    try:
        return await listen(client, type_)
    finally:
        assert await deaf.terminate() == 0


async def test_kills_while_messages_come_neither_lose_nor_repeat_one(
    installation: Installation, client: Client, topic: Topic
) -> None:
    rng = random.Random(SEED)
    type_ = new_type()
    workflow_id = await client.workflow({"noop": {}})
    trigger_id = await listen(client, type_, workflow_id, filter="event.n >= 0", vars={"n": "event.n"})
    second = installation.add_engine(engine_id="engine-2")
    await second.start()
    kills = dict(zip(sorted(rng.sample(range(MESSAGES), KILLS)), rng.choices([0, 1], k=KILLS), strict=True))
    print(f"TRIGGERS_SEED={SEED}:", kills)
    engines = [installation.engine, second]
    restarts: list[asyncio.Task[None]] = []
    for n in range(MESSAGES):
        await topic.publish(type_, {"n": n}, rng.randrange(PARTITIONS))
        if n in kills:
            await asyncio.gather(*restarts)
            # It is killed in the middle of its work: the next messages come meanwhile.
            restarts = [asyncio.create_task(engines[kills[n]].restart())]
    await asyncio.gather(*restarts)

    shown = await occurred(client, trigger_id, MESSAGES)
    assert Counter(o["event"]["payload"]["n"] for o in shown) == Counter(range(MESSAGES))
    instances = (await client.get(f"/instances?workflowID={workflow_id}")).data
    assert sorted(i["id"] for i in instances) == sorted(o["workflowInstanceID"] for o in shown)
    assert not any("error" in instance for instance in instances)
    assert sorted(int(event.variables["n"]) for event in await fired(installation, trigger_id)) == list(range(MESSAGES))
    await settle(installation, topic)
    await check_log(installation)
    await check_each_fired_once(installation)
    assert len(await occurrences(client, trigger_id)) == MESSAGES
    await second.kill()
    await check_read_model(installation)
