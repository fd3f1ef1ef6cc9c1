"""What clients find wrong in answers, by replies that are put in their place."""

import random
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from schemas.events import CANCELED
from tests.chaos.answers import Plan, Run
from tests.chaos.clients import Clients, Reply
from tests.chaos.system import System
from tests.simulation.sends import Sends

RUNS: dict[str, Any] = {"terminated": False}
ENDED: dict[str, Any] = {"terminated": True}
ABORTED = {"terminated": True, "error": CANCELED}


class Answered(Clients):
    """Clients who are shown what a test says."""

    shown: dict[str, Any] = RUNS
    meanwhile: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    """What becomes of the run before the reply is there."""

    async def call(self, *_: Any, **more: Any) -> Reply:
        for name, value in self.meanwhile.items():
            setattr(self.run_looked_at, name, value)
        return Reply(200, {"data": self.shown})

    async def see(self, run: Run, shown: dict[str, Any], **meanwhile: Any) -> list[str]:
        """Look at a run; all that was found wrong until now."""
        self.run_looked_at, self.shown, self.meanwhile = run, shown, meanwhile
        await self.look(run)
        return self.answers.wrong


@pytest.fixture
async def clients() -> AsyncIterator[Answered]:
    clients = Answered(cast(System, None), random.Random(1), cast(Sends, None), 1.0, 0.0)
    yield clients
    await clients.close()


def of(plan: Plan, **more: Any) -> Run:
    return Run("1.1", plan, "", False, "an id", acknowledged=True, **more)


async def test_what_has_ended_does_not_run_again(clients: Answered) -> None:
    run = of("money")
    assert await clients.see(run, RUNS) == []
    assert await clients.see(run, ENDED) == []
    assert await clients.see(run, RUNS) == ["1.1 an id: it is shown to run after it was shown to have ended"]


async def test_until_a_retry_is_answered_either_is_right(clients: Answered) -> None:
    run = of("retry money", abort_sent=True, abort_acknowledged=True)
    assert await clients.see(run, ABORTED) == []
    run.retry_sent, run.shown_as_ended = True, False
    assert await clients.see(run, ABORTED) == []
    assert await clients.see(run, RUNS) == []
    assert await clients.see(run, ABORTED, retry_acknowledged=True) == []
    assert await clients.see(run, RUNS) == []
    assert await clients.see(run, ENDED) == []
    assert await clients.see(run, RUNS) == ["1.1 an id: it is shown to run after it was shown to have ended"]


async def test_behind_a_retry_the_abort_is_not_shown(clients: Answered) -> None:
    run = of("retry money", abort_sent=True, abort_acknowledged=True, retry_sent=True, retry_acknowledged=True)
    assert await clients.see(run, ABORTED) == ["1.1 an id: behind its retry it is shown as aborted"]


async def test_a_look_that_a_retry_overtakes_tells_nothing(clients: Answered) -> None:
    run = of("retry money", abort_sent=True, abort_acknowledged=True, shown_as_ended=True)
    overtaken = {"retry_sent": True, "retry_acknowledged": True, "shown_as_ended": False}
    assert await clients.see(run, RUNS, **overtaken) == []
    assert await clients.see(run, RUNS) == []
