"""Rounds with money: sends to completion, and a thousand calls in flight against a slow sandbox."""

import asyncio
import contextlib
import re
from typing import Any

import aiohttp

from deploy.bench.figures import Figures
from deploy.installation import Installation
from tests.performance.client import Client

SEND: dict[str, Any] = {
    "stages": [
        {
            "send": {
                "source": {"account": {"id": "world"}},
                "destination": {"account": {"id": "users:7"}},
                "amount": {"amount": 100, "asset": "EUR/2"},
            }
        }
    ]
}
CALLS = 1000
DELAY_SECONDS = 0.5
LONG_DELAY_SECONDS = 10.0
"""Long enough to look at an engine that holds the calls, apart from one that starts and ends them all the time."""
POLL_SECONDS = 0.05
REACH_SECONDS = 4.0
"""How long to wait until the calls are in flight."""


class InFlight:
    """The most calls that the engine had in flight, read from its metrics."""

    def __init__(self, url: str):
        self._url = url
        self.most = 0
        self.reached = asyncio.Event()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(self._url) as answer:
                    found = re.search(
                        r"^orchestration_engine_calls_in_flight (\S+)$", await answer.text(), re.MULTILINE
                    )
                self.most = max(self.most, int(float(found[1])) if found else 0)
                if self.most >= CALLS:
                    self.reached.set()
                await asyncio.sleep(POLL_SECONDS)


class TurnSeconds:
    """Quantiles of the engine's turns between two readings of its histogram.

    Args:
        url: of the engine's metrics.
    """

    def __init__(self, url: str):
        self._url = url
        self._before: dict[float, float] = {}

    async def read(self) -> dict[float, float]:
        """Turns so far that took at most so many seconds, by the histogram's bounds."""
        async with aiohttp.ClientSession() as session, session.get(self._url) as answer:
            found = re.findall(
                r'^orchestration_engine_turn_seconds_bucket{le="(.+)"} (\S+)$', await answer.text(), re.M
            )
        return {float(bound): float(count) for bound, count in found}

    async def start(self) -> None:
        """Count from here on."""
        self._before = await self.read()

    async def p99(self) -> float:
        """The bound, in milliseconds, that 99 of 100 turns since `start` stayed under."""
        counts = {bound: count - self._before.get(bound, 0.0) for bound, count in (await self.read()).items()}
        total = max(counts.values())
        return 1000 * min(bound for bound, count in counts.items() if count >= 0.99 * total)


async def slow_sandbox(installation: Installation, seconds: float) -> None:
    """Make every transaction of the sandbox take this long; 0 makes it quick again."""
    fault = {"endpoint": "CreateTransaction", "kind": "slow", "probability": 1.0, "delay_seconds": seconds}
    async with aiohttp.ClientSession() as session:
        body = {"faults": [fault] if seconds else [], "seed": 1}
        async with session.put(f"{installation.sandbox_url}/sandbox/faults", json=body) as answer:
            answer.raise_for_status()


async def measure_calls_in_flight(installation: Installation, noop: str, seconds: float) -> list[Figures]:
    """A noop with one client: alone, beside a thousand calls that hang, and beside a thousand clients that send."""
    path = f"/workflows/{noop}/instances?wait=true"
    turns = TurnSeconds(f"{installation.engine_url}/metrics")
    await turns.start()
    async with Client(installation.url, 1) as load:
        rows = [await load.measure("noop, 1 client, no calls in flight", seconds, "POST", [path])]
    print(f"99 of 100 turns without calls in flight took less than {await turns.p99():g} ms")
    rows += await _beside_calls(installation, path, turns, seconds, LONG_DELAY_SECONDS, lasting_seconds=1.0)
    rows += await _beside_calls(
        installation, path, turns, seconds, DELAY_SECONDS, lasting_seconds=seconds + REACH_SECONDS
    )
    return rows


async def _beside_calls(
    installation: Installation,
    path: str,
    turns: TurnSeconds,
    seconds: float,
    delay_seconds: float,
    lasting_seconds: float,
) -> list[Figures]:
    """A noop's latency while a thousand clients each have a call of this length in flight."""
    await slow_sandbox(installation, delay_seconds)
    watch = InFlight(f"{installation.engine_url}/metrics")
    async with Client(installation.url, CALLS) as senders:
        send = await senders.create_workflow(SEND)
        watching = asyncio.create_task(watch.watch())
        target = f"/workflows/{send}/instances?wait=true"
        sends = asyncio.create_task(
            senders.measure(f"send, 1000 clients, {delay_seconds:g} s", lasting_seconds, "POST", [target])
        )
        with contextlib.suppress(TimeoutError):  # it is too slow to have so many in flight at once: the row says so
            async with asyncio.timeout(REACH_SECONDS):
                await watch.reached.wait()
        await turns.start()
        async with Client(installation.url, 1) as load:  # not earlier: the API closes connections that are idle
            during = await load.measure(f"noop beside 1000 calls of {delay_seconds:g} s", seconds, "POST", [path])
        p99 = await turns.p99()
        sent = await sends
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await slow_sandbox(installation, 0)
    print(f"99 of 100 turns beside {watch.most} calls of {delay_seconds:g} s took less than {p99:g} ms")
    return [during, sent]
