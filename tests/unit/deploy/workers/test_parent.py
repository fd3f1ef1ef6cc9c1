"""The parent of workers: what it refuses, and what it does with one that hangs."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from deploy.errors import DeployError
from deploy.http.server import bind_shared
from deploy.workers import parent
from schemas.settings import ApiSettings


def test_elsewhere_than_on_linux_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DeployError, match="--workers needs Linux"):
        parent.run_workers(ApiSettings(), 2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs processes that share a port")
def test_a_folder_for_sockets_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    with pytest.raises(DeployError, match=r"in XDG_RUNTIME_DIR .*No such file or directory: '/nowhere/"):
        parent.run_workers(msgspec.structs.replace(ApiSettings(), port=0), 2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs names of sockets that are not files, as Linux has them")
def test_two_parents_that_start_at_once_do_not_share_a_port() -> None:
    with (
        bind_shared("127.0.0.1", 0, first=True) as held,
        parent.alone_on(*held.getsockname()[:2]),
        pytest.raises(DeployError, match=r"can't listen on 127.0.0.1:[0-9]+: (other workers|Address already in use)"),
        bind_shared(*held.getsockname()[:2], first=True) as other,
        parent.alone_on(*other.getsockname()[:2]),
    ):
        pass


async def test_a_worker_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "SILENT_SECONDS", 0.01)
    hangs = parent._Worker(2, 1, 8080, Path(), asyncio.Event())
    hangs._process = await asyncio.create_subprocess_exec("sleep", "600")
    hangs._reader = asyncio.StreamReader()
    assert await hangs._end() == -signal.SIGKILL
