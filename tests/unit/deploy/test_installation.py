"""The end of `orchestration dev`: nothing keeps the rest of it from ending."""

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy import installation
from deploy.children import stop_all
from deploy.embedded import child as embedded_child
from deploy.embedded.child import Child
from deploy.errors import Stopped
from deploy.installation import Installation, Options


@pytest.fixture
def dev(tmp_path: Path) -> Installation:
    return Installation(Options(port=0, data_dir=tmp_path))


def test_what_fails_to_stop_keeps_nothing_else_from_it() -> None:
    called: list[str] = []

    def stop(name: str, *, fails: bool = False) -> Any:
        def call(left: float) -> None:
            called.append(name)
            assert 0 <= left <= 5
            if fails:
                raise OSError(name)

        return call

    with pytest.raises(OSError, match="engine"):
        stop_all([stop("api"), stop("engine", fails=True), stop("kafka"), stop("postgres")], 5)
    assert called == ["api", "engine", "kafka", "postgres"]


def test_a_signal_whose_error_was_lost_ends_it_all_the_same(dev: Installation) -> None:
    """Python only prints what is raised while it frees an object."""
    dev.stopping = True
    with pytest.raises(Stopped):
        dev.supervise()


def test_what_hangs_keeps_a_second_signal_from_nothing(dev: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "KILL_SECONDS", 0.05)
    hangs, killed = threading.Event(), threading.Event()
    monkeypatch.setattr(dev._kafka, "kill", hangs.wait)
    monkeypatch.setattr(dev._postgres, "kill", killed.set)
    dev.kill()
    assert killed.wait(5)
    hangs.set()


def test_a_program_that_can_not_be_killed_ends_with_its_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(embedded_child, "_kill_tree", refuse)
    program = Child(["sleep", "600"], pid_file=tmp_path / "pid", output=tmp_path / "output")
    while (running := embedded_child._running(tmp_path / "pid")) is None:
        assert program.returncode is None
    program.kill()
    assert program.returncode is not None
    running.wait(10)
