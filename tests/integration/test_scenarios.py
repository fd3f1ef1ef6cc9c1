"""What scenario tests show is what an installation does: the same scenarios through the runner and real processes.

Each scenario is played live once, one after the other, since faults count the calls of all. Then the two are compared:
stages, activities with inputs, outputs, attempts and errors, every transaction and transfer, the calls of the stack.
Only times differ, so they are left out. Live it takes ten seconds: between two attempts there is a second at least.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.sandbox.ledger import INITIAL_LEDGERS
from deploy.scenarios.files import Case, read_cases
from deploy.scenarios.live import put_in
from deploy.scenarios.model import Event
from deploy.scenarios.play import INSTANCE, Played, play
from deploy.scenarios.stack import as_rule
from deploy.scenarios.story import Story
from schemas.events import LateResultRecorded
from tests.integration.event_log_reader import admitted_events
from tests.integration.installation import Installation
from tests.integration.sandbox_client import SandboxClient
from tests.integration.waiting import eventually

CASES = read_cases(Path(__file__).with_name("both.scenarios.yaml"))
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
FOREIGN = {"CreateWallet", "CreateBalance", "CreateLedger"}
"""Calls that no activity makes."""


class Books(msgspec.Struct):
    """What is in the stack in the end."""

    transactions: dict[str, list[Any]]
    transfers: list[Any]
    calls: dict[str, Any]


class Lived(msgspec.Struct):
    """What became of a scenario in an installation."""

    instance: str
    wallets: dict[str, str]
    shown: Any
    """The instance, as the API shows it."""
    activities: list[list[Any]]
    """Of each stage, as the API shows them."""
    books: Books


class Live:
    """Plays scenarios in an installation."""

    def __init__(self, installation: Installation, sandbox: SandboxClient):
        self.client, self.settings, self.sandbox = installation.client(), installation.settings, sandbox

    async def play(self, case: Case, expected: Story) -> Lived:
        """Play a scenario until the instance is where it is in the end by the runner."""
        await self.sandbox.call("POST", "/sandbox/reset")
        wallets = await put_in(case.setup.given, self._post)
        before = await self.sandbox.calls()
        await self.sandbox.faults(*(msgspec.to_builtins(as_rule(fault)) for fault in case.setup.faults or ()))
        workflow = await self.client.workflow(*case.workflow.stages)
        variables = {name: wallets.get(value, value) for name, value in case.setup.variables.items()}
        id = (await self.client.run(workflow, variables))["id"]
        await self._send_events(case, id)
        if case.setup.abort is not None:
            await self._until_at(id, expected)
            assert (await self.client.abort(id)).status == 204
        await self._until_at(id, expected)
        if any(isinstance(step.what, LateResultRecorded) for step in expected.steps):
            await eventually(lambda: self._late_result(id))
        shown = await self.client.instance(id)
        activities = [
            (await self.client.get(f"/instances/{id}/stages/{number}/history")).data
            for number in range(len(shown["status"]))
        ]
        return Lived(id, wallets, shown, activities, await self._books(before))

    async def _post(self, path: str, body: Any) -> Any:
        answer = await self.sandbox.call("POST", path, body)
        return answer and answer["data"]

    async def _send_events(self, case: Case, id: str) -> None:
        for event in case.setup.events or ():
            told = Event(event=event) if isinstance(event, str) else event
            if told.at is None:
                await self._until_waiting(id, told.event)
            assert (await self.client.send(id, told.event)).status == 204

    async def _until_waiting(self, id: str, event: str) -> None:
        """Until the instance waits for an event."""

        async def is_waiting() -> bool:
            stages = (await self.client.get(f"/instances/{id}/history")).data
            return bool(stages) and not stages[-1]["terminated"] and stages[-1]["input"] == {"event": event}

        await eventually(is_waiting)

    async def _until_at(self, id: str, expected: Story) -> None:
        """Until the instance has started the stages and activities that it starts by the runner, or has ended."""

        async def is_at() -> bool:
            shown = await self.client.instance(id)
            if shown["terminated"]:
                return True
            number = len(expected.stages) - 1
            if len(shown["status"]) <= number or expected.outcome == "succeeded":
                return False
            last = (await self.client.get(f"/instances/{id}/stages/{number}/history")).data
            return len(last) == len(expected.stages[-1].activities) and expected.outcome in ("waiting", "aborted")

        await eventually(is_at)

    async def _late_result(self, id: str) -> bool:
        """Whether the answer of a call was recorded behind the abort, which the read model does not show."""
        logs = await admitted_events(self.settings)
        events = [recorded.event for log in logs.values() for recorded in log if recorded.aggregate_id == id]
        return any(isinstance(event, LateResultRecorded) for event in events)

    async def _books(self, before: dict[str, Any]) -> Books:
        calls = {}
        for name, count in (await self.sandbox.calls()).items():
            earlier = before.get(name, {"calls": 0, "idempotencyHits": 0})
            calls[name] = [count[key] - earlier[key] for key in ("calls", "idempotencyHits")]
        transactions = {ledger: await self.sandbox.transactions(ledger) for ledger in INITIAL_LEDGERS}
        return Books(transactions, await self.sandbox.transfers(), calls)


@pytest.fixture(scope="module")
async def played() -> dict[str, Played]:
    """What the runner shows."""
    return {case.name: await asyncio.to_thread(play, case) for case in CASES}


@pytest.fixture(scope="module")
async def lived(installation: Installation, played: dict[str, Played]) -> AsyncIterator[dict[str, Lived]]:
    """What the installation has done, all scenarios one after the other."""
    assert installation.sandbox is not None
    async with SandboxClient(installation.sandbox.url) as sandbox:
        live = Live(installation, sandbox)
        yield {case.name: await live.play(case, played[case.name].story) for case in CASES}
        await sandbox.faults()


@pytest.fixture(scope="module")
async def stories(installation: Installation, lived: dict[str, Lived]) -> dict[str, Story]:
    """What the log says, told as the runner tells it."""
    logs = await admitted_events(installation.settings)
    by_instance: dict[str, list[Any]] = {}
    for log in logs.values():
        for recorded in log:
            by_instance.setdefault(recorded.aggregate_id, []).append(recorded.event)
    found = {}
    for name, live in lived.items():
        events = by_instance[live.instance]
        story = found[name] = Story(events[0].at)
        for event in events:
            story.take(event)
    return found


def plain(value: Any, lived: Lived | None) -> Any:
    """Without what differs from run to run: ids and times."""
    text = msgspec.json.encode(value, order="deterministic").decode()
    if lived is not None:
        text = text.replace(lived.instance, INSTANCE)
        for name, id in lived.wallets.items():
            text = text.replace(id, name).replace(id.replace("-", ""), name)
    return msgspec.json.decode(MOMENT.sub("<time>", text))


def told(story: Story, lived: Lived | None) -> Any:
    """Stages and activities."""
    stages = [
        {
            "name": stage.name,
            "status": stage.status,
            "error": stage.error,
            "input": stage.input,
            "activities": [msgspec.structs.asdict(activity) | {"retry_at": None} for activity in stage.activities],
        }
        for stage in story.stages
    ]
    return plain({"outcome": story.outcome, "error": story.error, "stages": stages}, lived)


def kinds(story: Story) -> list[str]:
    """The kinds of the instance's events, sorted: where an early event comes in between is a matter of time."""
    return sorted(type(step.what).__name__ for step in story.steps if not isinstance(step.what, str))


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_the_log_is_the_same(
    name: str, played: dict[str, Played], stories: dict[str, Story], lived: dict[str, Lived]
) -> None:
    assert told(stories[name], lived[name]) == told(played[name].story, None)
    assert kinds(stories[name]) == kinds(played[name].story)


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_the_api_shows_the_same(name: str, played: dict[str, Played], lived: dict[str, Lived]) -> None:
    story, live = played[name].story, lived[name]
    assert live.shown["terminated"] == (story.ended is not None)
    assert live.shown.get("error") == story.error
    assert [stage.get("error") for stage in live.shown["status"]] == [stage.error for stage in story.stages]
    for stage, shown in zip(story.stages, live.activities, strict=True):
        assert [one["name"] for one in shown] == [activity.name for activity in stage.activities]
        assert [one["attempt"] for one in shown] == [activity.attempts for activity in stage.activities]
        assert [one.get("error") or one.get("lastFailure") for one in shown] == [
            activity.errors[-1] if activity.errors else None for activity in stage.activities
        ]


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_the_money_is_in_the_same_places(name: str, played: dict[str, Played], lived: dict[str, Lived]) -> None:
    sandbox, live = played[name].books._sandbox, lived[name]
    transactions = {
        ledger: [transaction.view() for transaction in sandbox.ledgers.get(ledger).transactions]
        for ledger in INITIAL_LEDGERS
    }
    assert plain(live.books.transactions, live) == plain(transactions, None)
    expected = [msgspec.to_builtins(transfer) | {"id": None} for transfer in plain(sandbox.payments.transfers, None)]
    assert [transfer | {"id": None} for transfer in plain(live.books.transfers, live)] == expected
    calls = {name: [count.calls, count.idempotency_hits] for name, count in sandbox.calls.items()}
    made = {name: count for name, count in live.books.calls.items() if count[0] and name not in FOREIGN}
    assert made == calls
