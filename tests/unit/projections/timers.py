"""Timers of an event loop that are due when a test says so."""

import asyncio
from typing import Any

import pytest


class Clock:
    """An event loop's clock and timers, of which a test says when they are due."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        self.timers: list[tuple[float, Any]] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now, raising=False)
        monkeypatch.setattr(loop, "call_at", self._call_at, raising=False)

    def _call_at(self, at: float, call: Any, *arguments: Any) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        timer = asyncio.TimerHandle(at, call, arguments, loop)
        self.timers.append((at, timer))
        return timer

    async def pass_to(self, now: float) -> None:
        """Let the time come, and what is due happen."""
        self.now = now
        while due := [one for one in self.timers if one[0] <= now]:
            for one in due:
                self.timers.remove(one)
                if not one[1].cancelled():
                    one[1]._run()
        for _ in range(3):
            await asyncio.sleep(0)
