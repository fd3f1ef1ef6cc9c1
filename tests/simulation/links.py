"""Messages that need links: the product's evaluator, on a stack in memory that is slow and fails for a while.

Expressions of the simulation are short, so they are evaluated on the event loop, in virtual time; the thread that takes
long ones, and the requests themselves, are covered by the tests of `schemas.expressions` and `schemas.stack`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry

from engine.core.evaluation import Evaluated, Waiting
from engine.core.trigger import Trigger
from engine.metrics import Metrics
from engine.ports import Clock, MayStart
from engine.triggers.evaluator import LinkEvaluator
from engine.triggers.failures import FilterFailures
from schemas.settings import EngineSettings
from schemas.stack.answers import Answer
from schemas.stack.client import StackClient
from schemas.stack.errors import NoAnswer
from schemas.stack.exchange import Before
from schemas.stack.links import LINK_TIMEOUT_SECONDS, LinkFetcher
from tests.simulation.checkers import Observer
from tests.simulation.loop import VirtualClock
from tests.simulation.sources import LINKS, OWNERS, link_matches, owner

SECONDS: Final = (0.0, 5.0)
"""How long a link takes."""
METRICS: Final = Metrics(CollectorRegistry())
"""Nobody looks at them, and they take as long to make as all else of an evaluator."""
SETTINGS: Final = EngineSettings()


@dataclass
class LinkFaults:
    """How often what goes wrong."""

    passing: float = 0.0
    """A link can't be fetched at the moment."""


class LinkService(StackClient):
    """The stack as far as links lead to it.

    Args:
        rng: decides latencies and faults.
        faults: shared by all engines.
    """

    def __init__(self, rng: random.Random, faults: LinkFaults):
        super().__init__(SETTINGS)
        self._rng, self._faults = rng, faults

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        before: Before | None = None,
    ) -> Answer:
        """See `StackClient.send`."""
        await asyncio.sleep(self._rng.uniform(*SECONDS))
        if self._rng.random() < self._faults.passing:
            return await self._fail()
        base, _, number = url.rpartition("/")
        if base == LINKS.rstrip("/"):
            return _found({"ok": link_matches(int(number))})
        assert base == OWNERS.rstrip("/"), f"no message has the link {url}"
        name = owner(int(number))
        return Answer(404, b"") if name is None else _found({"name": name})

    async def _fail(self) -> Answer:
        match self._rng.randrange(4):
            case 0:
                return Answer(503, b"")
            case 1:
                return Answer(429, b'{"errorMessage": "later"}')
            case 2:
                await asyncio.sleep(2 * LINK_TIMEOUT_SECONDS)
        raise NoAnswer("the connection has ended")


def _found(data: object) -> Answer:
    return Answer(200, msgspec.json.encode({"data": data}))


async def _never(workflow_id: str) -> bool:
    return False


class MemoryLinks:
    """`engine.ports.MessageEvaluator` of one engine, which tells of every attempt.

    Args:
        rng: decides latencies and faults.
        faults: shared by all engines.
        observer: told of every attempt as it starts.
        epochs: of the partitions that the engine owns, as far as it knows.
        workflow_deleted: whether a workflow was deleted, as the engine knows it.
        clock: of the engine.
    """

    def __init__(
        self,
        rng: random.Random,
        faults: LinkFaults,
        observer: Observer,
        epochs: Callable[[], Mapping[int, int]],
        workflow_deleted: Callable[[str], Awaitable[bool]] = _never,
        clock: Clock | None = None,
    ):
        self._observer, self._epochs = observer, epochs
        self._evaluator = LinkEvaluator(
            LinkFetcher(SETTINGS, LinkService(rng, faults)),
            workflow_deleted,
            FilterFailures(METRICS, VirtualClock().monotonic),
            METRICS,
            clock or VirtualClock(),
            SETTINGS.link_retry_seconds,
        )

    async def evaluate(self, trigger: Trigger, waiting: Waiting, may_start: MayStart) -> Evaluated | None:
        """See `MessageEvaluator.evaluate`."""

        async def starts() -> bool:
            if not await may_start():
                return False
            self._observer.evaluating(trigger.id, waiting, self._epochs(), VirtualClock().now())
            return True

        return await self._evaluator.evaluate(trigger, waiting, starts)
