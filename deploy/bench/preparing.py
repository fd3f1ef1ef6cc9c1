"""What has to be there before anything is measured: workflows, and instances that are read. The workflows go again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import click
import msgspec

from deploy.bench.load import LoadClient
from deploy.bench.scenarios import INSTANCES, PREFIX, READS, RUNS, Case, Requests, reading, running
from deploy.client.connection import Api
from deploy.client.output import state

NOOP: Final = "noop"
SEND: Final = "send"
CLIENTS: Final = 16
"""They start the instances that are read."""
SEND_SECONDS: Final = 10.0
"""How long the first send may take. A stack that does not answer is called again and again."""
POLL_SECONDS: Final = 0.1


class Prepared(dict[str, Requests]):
    """What the clients send, by scenario.

    Attributes:
        left_out: scenarios that can't be measured, with the reason.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left_out: dict[str, str] = {}


@contextlib.asynccontextmanager
async def prepared(api: Api, cases: Sequence[Case]) -> AsyncIterator[Prepared]:
    """What the cases need. At the end the workflows are deleted, whatever happens."""
    workflows: list[str] = []

    async def make(name: str, stages: list[Any]) -> str:
        made: str = (await api.post("workflows", body={"name": f"{PREFIX} {name}", "stages": stages}))["id"]
        workflows.append(made)
        return made

    async def workflow(name: str, stages: list[Any]) -> str:
        making = asyncio.create_task(make(name, stages))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            await making  # else nobody would know what to delete
            raise

    try:
        ready = Prepared()
        scenarios = {case.scenario for case in cases}
        for name in [name for name in RUNS if name in scenarios]:
            made = await workflow(name, RUNS[name])
            reason = await _problem(api, made) if name == SEND else ""
            if reason:
                ready.left_out[name] = reason
            else:
                ready[name] = running(made)
        reads = scenarios & READS.keys()
        if reads:
            pages = max(case.clients for case in cases if case.scenario in reads)
            read = [await workflow(f"read {number}", RUNS[NOOP]) for number in range(1, pages + 1)]
            instances = await _instances(api, read)
            ready |= {name: reading(name, read, instances) for name in reads}
        yield ready
    finally:
        await _delete(api, workflows)


async def _instances(api: Api, workflows: Sequence[str]) -> list[str]:
    """Run each workflow some times; an instance of each."""
    (path,) = running("{}").paths
    paths = [path.format(id) for id in workflows for _ in range(INSTANCES)]
    async with LoadClient(api.url, CLIENTS, headers=await api.credentials()) as load:
        answers = await load.request_all("POST", paths)
    return [msgspec.json.decode(answer)["data"]["id"] for answer in answers[::INSTANCES]]


async def _problem(api: Api, workflow: str) -> str:
    """Why a send can't be measured; `""` if it can."""
    instance = await api.post("workflows", workflow, "instances")
    try:
        async with asyncio.timeout(SEND_SECONDS):
            while not instance["terminated"]:
                await asyncio.sleep(POLL_SECONDS)
                instance = await api.get("instances", instance["id"])
    except TimeoutError:
        await api.put("instances", instance["id"], "abort")
        return f"the stack did not answer within {SEND_SECONDS:g} s"
    return "" if state(instance) == "succeeded" else f"the send {state(instance)}: {instance.get('error', '')}"


async def _delete(api: Api, workflows: Sequence[str]) -> None:
    """Delete workflows; say which could not be."""
    for number, id in enumerate(workflows):
        try:
            await api.delete("workflows", id)
        except click.ClickException as error:
            left = " ".join(workflows[number:])
            click.echo(f"these workflows could not be deleted: {left}: {error.message}", err=True)
            return
