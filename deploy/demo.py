"""`orchestration demo`: a scenario on a stack of its own, told step by step, with the instance's timeline at the end.

A scenario is a YAML file: `workflow` (a file beside it), `variables` (of the instance), `events` (each is sent once the
instance waits for it), `sandbox` (whether activities need the sandbox). Everything goes through the HTTP API.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from deploy.dev import Options, Stack, stop_signals
from deploy.errors import ScenarioError, Stopped

DEFAULT = Path(__file__).with_name("examples") / "approval.scenario.yaml"
STEP_TIMEOUT_SECONDS = 60.0
"""How long the instance may take to wait for the next event, or to end."""
POLL_SECONDS = 0.1


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario file."""

    workflow: str
    variables: dict[str, str] = {}
    events: list[str] = []
    sandbox: bool = False


def run(*, keep: bool, port: int, data_dir: Path | None, scenario: Path | None) -> None:
    """Start a stack, run the scenario on it, print the timeline and stop the stack unless it is to be kept.

    Raises:
        DeployError: the stack can't start, or the scenario fails.
        Stopped: the user asked to stop before the end.
    """
    path = scenario or DEFAULT
    told = read_scenario(path)
    console = Console(highlight=False)
    with contextlib.ExitStack() as stack:
        folder = data_dir or stack.enter_context(_temporary_folder())
        processes = Stack(Options(port=port, data_dir=folder, sandbox=told.sandbox, quiet=True))
        stack.enter_context(stop_signals(processes))
        console.print("starting Kafka, Postgres, api, engine and projections …")
        stack.enter_context(processes)
        console.print(f"ready {processes.url}")
        asyncio.run(play(processes.url, path.parent / told.workflow, told, console))
        if keep:
            console.print(f"still running at {processes.url}, Ctrl-C stops it")
            sys.stdout.flush()
            with contextlib.suppress(Stopped):
                processes.supervise()


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: it can't be read or has another shape.
    """
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Scenario)
    except (OSError, msgspec.MsgspecError) as error:
        raise ScenarioError(f"scenario {path}: {error}") from None


async def play(url: str, workflow: Path, scenario: Scenario, console: Console) -> None:
    """Run a scenario against an API.

    Args:
        url: the API with its base path.
        workflow: YAML file of the workflow.
        scenario: what to do.
        console: where the story is told.

    Raises:
        ScenarioError: the API refuses something, the instance ends with an error or doesn't get on.
    """
    timeout = aiohttp.ClientTimeout(total=STEP_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = _Client(session, url)
        body = await asyncio.to_thread(workflow.read_bytes)
        created = await client.call("POST", "/workflows", data=body, headers={"Content-Type": "application/yaml"})
        console.print(f"created workflow {created['id']} from {workflow.name}")
        instance = await client.call("POST", f"/workflows/{created['id']}/instances", json=scenario.variables)
        path = f"/instances/{instance['id']}"
        console.print(f"started instance {instance['id']}")
        for event in scenario.events:
            await _until(f"waits for {event}", lambda name=event: _waits(client, path, name))  # type: ignore[misc]
            console.print(f"it waits for the event {event}")
            await client.call("POST", f"{path}/events", json={"name": event})
            console.print(f"sent the event {event}")
        await _until("has ended", lambda: _ended(client, path))
        console.print(timeline(await client.call("GET", f"{path}/history")))
        ended = await client.call("GET", path)
        if ended.get("error"):
            raise ScenarioError(f"the instance ended with an error: {ended['error']}")


def timeline(history: list[dict[str, Any]]) -> Table:
    """The stages of an instance as a table.

    Args:
        history: the API's stage history (contract: http-api, StageHistory).
    """
    table = Table("#", "stage", "started", "ended", "duration", "error", title="timeline (UTC)")
    for number, stage in enumerate(history):
        started, ended = _instant(stage.get("startedAt")), _instant(stage.get("terminatedAt"))
        table.add_row(
            str(number),
            stage["name"],
            f"{started:%H:%M:%S.%f}"[:-3] if started else "",
            f"{ended:%H:%M:%S.%f}"[:-3] if ended else "",
            f"{(ended - started).total_seconds() * 1000:.1f} ms" if started and ended else "",
            stage.get("error") or "",
        )
    return table


class _Client:
    """The HTTP API; an answer's `data` comes back, an error is raised."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, method: str, path: str, **request: Any) -> Any:
        try:
            async with self._session.request(method, self._url + path, **request) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ScenarioError(f"{method} {path}: {error or type(error).__name__}") from error
        if not answer.ok:
            raise ScenarioError(f"{method} {path} answered {answer.status}: {text[:300]}")
        return msgspec.json.decode(text)["data"] if text else None


async def _waits(client: _Client, path: str, event: str) -> bool:
    history = await client.call("GET", f"{path}/history")
    last = history[-1] if history else {"terminated": True}
    return not last["terminated"] and last.get("input") == {"event": event}


async def _ended(client: _Client, path: str) -> bool:
    return bool((await client.call("GET", path))["terminated"])


async def _until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + STEP_TIMEOUT_SECONDS
    while not await holds():
        if time.monotonic() > deadline:
            raise ScenarioError(f"after {STEP_TIMEOUT_SECONDS:g} s it isn't so that the instance {what}")
        await asyncio.sleep(POLL_SECONDS)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="orchestration-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
