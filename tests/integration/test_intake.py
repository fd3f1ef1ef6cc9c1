"""Other services append to `commands`: on a real Kafka, with real processes, and as the document's examples do."""

import asyncio
import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from api.ids import new_id
from schemas.topics import COMMANDS, COMMANDS_DEAD, PUBLIC, partition_of, topic_name
from tests.integration.event_log_reader import admitted_events, records
from tests.integration.http_client import Client, Json
from tests.integration.installation import PARTITIONS, Installation
from tests.integration.waiting import eventually
from tests.raw_records import RawRecord, put_raw

DOCUMENT = Path(__file__).parents[2] / "docs" / "intake.md"
WAITS: Json = {"wait_event": {"event": "approved"}}
SECONDS = 120.0


def example(language: str) -> str:
    """The one code block of a language in the document."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    return str(code)


class Sender:
    """Another service, with a producer of its own that chooses partitions by itself."""

    def __init__(self, installation: Installation):
        self._topic = topic_name(installation.settings, COMMANDS)
        self._servers = installation.settings.kafka_bootstrap_servers

    async def submit(self, *submissions: tuple[str, str, Any], times: int = 1) -> None:
        """Append submissions in order, all of them so many times."""
        async with AIOKafkaProducer(bootstrap_servers=self._servers, acks="all") as producer:
            for type_, key, value in list(submissions) * times:
                headers = [("type", type_.encode())]
                await producer.send_and_wait(self._topic, json.dumps(value).encode(), key.encode(), headers=headers)

    async def submit_side_by_side(self, *submissions: tuple[str, str, Any]) -> None:
        """Append each in a transaction of its own. They end when all of them are appended."""
        async with AsyncExitStack() as stack:
            producers = [
                await stack.enter_async_context(
                    AIOKafkaProducer(bootstrap_servers=self._servers, transactional_id=f"{self._topic}-{number}")
                )
                for number in range(len(submissions))
            ]
            for producer, (type_, key, value) in zip(producers, submissions, strict=True):
                await producer.begin_transaction()
                headers = [("type", type_.encode())]
                await producer.send_and_wait(self._topic, json.dumps(value).encode(), key.encode(), headers=headers)
            for producer in producers:
                await producer.commit_transaction()


@pytest.fixture
def sender(installation: Installation) -> Sender:
    return Sender(installation)


async def types(installation: Installation, instance_id: str) -> list[str]:
    """What happened to an instance."""
    found = await admitted_events(installation.settings)
    return [type(one.event).__name__ for some in found.values() for one in some if one.aggregate_id == instance_id]


async def published(installation: Installation, instance_id: str) -> list[Json]:
    """The public events of an instance."""
    found = await records(installation.settings, PUBLIC, committed_only=True)
    return [json.loads(r.value) for some in found.values() for r in some if r.key == instance_id.encode()]


async def ended(client: Client, instance_id: str) -> Json:
    """An instance, once it has ended."""

    async def read() -> Json:
        answer = await client.get(f"/v2/instances/{instance_id}")
        return dict(answer.data) if answer.status == 200 else {}

    return await eventually(read, lambda shown: shown.get("terminated"))


async def rejected(installation: Installation, instance_id: str, count: int = 1) -> list[Json]:
    """The payloads of the published rejections, once there are so many."""

    async def read() -> list[Json]:
        shown = await published(installation, instance_id)
        return [one["payload"] for one in shown if one["type"] == "REJECTED_SUBMISSION"]

    return await eventually(read, lambda found: len(found) >= count)


async def test_a_submission_that_says_it_is_old_does_not_expire_early(installation: Installation) -> None:
    """Kafka would delete it before its retention is over, while no engine runs."""
    topic = topic_name(installation.settings, COMMANDS)
    async with AIOKafkaProducer(bootstrap_servers=installation.settings.kafka_bootstrap_servers) as producer:
        appended = await producer.send_and_wait(
            topic,
            b'{"idempotency_key": "k"}',
            str(new_id()).encode(),
            timestamp_ms=1,
            headers=[("type", b"SubmitAbort")],
        )
    assert appended.timestamp > 1


async def test_a_run_and_an_event_that_come_twice_act_once(installation: Installation, sender: Sender) -> None:
    client = installation.client()
    workflow, id = await client.workflow(WAITS, {"noop": {}}, WAITS), str(new_id())
    run = ("SubmitRun", id, {"workflow_id": workflow, "variables": {"order": "A-1"}, "by": "shop", "reason": "r"})
    first = ("SubmitEvent", id, {"name": "approved", "payload": {"n": 1}, "idempotency_key": "k-1"})
    last = ("SubmitEvent", id, {"name": "approved", "idempotency_key": "k-2"})
    await sender.submit(run, first, times=2)

    async def received() -> int:
        return (await types(installation, id)).count("EventReceived")

    await eventually(received)
    await sender.submit(last)
    shown = await ended(client, id)
    await sender.submit(run)
    await sender.submit(("SubmitRun", id, {"workflow_id": workflow, "variables": {"order": "A-2"}}))
    (conflict,) = await rejected(installation, id)
    assert (conflict["code"], conflict["submission"]) == ("CONFLICT", "SubmitRun")
    assert (shown["workflowID"], shown["variables"], shown.get("error")) == (workflow, {"order": "A-1"}, None)
    assert [(act["action"], act["by"]) for act in shown["acts"][:1]] == [("run", "shop")]
    happened = await types(installation, id)
    assert [happened.count(name) for name in ("InstanceStarted", "EventReceived", "InstanceEnded")] == [1, 2, 1]
    kinds = [one["type"] for one in await published(installation, id)]
    assert (kinds.count("STARTED_WORKFLOW"), kinds.count("SUCCEEDED_WORKFLOW")) == (1, 1)


async def test_transactions_of_senders_that_end_side_by_side_stop_nobody(
    installation: Installation, sender: Sender
) -> None:
    client = installation.client()
    workflow, id = await client.workflow(WAITS), str(new_id())
    await sender.submit_side_by_side(
        ("SubmitRun", id, {"workflow_id": workflow}),
        ("SubmitEvent", id, {"name": "else", "idempotency_key": "k-1"}),
    )
    await sender.submit(("SubmitEvent", id, {"name": "approved", "idempotency_key": "k-2"}))
    assert "error" not in await ended(client, id)


async def test_an_abort_that_comes_twice_does_not_end_a_retried_instance(
    installation: Installation, sender: Sender
) -> None:
    client = installation.client()
    workflow, id = await client.workflow(WAITS), str(new_id())
    abort = ("SubmitAbort", id, {"idempotency_key": "k", "by": "shop"})
    await sender.submit(("SubmitRun", id, {"workflow_id": workflow}), abort)
    assert (await ended(client, id))["error"] == "canceled"
    assert (await client.post(f"/v2/instances/{id}/retry")).status == 201
    await sender.submit(abort)
    # By HTTP it is the same request: it was carried out, and ends nothing.
    assert (await client.call("PUT", f"/instances/{id}/abort", headers={"Idempotency-Key": "k"})).status == 204
    assert not (await client.instance(id))["terminated"]
    assert (await client.abort(id)).status == 204
    assert (await types(installation, id)).count("InstanceEnded") == 2


async def test_an_event_by_http_with_the_same_key_is_the_same(installation: Installation, sender: Sender) -> None:
    client = installation.client()
    workflow, id = await client.workflow(WAITS, WAITS), str(new_id())
    event = {"name": "approved", "payload": {"n": 1}, "idempotency_key": "k"}
    await sender.submit(("SubmitRun", id, {"workflow_id": workflow}), ("SubmitEvent", id, event))

    async def received() -> bool:
        shown = await client.get(f"/v2/instances/{id}")
        return shown.status == 200 and "EventReceived" in await types(installation, id)

    await eventually(received)
    body = {"name": "approved", "n": 1}
    assert (await client.post(f"/instances/{id}/events", body, Idempotency_Key="k")).status == 204
    assert (await types(installation, id)).count("EventReceived") == 1
    assert (await client.abort(id)).status == 204


async def test_a_workflow_that_is_not_there_is_told(installation: Installation, sender: Sender) -> None:
    client = installation.client()
    deleted = await client.workflow({"noop": {}})
    assert (await client.delete(f"/workflows/{deleted}")).status == 204
    ids, before = [str(new_id()), str(new_id())], await _counted(installation, "NO_WORKFLOW")
    for id, workflow in zip(ids, (deleted, str(uuid.uuid4())), strict=True):
        await sender.submit(("SubmitRun", id, {"workflow_id": workflow}))
        (payload,) = await rejected(installation, id)
        assert payload == {
            "instanceID": id,
            "submission": "SubmitRun",
            "code": "NO_WORKFLOW",
            "error": f"workflow {workflow} does not exist, or was deleted",
        }
        assert (await client.get(f"/v2/instances/{id}")).status == 404
    # What is published may be seen before the engine counts it.
    await eventually(lambda: _counted(installation, "NO_WORKFLOW"), lambda counted: counted == before + 2)


async def _counted(installation: Installation, outcome: str) -> float:
    return await installation.engine.metric(f'orchestration_engine_submissions_total{{outcome="{outcome}"}}')


async def test_what_is_wrong_changes_nothing_and_the_partition_goes_on(
    installation: Installation, sender: Sender, kafka_bootstrap_servers: str
) -> None:
    client = installation.client()
    workflow, id = await client.workflow(WAITS), str(new_id())
    partition = partition_of(id.encode(), PARTITIONS)
    good = json.dumps({"workflow_id": workflow}).encode()
    run: list[tuple[bytes, bytes | None]] = [(b"type", b"SubmitRun")]
    deep = b'{"name": "x", "idempotency_key": "k", "payload": {"a": %s%s}}' % (b"[" * 200, b"]" * 200)
    wrong = [
        RawRecord(id.encode(), b"not json", run),
        RawRecord(id.encode(), b'{"workflow_id": 1}', run),
        RawRecord(id.encode(), good[:-1] + b', "varibles": {}}', run),
        RawRecord(id.encode(), good, [(b"type", b"SubmitAnything")]),
        RawRecord(id.encode(), good, [(b"type", b"\xff\xfe")]),
        RawRecord(id.encode(), good),
        RawRecord(id.encode(), None, run),
        RawRecord(id.upper().encode(), good, run),
        RawRecord(None, good, run),
        RawRecord(id.encode(), deep, [(b"type", b"SubmitEvent")]),
        RawRecord(id.encode(), good[:-1] + b" " * 1024 * 1024 + b"}", run),
    ]
    dead = await installation.engine.metric("orchestration_engine_dead_commands_total")
    topic = topic_name(installation.settings, COMMANDS)
    base = await put_raw(kafka_bootstrap_servers, topic, wrong, partition)
    elsewhere = (partition + 1) % PARTITIONS
    other = await put_raw(kafka_bootstrap_servers, topic, [RawRecord(id.encode(), good, run)], elsewhere)
    not_seven = str(uuid.UUID(int=uuid.uuid4().int))
    await sender.submit(("SubmitRun", not_seven, {"workflow_id": workflow}))
    await sender.submit(("SubmitEvent", id, {"name": "approved", "idempotency_key": "k"}))
    assert [one["code"] for one in await rejected(installation, not_seven)] == ["WRONG_ID"]
    assert [one["code"] for one in await rejected(installation, id)] == ["ENDED"]

    found = await eventually(
        lambda: _dead(installation, topic, [(partition, base), (elsewhere, other)]), lambda some: len(some) > len(wrong)
    )
    assert len(found) == len(wrong) + 1
    assert "murmur2" in found[f"{topic}/{elsewhere}/{other}"]
    assert "more than 1048576 bytes" in found[f"{topic}/{partition}/{base + len(wrong) - 1}"]
    buried = partial(installation.engine.metric, "orchestration_engine_dead_commands_total")
    await eventually(buried, lambda counted: counted == dead + len(found))
    assert "InstanceStarted" not in await types(installation, id)
    # A name of a header that is not UTF-8 makes nothing wrong, and what is right still acts.
    name: list[tuple[bytes, bytes | None]] = [*run, (b"\xff\xfe", b"1")]
    await put_raw(kafka_bootstrap_servers, topic, [RawRecord(id.encode(), good, name)], partition)
    await sender.submit(("SubmitEvent", id, {"name": "approved", "idempotency_key": "k"}))
    assert "error" not in await ended(client, id)


async def _dead(installation: Installation, topic: str, places: Sequence[tuple[int, int]]) -> dict[str, str]:
    """Reasons of the dead letters of some partitions from some offsets on, by where they were."""
    found = {}
    for record in (await records(installation.settings, COMMANDS_DEAD))[0]:
        headers = {name: value.decode() for name, value in record.headers if name.startswith("dead-")}
        source, partition, offset = headers["dead-source"].rsplit("/", 2)
        if source == topic and any((int(partition), int(offset)) >= place > (int(partition), -1) for place in places):
            found[headers["dead-source"]] = headers["dead-reason"]
    return found


async def test_a_workflow_that_was_just_made_is_known(installation: Installation, sender: Sender) -> None:
    client = installation.client()
    for _ in range(5):
        id = str(new_id())
        await sender.submit(("SubmitRun", id, {"workflow_id": await client.workflow({"noop": {}})}))
        assert "error" not in await ended(client, id)


async def _run_example(installation: Installation, workflow: str, *command: str) -> str:
    """Run an example of the document; the id that it prints."""
    settings = installation.settings
    environment = {
        **os.environ,
        "KAFKA": settings.kafka_bootstrap_servers,
        "ORCHESTRATION_TOPIC_PREFIX": settings.topic_prefix,
        "WORKFLOW": workflow,
    }
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode().split()[-1]


async def _check_example(installation: Installation, *command: str) -> None:
    client = installation.client()
    workflow = await client.workflow(WAITS)
    shown = await ended(client, await _run_example(installation, workflow, *command))
    assert (shown["variables"], "error" in shown) == ({"order": "A-1"}, False)
    assert [(act["action"], act["by"]) for act in shown["acts"]] == [("run", "shop"), ("event", "shop")]


async def test_the_example_in_python_runs_as_written(installation: Installation, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example("python"))
    await _check_example(installation, sys.executable, str(script))


async def test_the_example_with_kcat_runs_as_written(installation: Installation) -> None:
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not on the PATH (Debian: apt-get install kcat)")
    await _check_example(installation, "bash", "-c", example("bash"))
