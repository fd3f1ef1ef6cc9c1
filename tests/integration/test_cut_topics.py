"""Topics that were cut or created again, on a real broker, under real processes: noticed by all, and repaired.

The tests share an installation and follow each other: what one has broken it has repaired.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Final

import pytest

from projections.publisher.public_events import public_event
from schemas.epochs import EpochFilter
from schemas.kafka import clients_of
from schemas.records import NewRecord, RecordCodec
from schemas.topics import (
    COMMANDS,
    COMMANDS_DEAD,
    DEFINITIONS,
    EVENTS,
    EVENTS_PUBLISHED,
    PUBLIC,
    SNAPSHOTS,
    TRIGGERS_POSITIONS,
    partition_of,
    topic_name,
)
from tests.integration.broker_faults import delete_records, make_again
from tests.integration.event_log_reader import records
from tests.integration.http_client import Client
from tests.integration.installation import PARTITIONS, Installation
from tests.integration.repairs import STANDING_STILL_SECONDS, faults, repair, repaired, settled, until_faults
from tests.integration.sandbox_client import SandboxClient
from tests.integration.waiting import eventually

WAITS: Final = {"wait_event": {"event": "go"}}
PAYS: Final = {
    "send": {
        "source": {"account": {"id": "world"}},
        "destination": {"account": {"id": "users:${user}"}},
        "amount": {"amount": 1, "asset": "EUR/2"},
    }
}
SECONDS: Final = 0.5
"""Between snapshots."""
EVENTS_OF_A_PAYMENT: Final = 4
"""Public ones: two stages end, one starts, the instance ends."""


@pytest.fixture(scope="module")
async def installation(
    kafka_bootstrap_servers: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    folder = tmp_path_factory.mktemp("cut")
    engine = {"snapshot_seconds": SECONDS}
    async with Installation(kafka_bootstrap_servers, database_url, folder, sandbox=True, engine=engine) as installation:
        yield installation


@pytest.fixture(scope="module")
async def users(installation: Installation) -> "Users":
    """All who ever get money."""
    client = installation.client()
    return Users(installation, client, await client.workflow(WAITS, PAYS))


class Users:
    """Instances that wait, and pay one user each when they are told to."""

    def __init__(self, installation: Installation, client: Client, workflow: str):
        self.installation, self.client, self.workflow = installation, client, workflow
        self.waiting: dict[str, str] = {}
        self.paid: list[str] = []

    async def start_everywhere(self) -> None:
        """Start instances until each partition has a new one."""
        known = set(self.waiting)
        while len({partition_of(id.encode(), PARTITIONS) for id in self.waiting.keys() - known}) < PARTITIONS:
            await self.start(PARTITIONS)

    async def start(self, count: int) -> None:
        """Start instances."""
        names = [f"u{len(self.waiting) + len(self.paid) + number}" for number in range(count)]
        started = await asyncio.gather(*(self.client.run(self.workflow, {"user": name}) for name in names))
        self.waiting.update({instance["id"]: name for instance, name in zip(started, names, strict=True)})

    async def pay(self, some: Collection[str] | None = None) -> None:
        """Tell instances to pay, and wait until they have ended."""
        told = list(self.waiting if some is None else some)
        for answer in await asyncio.gather(*(self.client.send(id, "go") for id in told)):
            assert answer.status == 204
        for id in told:
            await eventually(lambda id=id: self.client.instance(id), lambda shown: shown["terminated"])  # type: ignore[misc]
            self.paid.append(self.waiting.pop(id))

    async def check(self) -> None:
        """Everybody was paid once who was to be paid, and nobody else."""
        assert self.installation.sandbox is not None
        async with SandboxClient(self.installation.sandbox.url) as sandbox:
            transactions = await sandbox.transactions("default")
        got = Counter(posting["destination"] for made in transactions for posting in made["postings"])
        assert got == {f"users:{name}": 1 for name in self.paid}


async def all_go_on(installation: Installation) -> None:
    """Wait until nothing stands still."""
    for process in (installation.engine, installation.projections):
        await until_faults(process)
        await eventually(process.ready)


async def test_when_nothing_is_wrong_nothing_is_done(installation: Installation, users: Users) -> None:
    await users.start_everywhere()
    await users.pay(list(users.waiting)[:PARTITIONS])
    assert (await repair(installation, "--yes")).endswith("nothing is wrong\n")


async def test_commands_that_were_made_again(installation: Installation, users: Users) -> None:
    client, engine = users.client, installation.engine
    await users.start_everywhere()
    await settled(installation)
    await make_again(installation.settings, COMMANDS)
    refused = await asyncio.gather(*(client.abort(id) for id in users.waiting))
    assert {answer.error for answer in refused} == {(503, "INTERNAL")}
    assert all("the log of commands was cut" in answer.json()["errorMessage"] for answer in refused)
    assert await faults(installation.api) == {("commands", "commands")}
    await until_faults(engine, ("commands", "remade"))
    await eventually(engine.ready)  # to start it again would not help; some partitions may be looked at a moment longer
    await engine.restart()
    await until_faults(engine, ("commands", "remade"))
    assert "commands/0: the topic was deleted and created again" in await repaired(installation)
    await all_go_on(installation)

    async def sent_everywhere() -> bool:
        await client.post("/workflows", {"stages": []})
        return not await faults(installation.api)

    await eventually(sent_everywhere, seconds=STANDING_STILL_SECONDS)
    await users.pay()
    await users.check()


async def test_topics_that_only_say_how_far_somebody_is(installation: Installation, users: Users) -> None:
    """What engines and publishers know by themselves goes on. A start needs what the topics say."""
    await users.start_everywhere()
    await settled(installation)
    published = await public_events(installation, at_least=await publishable(installation))
    await make_again(installation.settings, SNAPSHOTS, EVENTS_PUBLISHED, DEFINITIONS, COMMANDS_DEAD, TRIGGERS_POSITIONS)
    count = len(users.waiting)
    # Not in partition 0: a publisher that runs would write its position into the new topic.
    await users.pay([id for id in users.waiting if partition_of(id.encode(), PARTITIONS)][:PARTITIONS])
    await asyncio.gather(installation.engine.restart(), installation.projections.restart())
    await until_faults(installation.engine)  # all events are there, so no snapshot is needed
    await until_faults(installation.projections, (EVENTS_PUBLISHED, "remade"))
    before = await repaired(installation)
    assert "events.published/0: the position of the publisher is lost. The newest public event follows from" in before
    assert "definitions: it lacks" in before
    await all_go_on(installation)
    await users.pay()
    await users.check()
    after = await public_events(installation, at_least=len(published) + EVENTS_OF_A_PAYMENT * count)
    assert max(Counter(after).values()) == 1, "nothing is published twice"
    (definitions,) = (await records(installation.settings, DEFINITIONS)).values()
    assert users.workflow.encode() in {record.key for record in definitions}


async def publishable(installation: Installation) -> int:
    """How many events there are that the publisher publishes."""
    count, codec = 0, RecordCodec()
    for partition, some in (await records(installation.settings, EVENTS)).items():
        epochs = EpochFilter(partition=partition)
        admitted = [codec.decode_event(record) for record in some if epochs.admits(record)]
        count += sum(public_event(partition, recorded) is not None for recorded in admitted)
    return count


async def public_events(installation: Installation, at_least: int = 0) -> list[str]:
    """The idempotency keys of what was published."""

    async def read() -> list[str]:
        # A publisher that is stopped in a transaction leaves records that do not count.
        found = await records(installation.settings, PUBLIC, committed_only=True)
        return [json.loads(record.value)["idempotency_key"] for some in found.values() for record in some]

    return await eventually(read, lambda keys: len(keys) >= at_least)


async def test_public_events_that_were_deleted(installation: Installation, users: Users) -> None:
    await make_again(installation.settings, PUBLIC)
    await users.start(1)
    await users.pay()
    await public_events(installation, at_least=1)
    assert (await repair(installation)).endswith("nothing is wrong\n")


async def test_events_that_were_made_again(installation: Installation, users: Users) -> None:
    await users.start_everywhere()
    await settled(installation)
    await make_again(installation.settings, EVENTS)
    await until_faults(installation.projections, ("events", "remade"))
    # An engine notices when it appends. Nobody shows what comes of it, so the answers come late.
    sent = [asyncio.create_task(users.client.send(id, "other")) for id in users.waiting]
    await until_faults(installation.engine, ("events", "remade"))
    assert {answer.status for answer in await asyncio.gather(*sent)} == {503}
    assert "events/0: the topic was deleted and created again" in await repaired(installation)
    await all_go_on(installation)
    await users.pay()
    await users.check()


async def add_events(installation: Installation, count: int) -> None:
    """Append records to each partition that nobody has read."""
    producer = clients_of(installation.settings).producer(
        topic_name(installation.settings, EVENTS), max_batch_bytes=1_000_000, max_request_bytes=1_000_000, waits=True
    )
    foreign = NewRecord(b"", b"", [("type", b"Foreign")], 0)
    added = {partition: [foreign] * count for partition in range(PARTITIONS)}
    deadline = asyncio.get_running_loop().time() + STANDING_STILL_SECONDS
    await producer.append_all(topic_name(installation.settings, EVENTS), added, deadline)
    await producer.close()


async def test_events_that_were_deleted_before_they_were_read(installation: Installation, users: Users) -> None:
    await users.start_everywhere()
    await settled(installation)
    await asyncio.gather(installation.engine.kill(), installation.projections.kill())
    ends = {p: some[-1].offset + 1 for p, some in (await records(installation.settings, EVENTS)).items()}
    await add_events(installation, 5)
    await delete_records(installation.settings, EVENTS, {partition: end + 3 for partition, end in ends.items()})
    await asyncio.gather(installation.engine.start(), installation.projections.start())
    for process in (installation.engine, installation.projections):
        await until_faults(process, ("events", "gap"))
    before = await repaired(installation)
    assert "were deleted before a snapshot had them" in before
    assert "were deleted before the read model had them. They are lost" in before
    assert "were deleted before the publisher had them" in before
    await all_go_on(installation)
    await users.pay()
    await users.check()
