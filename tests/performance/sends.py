"""Rounds with money: sends to completion, and a thousand calls in flight against a slow sandbox."""

import asyncio
import re
from typing import Any

import aiohttp

from deploy.dev import Stack
from tests.performance.client import LoadClient
from tests.performance.figures import Figures

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
POLL_SECONDS = 0.05


class InFlight:
    """The most calls that the engine had in flight, read from its metrics."""

    def __init__(self, url: str):
        self._url = url
        self.most = 0

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(self._url) as answer:
                    found = re.search(
                        r"^orchestration_engine_calls_in_flight (\S+)$", await answer.text(), re.MULTILINE
                    )
                self.most = max(self.most, int(float(found[1])) if found else 0)
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


async def slow_sandbox(stack: Stack, seconds: float) -> None:
    """Make every transaction of the sandbox take this long; 0 makes it quick again."""
    fault = {"endpoint": "CreateTransaction", "kind": "slow", "probability": 1.0, "delay_seconds": seconds}
    async with aiohttp.ClientSession() as session:
        body = {"faults": [fault] if seconds else [], "seed": 1}
        async with session.put(f"{stack.sandbox_url}/sandbox/faults", json=body) as answer:
            answer.raise_for_status()


async def measure_calls_in_flight(stack: Stack, noop: str, seconds: float) -> tuple[list[Figures], int]:
    """A noop with one client, before and while a thousand clients keep calls of 500 ms in flight; and how many."""
    async with LoadClient(stack.url, 1) as load:
        send = await load.create_workflow(SEND)
    path = f"/workflows/{noop}/instances?wait=true"
    turns = TurnSeconds(f"{stack.engine_url}/metrics")
    await turns.start()
    async with LoadClient(stack.url, 1) as load:
        before = await load.measure("noop, 1 client, no calls in flight", seconds, "POST", path)
    print(f"99 of 100 turns without calls in flight took less than {await turns.p99():g} ms")
    await slow_sandbox(stack, DELAY_SECONDS)
    await turns.start()
    watch = InFlight(f"{stack.engine_url}/metrics")
    async with LoadClient(stack.url, CALLS) as senders, LoadClient(stack.url, 1) as load:
        watching = asyncio.create_task(watch.watch())
        sends = asyncio.create_task(
            senders.measure("send, 1000 clients", seconds + 2, "POST", f"/workflows/{send}/instances?wait=true")
        )
        during = await load.measure("noop, 1 client, 1000 calls in flight", seconds, "POST", path)
        sent = await sends
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    print(f"99 of 100 turns with 1000 calls in flight took less than {await turns.p99():g} ms")
    await slow_sandbox(stack, 0)
    return [before, during, sent], watch.most
