"""Bulk operations with real processes, Kafka and Postgres: more than a page, each instance once, and the command."""

import asyncio
import json
from typing import Any

from click.testing import CliRunner

from deploy.cli import main
from tests.integration.http_client import Client
from tests.integration.installation import Installation
from tests.integration.waiting import eventually

COUNT = 120
"""More than a page."""


async def test_all_instances_of_a_workflow_are_aborted_once(installation: Installation) -> None:
    client: Client = installation.client()
    made = await client.call("POST", "/workflows", {"stages": [{"wait_event": {"event": "never"}}]})
    workflow = made.data["id"]
    path = f"/workflows/{workflow}/instances"
    started = await asyncio.gather(*(client.call("POST", path) for _ in range(COUNT)))
    assert all(answer.status == 201 for answer in started)
    body: dict[str, Any] = {"action": "abort", "filter": {"workflowID": workflow}}
    preview = (await client.call("POST", "/v2/instances/bulk", {**body, "dryRun": True})).data
    assert (preview["matching"], preview["more"], len(preview["sample"])) == (COUNT, False, 10)
    headers = {"Idempotency-Key": "bulk of the test", "X-Reason": "wrong file"}
    first, again = [await client.call("POST", "/v2/instances/bulk", body, headers=headers) for _ in range(2)]
    assert again.data["id"] == first.data["id"]
    target = f"/v2/bulk/{first.data['id']}"

    async def ended() -> bool:
        return bool((await client.get(target)).data["state"] == "completed")

    await eventually(ended)
    shown = (await client.get(target)).data
    assert (shown["expected"], shown["sent"], shown["done"], shown["refused"]) == (COUNT, COUNT, COUNT, 0)
    assert shown["reason"] == "wrong file"
    listed = (await client.get(f"/v2/instances?workflowID={workflow}&pageSize=1000")).json()["cursor"]["data"]
    assert {one["error"] for one in listed} == {"canceled"}
    arguments = ["instances", "bulk", "start", "abort", "--workflow", workflow, "--yes", "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--url", client.base_url])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["matching"] == 0
