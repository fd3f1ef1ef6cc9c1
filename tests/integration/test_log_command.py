"""`orchestration log` on a real Kafka, as a user runs it."""

import asyncio
import json
from typing import Any

from click.testing import CliRunner, Result

from deploy.cli import main
from deploy.embedded.ports import HOST
from schemas.settings import KafkaSettings, OperatorSettings, environment_of
from tests.integration.installation import Installation
from tests.reserved_ports import reserved_port


async def run(settings: KafkaSettings, *arguments: str) -> Result:
    """Run the command as a user does. It has an event loop of its own, so it gets a thread of its own."""
    return await asyncio.to_thread(CliRunner(env=environment_of(settings)).invoke, main, ["log", *arguments])


def parsed(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


async def test_the_records_of_an_instance_and_of_its_partition(installation: Installation) -> None:
    client = installation.client()
    workflow = await client.workflow({"noop": {}})
    started = await client.post(f"/workflows/{workflow}/instances?wait=true", {})
    id = started.data["id"]
    records = parsed(await run(installation.settings, id.upper(), "--json"))
    types = [record["type"] for record in records]
    assert types == ["InstanceStarted", "StageStarted", "StageEnded", "InstanceEnded"]
    assert [record["version"] for record in records] == [1, 2, 3, 4]
    assert {(record["id"], record["counts"]) for record in records} == {(id, True)}
    assert len({(record["cause"], record["epoch"], record["owner"]) for record in records}) == 1
    partition, offset = str(records[0]["partition"]), str(records[0]["offset"])
    (first,) = parsed(await run(installation.settings, "--partition", partition, "--from", offset, "-n", "1", "--json"))
    assert first == records[0]
    lines = (await run(installation.settings, id)).stdout.splitlines()
    assert [line.split()[2] for line in lines] == types


async def test_what_goes_wrong_is_one_line(installation: Installation) -> None:
    unknown = "00000000-0000-4000-8000-000000000001"
    port = reserved_port()
    away = OperatorSettings(kafka_bootstrap_servers=f"{HOST}:{port}")
    for settings, arguments, status, message in (
        (installation.settings, [unknown], 1, f"Error: nothing of {unknown} in partition "),
        (
            installation.settings,
            ["-p", "9"],
            1,
            f"Error: topic {installation.settings.topic_prefix}events has the part",
        ),
        (away, [unknown], 1, f"Error: no broker answers at {HOST}:{port}: "),
        (away, [], 2, "Error: give either an ID or --partition"),
        (away, ["x"], 2, "Error: 'x' is not an id"),
    ):
        result = await run(settings, *arguments)
        assert (result.exit_code, result.stdout) == (status, ""), result.output
        assert result.stderr.splitlines()[-1].startswith(message)
