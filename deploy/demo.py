"""`orchestration demo`: a scenario on an installation of its own, told step by step, with a timeline at the end.

A scenario is a YAML file: `workflow` (a file beside it), `variables` (of the instance), `events` (each is sent once the
instance waits for it), `sandbox` (whether activities need the sandbox), `prepare` and `show` (what to put into the
sandbox before, and what to look at there in the end). Everything goes through the HTTP APIs.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any, Final

import aiohttp
import msgspec
from rich import box
from rich.console import Console
from rich.table import Column, Table

from deploy.dev import stop_signals
from deploy.errors import ScenarioError, Stopped
from deploy.installation import Installation, Options
from schemas.settings import ApiSettings, load, variable

DEFAULT: Final = Path(__file__).with_name("examples") / "payout.scenario.yaml"
STEP_TIMEOUT_SECONDS: Final = 60.0
"""How long the instance may take to wait for the next event, or to end."""
POLL_SECONDS: Final = 0.1


class Preparation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A POST to the sandbox; the `id` of what it makes becomes a variable of the instance."""

    post: str
    variable: str
    body: dict[str, Any] = {}


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A GET from the sandbox, and which part of the answer to print. `${name}` is replaced by a variable."""

    title: str
    get: str
    path: list[str] = []


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario file."""

    workflow: str
    variables: dict[str, str] = {}
    events: list[str] = []
    sandbox: bool = False
    prepare: list[Preparation] = []
    show: list[Look] = []


def run(*, keep: bool, port: int, data_dir: Path | None, scenario: Path | None) -> None:
    """Start everything, run the scenario, print the timeline and stop everything unless it is to be kept.

    Raises:
        DeployError: something can't start, or the scenario fails.
        Stopped: the user asked to stop before the end.
    """
    path = scenario or DEFAULT
    told = read_scenario(path)
    if load(ApiSettings).auth_enabled:
        raise ScenarioError(f"the demo can't call an API that asks for a token: unset {variable('auth_enabled')}")
    console = Console(highlight=False)
    with contextlib.ExitStack() as exits:
        folder = data_dir or exits.enter_context(_temporary_folder())
        installation = Installation(Options(port=port, data_dir=folder, sandbox=told.sandbox, quiet=True, train=False))
        exits.enter_context(stop_signals(installation))
        console.print("starting Kafka, Postgres, api, engine and projections …")
        exits.enter_context(installation)
        console.print(f"ready {installation.url}")
        asyncio.run(play(installation.url, installation.sandbox_url, path.parent / told.workflow, told, console))
        if keep:
            console.print(f"still running at {installation.url}; Ctrl-C stops it")
            sys.stdout.flush()
            with contextlib.suppress(Stopped):
                installation.supervise()


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: it can't be read or has another shape.
    """
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Scenario)
    except (OSError, msgspec.MsgspecError) as error:
        raise ScenarioError(f"scenario {path}: {error}") from None


async def play(url: str, sandbox_url: str, workflow: Path, scenario: Scenario, console: Console) -> None:
    """Run a scenario against an API.

    Args:
        url: the API with its base path.
        sandbox_url: the sandbox, if the scenario needs it.
        workflow: YAML file of the workflow.
        scenario: what to do.
        console: where the story is told.

    Raises:
        ScenarioError: the API refuses something, the instance ends with an error or doesn't get on.
    """
    timeout = aiohttp.ClientTimeout(total=STEP_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client, sandbox = _Client(session, url), _Client(session, sandbox_url)
        variables = dict(scenario.variables)
        for step in scenario.prepare:
            made = await sandbox.call("POST", step.post, json=step.body)
            variables[step.variable] = made["id"]
            console.print(f"created {step.variable} {made['id']} in the sandbox")
        body = await asyncio.to_thread(workflow.read_bytes)
        created = await client.call("POST", "/workflows", data=body, headers={"Content-Type": "application/yaml"})
        console.print(f"created workflow {created['id']} from {workflow.name}")
        instance = await client.call("POST", f"/workflows/{created['id']}/instances", json=variables)
        path = f"/instances/{instance['id']}"
        console.print(f"started instance {instance['id']}")
        for event in scenario.events:
            await _until(f"wait for {event}", lambda name=event: _waits(client, path, name))  # type: ignore[misc]
            console.print(f"the instance waits for the event {event}")
            await client.call("POST", f"{path}/events", json={"name": event})
            console.print(f"sent the event {event}")
        await _until("end", lambda: _ended(client, path))
        history = await client.call("GET", f"{path}/history")
        activities = [await client.call("GET", f"{path}/stages/{number}/history") for number in range(len(history))]
        console.print(timeline(history, activities))
        for look in scenario.show:
            shown = await sandbox.call("GET", Template(look.get).substitute(variables), path=look.path)
            console.print(f"{look.title}: {msgspec.json.encode(shown).decode()}", soft_wrap=True)
        ended = await client.call("GET", path)
        if ended.get("error"):
            raise ScenarioError(f"the instance ended with an error: {ended['error']}")


def timeline(history: list[dict[str, Any]], activities: list[list[dict[str, Any]]]) -> Table:
    """The stages of an instance and their activities as a table.

    Args:
        history: the API's stage history (contract: http-api, StageHistory).
        activities: for each stage, the API's activity history.
    """
    stages = Column("stage", no_wrap=True)  # whole names, also on a narrow terminal
    table = Table("#", stages, "started (UTC)", "ms", "attempts", "error", box=box.SIMPLE)
    for number, (stage, calls) in enumerate(zip(history, activities, strict=True)):
        table.add_row(str(number), stage["name"], *_span(stage), "", stage.get("error") or "")
        for call in calls:
            table.add_row("", f"  {call['name']}", *_span(call), str(call["attempt"]), call.get("error") or "")
    return table


def _span(shown: dict[str, Any]) -> tuple[str, str]:
    started, ended = _instant(shown.get("startedAt")), _instant(shown.get("terminatedAt"))
    return (
        f"{started:%H:%M:%S.%f}"[:-3] if started else "",
        f"{(ended - started).total_seconds() * 1000:.1f}" if started and ended else "",
    )


class _Client:
    """The HTTP API; an answer's part (its `data`) comes back, an error is raised."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, method: str, url: str, path: Sequence[str] = ("data",), **request: Any) -> Any:
        try:
            async with self._session.request(method, self._url + url, **request) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ScenarioError(f"{method} {url}: {error or type(error).__name__}") from error
        if not answer.ok:
            raise ScenarioError(f"{method} {url} answered {answer.status}: {text[:300]}")
        if not text:
            return None
        part = msgspec.json.decode(text)
        for key in path:
            part = part[key]
        return part


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
            raise ScenarioError(f"the instance did not {what} within {STEP_TIMEOUT_SECONDS:g} s")
        await asyncio.sleep(POLL_SECONDS)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="orchestration-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
