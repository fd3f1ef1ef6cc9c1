"""`orchestration demo`: a scenario on an installation of its own, told step by step, with a timeline at the end.

It plays the first scenario of a file (see `deploy.scenarios`), through the HTTP APIs and in real time. So it takes no
scenario that needs the time to jump, which shows when it is played without an installation first.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from rich import box
from rich.console import Console
from rich.table import Column, Table

from deploy.dev import stop_signals
from deploy.errors import ScenarioError, Stopped
from deploy.installation import Installation, Options
from deploy.scenarios.files import Case, read_cases
from deploy.scenarios.live import put_in
from deploy.scenarios.model import Event, ExpectedWallet
from deploy.scenarios.play import play as play_in_no_time
from deploy.scenarios.problems import Unusable
from deploy.scenarios.stack import as_rule
from deploy.scenarios.times import shown
from schemas.settings import ApiSettings, load, variable

DEFAULT: Final = Path(__file__).with_name("examples") / "payout.scenarios.yaml"
STEP_TIMEOUT_SECONDS: Final = 60.0
"""How long the instance may take to wait for the next event, or to end."""
POLL_SECONDS: Final = 0.1
NOT_EXPECTED: Final = ExpectedWallet()
"""A wallet of which nothing is expected."""


def run(*, keep: bool, port: int, data_dir: Path | None, scenario: Path | None) -> None:
    """Start everything, run the scenario, print the timeline and stop everything unless it is to be kept.

    Raises:
        DeployError: something can't start, or the scenario fails.
        Stopped: the user asked to stop before the end.
    """
    path = scenario or DEFAULT
    case = read_scenario(path)
    if load(ApiSettings).auth_enabled:
        raise ScenarioError(f"the demo can't call an API that asks for a token: unset {variable('auth_enabled')}")
    console = Console(highlight=False)
    with contextlib.ExitStack() as exits:
        folder = data_dir or exits.enter_context(_temporary_folder())
        installation = Installation(Options(port=port, data_dir=folder, sandbox=True, quiet=True, train=False))
        exits.enter_context(stop_signals(installation))
        console.print("starting Kafka, Postgres, api, engine and projections …")
        exits.enter_context(installation)
        console.print(f"ready {installation.url}")
        instance_id = asyncio.run(play(installation.url, installation.sandbox_url, case, console))
        if keep:
            console.print(f"still running at {installation.url}; Ctrl-C stops it")
        if installation.console_url:
            shown = f"{installation.console_url}#/instances/{instance_id}"
            console.print(f"the instance in the console{'' if keep else ' (with --keep)'}: {shown}", soft_wrap=True)
        if keep:
            sys.stdout.flush()
            with contextlib.suppress(Stopped):
                installation.supervise()


def read_scenario(path: Path) -> Case:
    """The first scenario of a file.

    Raises:
        ScenarioError: the file can't be used, or the scenario can't be played.
    """
    try:
        case = read_cases(path)[0]
    except Unusable as error:
        raise ScenarioError(f"scenario {error}") from None
    setup = case.setup
    has_times = any(isinstance(event, Event) and (event.at or event.after) for event in setup.events or ())
    if has_times or setup.arrivals or setup.abort or setup.until:
        raise ScenarioError(
            f"scenario {path}:{case.line}: the demo can't play `at`, `after`, `arrivals`, `abort` and `until`: "
            "`orchestration test` can"
        )
    if case.expect.outcome not in ("succeeded", "failed"):
        raise ScenarioError(f"scenario {path}:{case.line}: in the demo, an instance has to succeed or fail")
    duration = play_in_no_time(case).story.duration
    if duration is None or duration.total_seconds() > STEP_TIMEOUT_SECONDS:
        takes = "does not end" if duration is None else f"takes {shown(duration)}"
        raise ScenarioError(
            f"scenario {path}:{case.line}: the instance {takes}, and the demo plays in real time, for "
            f"{STEP_TIMEOUT_SECONDS:.0f} s at most: `orchestration test` can"
        )
    return case


async def play(url: str, sandbox_url: str, case: Case, console: Console) -> str:
    """Play a scenario; returns the id of its instance.

    Args:
        url: the API with its base path.
        sandbox_url: the sandbox.
        case: the scenario.
        console: where the story is told.

    Raises:
        ScenarioError: the API or the sandbox refuses something, the instance doesn't get on, or it ends in another way
            than it should.
    """
    timeout = aiohttp.ClientTimeout(total=STEP_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client, sandbox = _Client(session, url), _Client(session, sandbox_url)
        wallets = await _furnish(sandbox, case, console)
        workflow: dict[str, Any] = {"name": case.workflow.name, "stages": case.workflow.stages}
        if case.workflow.activity_max_attempts is not None:
            workflow["activityMaxAttempts"] = case.workflow.activity_max_attempts
        created = await client.call("POST", "/workflows", json=workflow)
        console.print(f"created workflow {created['id']}: {case.workflow.name or 'it has no name'}")
        variables = {name: wallets.get(value, value) for name, value in case.setup.variables.items()}
        instance = await client.call("POST", f"/workflows/{created['id']}/instances", json=variables)
        path = f"/instances/{instance['id']}"
        console.print(f"started instance {instance['id']}")
        for given in case.setup.events or ():
            await _send(client, path, given if isinstance(given, str) else given.event, console)
        await _until("end", lambda: _ended(client, path))
        history = await client.call("GET", f"{path}/history")
        activities = [await client.call("GET", f"{path}/stages/{number}/history") for number in range(len(history))]
        console.print(timeline(history, activities))
        await _look(sandbox, case, wallets, console)
        error = (await client.call("GET", path)).get("error")
        if (error is None) != (case.expect.outcome == "succeeded"):
            raise ScenarioError(f"the instance ended with an error: {error}" if error else "the instance has succeeded")
        return str(instance["id"])


async def _furnish(sandbox: "_Client", case: Case, console: Console) -> dict[str, str]:
    """Put into the sandbox what there is before, and have calls go wrong; returns the ids of wallets."""
    wallets = await put_in(case.setup.given, lambda path, body: sandbox.call("POST", path, json=body))
    for name, id in wallets.items():
        console.print(f"put wallet {name} into the sandbox: {id}")
    for name, payment in case.setup.given.payments.items():
        console.print(f"put payment {name} of {payment.amount} {payment.asset} into the sandbox")
    if case.setup.faults:
        rules = [msgspec.to_builtins(as_rule(fault)) for fault in case.setup.faults]
        await sandbox.call("PUT", "/sandbox/faults", json={"faults": rules})
    return wallets


async def _send(client: "_Client", path: str, event: str, console: Console) -> None:
    await _until(f"wait for {event}", lambda: _waits(client, path, event))
    console.print(f"the instance waits for the event {event}")
    await client.call("POST", f"{path}/events", json={"name": event})
    console.print(f"sent the event {event}")


async def _look(sandbox: "_Client", case: Case, wallets: dict[str, str], console: Console) -> None:
    """Show where the money is in the end."""
    for name, id in wallets.items():
        wallet = await sandbox.call("GET", f"/api/wallets/wallets/{id}")
        for balance, held in wallet["balances"].items():
            money = " and ".join(f"{amount} {asset}" for asset, amount in held["assets"].items()) or "nothing"
            console.print(f"balance {balance} of wallet {name} in the end: {money}")
            expected = case.expect.wallets.get(name, NOT_EXPECTED).balances.get(balance, {})
            if any(held["assets"].get(asset, 0) != amount for asset, amount in expected.items()):
                raise ScenarioError(f"balance {balance} of wallet {name} should be {expected}")
    for transfer in await sandbox.call("GET", "/sandbox/transfer-initiations"):
        text = msgspec.json.encode(transfer).decode()
        console.print(f"the payments service was told to pay: {text}", soft_wrap=True)


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
    """The HTTP API; `data` of an answer comes back, an error is raised."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, method: str, url: str, **request: Any) -> Any:
        try:
            async with self._session.request(method, self._url + url, **request) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ScenarioError(f"{method} {url}: {error or type(error).__name__}") from error
        if not answer.ok:
            raise ScenarioError(f"{method} {url} answered {answer.status}: {text[:300]}")
        if not text:
            return None
        return msgspec.json.decode(text)["data"]


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
