"""Bulk operations with real processes, Kafka and Postgres: more than a page, each instance once, and the command."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

import click
from click.testing import CliRunner

from deploy.cli import main
from schemas import events
from tests.integration.event_log_reader import admitted_events
from tests.integration.http_client import Client
from tests.integration.installation import Installation
from tests.integration.sandbox_client import SandboxClient
from tests.integration.waiting import eventually

COUNT = 120
"""More than a page."""
WAITS = {"wait_event": {"event": "never"}}
TERMINAL_SECONDS = 60.0
"""How long a command may take that runs in a terminal."""


async def completed(client: Client, operation: Any) -> Any:
    """The operation, when it has ended."""
    target = f"/v2/bulk/{operation['id']}"

    async def ended() -> bool:
        return bool((await client.get(target)).data["state"] == "completed")

    await eventually(ended)
    return (await client.get(target)).data


async def instances(client: Client, workflow: str) -> list[Any]:
    """All instances of a workflow."""
    found: list[Any] = (await client.get(f"/v2/instances?workflowID={workflow}&pageSize=1000")).json()["cursor"]["data"]
    return found


async def test_all_instances_of_a_workflow_are_aborted_once(installation: Installation) -> None:
    client: Client = installation.client()
    made = await client.call("POST", "/workflows", {"stages": [WAITS]})
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
    shown = await completed(client, first.data)
    assert (shown["expected"], shown["sent"], shown["done"], shown["refused"]) == (COUNT, COUNT, COUNT, 0)
    assert shown["reason"] == "wrong file"
    assert {one["error"] for one in await instances(client, workflow)} == {"canceled"}
    arguments = ["instances", "bulk", "start", "abort", "--workflow", workflow, "--yes", "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--url", client.base_url])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["matching"] == 0


async def test_what_has_failed_is_retried_once_and_pays_once(installation: Installation) -> None:
    client: Client = installation.client()
    pays = {
        "send": {
            "source": {"account": {"id": "world"}},
            "destination": {"account": {"id": "bulk:${who}"}},
            "amount": {"amount": 100, "asset": "EUR/2"},
        }
    }
    workflow = await client.workflow({"noop": {}}, pays)
    refusal = {"endpoint": "CreateTransaction", "kind": "error", "status": 400, "code": "VALIDATION", "times": 3}
    assert installation.sandbox is not None
    async with SandboxClient(installation.sandbox.url) as sandbox:
        await sandbox.faults(refusal)
        runs = [await client.run(workflow, {"who": who}, wait=True) for who in "abcd"]
        await sandbox.faults()
        failed = {run["id"] for run in runs[:3]}
        assert [bool(run.get("error")) for run in runs] == [True, True, True, False]
        # What it goes on with is its own: the workflow is not needed any more.
        assert (await client.call("DELETE", f"/v2/workflows/{workflow}")).status == 204
        body = {"action": "retry", "filter": {"workflowID": [workflow], "error": "told to fail"}}
        preview = (await client.call("POST", "/v2/instances/bulk", {**body, "dryRun": True})).data
        assert (preview["matching"], {one["id"] for one in preview["sample"]}) == (3, failed)
        assert all(one["retries"] == 0 for one in await instances(client, workflow) if "retries" in one)
        shown = await completed(client, (await client.call("POST", "/v2/instances/bulk", body)).data)
        assert (shown["sent"], shown["done"], shown["refused"]) == (3, 3, 0)

        async def all_ended() -> bool:
            return all(one["state"] == "succeeded" for one in await instances(client, workflow))

        await eventually(all_ended)
        # Nothing of this kind is left: the same again does nothing.
        again = await completed(client, (await client.call("POST", "/v2/instances/bulk", body)).data)
        assert (again["expected"], again["sent"]) == (0, 0)
        paid = Counter(
            posting["destination"]
            for transaction in await sandbox.transactions("default")
            for posting in transaction["postings"]
        )
    assert {name: n for name, n in paid.items() if name.startswith("bulk:")} == {f"bulk:{who}": 1 for who in "abcd"}
    retried = [
        (record.aggregate_id, record.event.bulk_id)
        for records in (await admitted_events(installation.settings)).values()
        for record in records
        if isinstance(record.event, events.InstanceRetried) and record.aggregate_id in failed
    ]
    assert sorted(retried) == sorted((id, shown["id"]) for id in failed)


async def test_the_command_asks_in_a_terminal_and_shows_how_far_it_is(installation: Installation) -> None:
    client: Client = installation.client()
    workflow = await client.workflow(WAITS)
    for _ in range(3):
        await client.run(workflow)
    arguments = ("instances", "bulk", "start", "abort", "--workflow", workflow, "--url", client.base_url)
    with Terminal(*arguments) as stopped:
        await stopped.until("abort 3 instances? [y/N]: ")
        stopped.process.send_signal(signal.SIGINT)
        assert await stopped.end() == 130
        assert stopped.text.endswith("nothing was done\r\n")
    assert {one["state"] for one in await instances(client, workflow)} == {"waiting"}
    with Terminal(*arguments) as agreed:
        await agreed.until("abort 3 instances? [y/N]: ")
        agreed.type("y\n")
        assert await agreed.end() == 0
        assert " of 3 instances" in agreed.text
        assert "state     completed\r\n" in click.unstyle(agreed.text)
    retry = ["instances", "bulk", "start", "retry", "--workflow", workflow, "--yes", "--json", "--url", client.base_url]
    result = await asyncio.to_thread(CliRunner().invoke, main, retry)
    assert result.exit_code == 0, result.output
    assert (json.loads(result.stdout)["done"], result.stderr) == (3, "")
    assert {one["state"] for one in await instances(client, workflow)} == {"waiting"}


class Terminal:
    """A command of ours in a terminal of its own."""

    def __init__(self, *arguments: str):
        self._own, other = pty.openpty()
        self.text = ""
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "deploy.cli", *arguments], stdin=other, stdout=other, stderr=other
            )
        finally:
            os.close(other)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    async def until(self, text: str) -> None:
        """Wait until it has shown a text."""
        async with asyncio.timeout(TERMINAL_SECONDS):
            while text not in self.text and await self._read():
                pass
        assert text in self.text, self.text

    async def end(self) -> int:
        """Its exit status."""
        async with asyncio.timeout(TERMINAL_SECONDS):
            while await self._read():
                pass
            return await asyncio.to_thread(self.process.wait)

    async def _read(self) -> bool:
        try:
            read = await asyncio.to_thread(os.read, self._own, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += read.decode()
        return bool(read)
