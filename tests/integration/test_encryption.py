"""An installation that encrypts what its topics hold, from the first command to a rebuild, and through a rotation."""

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from deploy.cli import main
from schemas.settings import ProjectionsSettings, environment_of
from schemas.topics import PUBLIC, SEALED_TOPICS, SNAPSHOTS
from tests.integration.event_log_reader import records
from tests.integration.http_client import Client
from tests.integration.installation import Installation
from tests.integration.test_triggers import Topic, listen, new_type, occurrences
from tests.integration.waiting import eventually

SECRET: Final = "DE89370400440532013000"
"""An account number, wherever users put texts."""
SEND: Final[dict[str, Any]] = {
    "send": {
        "source": {"account": {"id": "world"}},
        "destination": {"account": {"id": "users:7"}},
        "amount": {"amount": 125, "asset": "EUR/2"},
        "metadata": {"iban": "${iban}"},
    }
}
WAIT: Final = {"wait_event": {"event": "approved"}}


def write_keys(file: Path, *ids: str) -> None:
    """A file with keys of these ids."""
    file.write_text("".join(f"{id}: {b64encode(id.encode() * 16).decode()}\n" for id in ids))


@pytest.fixture(scope="module")
async def topic(kafka_bootstrap_servers: str) -> AsyncIterator[Topic]:
    async with Topic(kafka_bootstrap_servers) as topic:
        yield topic


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys"
    write_keys(file, "k1")
    return file


@pytest.fixture(scope="module")
async def installation(
    kafka_bootstrap_servers: str,
    database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    topic: Topic,
    keys: Path,
) -> AsyncIterator[Installation]:
    async with Installation(
        kafka_bootstrap_servers,
        database_url,
        tmp_path_factory.mktemp("encryption"),
        engine={"trigger_topics": topic.name, "snapshot_seconds": 0.5},
        sandbox=True,
        encryption_keys_file=str(keys),
        encryption_key_id="k1",
        encryption_required=True,
    ) as installation:
        yield installation


async def command(settings: ProjectionsSettings, *arguments: str) -> Result:
    """Run a command as a user does. It has an event loop of its own, so it gets a thread of its own."""
    return await asyncio.to_thread(CliRunner(env=environment_of(settings)).invoke, main, list(arguments))


async def snapshot_with(settings: ProjectionsSettings, instance_id: str) -> None:
    """Wait until a snapshot has an instance."""

    async def found() -> bool:
        some = await records(settings, SNAPSHOTS)
        return any(record.key == f"instance/{instance_id}".encode() for those in some.values() for record in those)

    assert await eventually(found)


def content(segment: Path) -> bytes:
    """What a file of Kafka's holds; nothing if Kafka has replaced it since, as it does with compacted ones."""
    try:
        return segment.read_bytes()
    except FileNotFoundError:
        return b""


async def started(client: Client, workflow: str, wait: bool = False) -> Any:
    path = f"/workflows/{workflow}/instances" + ("?wait=true" if wait else "")
    answer = await client.post(path, {"iban": SECRET})
    assert answer.status == 201, answer
    return answer.data


def marks(found: dict[int, list[Any]]) -> set[bytes | None]:
    """The keys that records with content name; None of plain ones."""
    return {
        record.headers[0][1].split(b":")[0] if record.headers and record.headers[0][0] == "encrypted" else None
        for some in found.values()
        for record in some
        if record.value
    }


async def test_an_encrypted_installation_does_all_that_others_do(
    installation: Installation, topic: Topic, keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    client, settings = installation.client(), installation.settings
    paying, waiting = await client.workflow(SEND), await client.workflow(SEND, WAIT)
    ended, held = await started(client, paying, wait=True), await started(client, waiting)
    assert (ended["terminated"], ended.get("error")) == (True, None)
    await client.post(f"/instances/{held['id']}/events", {"name": "other", "iban": SECRET})
    # A trigger, whose message is what the other service makes it, and what follows from it is ours.
    trigger = await listen(client, type_ := new_type(), paying, vars={"iban": "event.iban"})
    await topic.publish(type_, {"iban": SECRET})
    (occurrence,) = await eventually(lambda: occurrences(client, trigger), bool)
    assert occurrence["workflowInstanceID"]
    # A new engine has it from the snapshot, decrypted.
    await snapshot_with(settings, held["id"])
    assert await installation.engine.terminate() == 0
    await installation.engine.start()
    assert await installation.engine.metric('orchestration_engine_restored_records_total{source="snapshot"}') > 0
    assert (await client.post(f"/instances/{held['id']}/events", {"name": "approved"})).status == 204
    shown = await eventually(partial(_instance, client, held["id"]), lambda i: i["terminated"])
    assert shown.get("error") is None
    # Nothing of it stands in Kafka.
    for name in SEALED_TOPICS:
        found = await records(settings, name)
        assert marks(found) <= {b"k1"}, name
        assert name == "commands.dead" or b"k1" in marks(found), name
        assert not [record for some in found.values() for record in some if SECRET.encode() in (record.value or b"")]
    assert marks(await records(settings, PUBLIC)) == {None}
    if "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        segments = list(tmp_path_factory.getbasetemp().glob(f"kafka*/data/{settings.topic_prefix}*/*.log"))
        assert not [path for path in segments if SECRET.encode() in content(path)]
        other = tmp_path_factory.getbasetemp().glob(f"kafka*/data/{topic.name}-*/*.log")
        assert not segments or any(SECRET.encode() in content(path) for path in other), "what is looked for"
    # The tools read it.
    verified = await command(settings, "verify")
    assert verified.exit_code == 0, verified.output
    log = await command(settings, "log", ended["id"], "--json")
    assert SECRET in log.stdout
    doctor = await command(settings, "doctor")
    assert "ok       encryption: 1 keys read what is there, and k1 encrypts" in doctor.stdout
    assert (await command(settings, "rebuild")).exit_code == 0
    assert SECRET in str((await client.get(f"/instances/{ended['id']}/history")).data)


async def _instance(client: Client, instance_id: str) -> Any:
    return (await client.get(f"/instances/{instance_id}")).data


async def test_without_the_key_the_tools_say_so(installation: Installation) -> None:
    settings = replace(
        installation.settings, encryption_keys_file=None, encryption_key_id=None, encryption_required=False
    )
    missing = "encrypted with key 'k1:"
    for arguments in (["verify"], ["rebuild"], ["topics", "repair"]):
        result = await command(settings, *arguments)
        assert result.exit_code != 0
        assert missing in result.output, result.output
    log = await command(settings, "log", "--partition", "0")
    assert SECRET not in log.stdout
    doctor = await command(settings, "doctor")
    assert doctor.exit_code == 2
    assert "wrong    encryption: records of " in doctor.stdout


async def test_a_rotation_while_everything_runs(installation: Installation, keys: Path) -> None:
    """First all processes have both keys, then they encrypt with the new one."""
    client, processes = installation.client(), (installation.api, installation.engine, installation.projections)
    waiting = await client.workflow(WAIT)
    before = await started(client, waiting)
    write_keys(keys, "k1", "k2")
    for process in processes:
        process.settings = replace(process.settings, encryption_key_id="k2")
    await asyncio.gather(*(process.terminate() for process in processes))
    await asyncio.gather(*(process.start() for process in processes))
    client = installation.client()
    after = await started(client, waiting)
    for instance in (before, after):
        assert (await client.post(f"/instances/{instance['id']}/events", {"name": "approved"})).status == 204
        shown = await eventually(partial(_instance, client, instance["id"]), lambda i: i["terminated"])
        assert shown.get("error") is None
    assert marks(await records(installation.settings, "events")) == {b"k1", b"k2"}
    assert (await command(replace(installation.settings, encryption_key_id="k2"), "verify")).exit_code == 0
