"""The parent of workers: what it refuses, and what it does with one that hangs."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from deploy.errors import DeployError
from deploy.workers import supervisor
from schemas.settings import ApiSettings


def test_elsewhere_than_on_linux_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DeployError, match="--workers needs Linux"):
        supervisor.run_workers(ApiSettings(), 2)


async def test_a_worker_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", 0.01)
    hangs = supervisor._Worker(2, 1, 8080, Path(), asyncio.Event())
    hangs._process = await asyncio.create_subprocess_exec("sleep", "600")
    hangs._reader = asyncio.StreamReader()
    assert await hangs._end() == -signal.SIGKILL
