"""What a process does about signals."""

import asyncio
import os
import signal

import pytest

from deploy.process import stop_event


async def test_a_signal_beside_a_stop_is_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose parent has told it to stop gets the signal of the whole group as well."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    async with stop_event() as stop:
        stop.set()
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            for _ in range(5):
                await asyncio.sleep(0)
    assert statuses == [128 + signal.SIGTERM]
