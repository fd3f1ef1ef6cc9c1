"""The name of a process in its consumer groups."""

import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from schemas import process_name
from schemas.process_name import Kind, ProcessName
from schemas.settings import KafkaSettings

SETTINGS = KafkaSettings()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    return tmp_path


def found(kind: Kind = "engine", settings: KafkaSettings = SETTINGS) -> ProcessName:
    name = ProcessName(kind, None, settings)
    assert name.current == name.current
    return name


def test_the_processes_of_a_host_have_the_first_numbers_that_are_free() -> None:
    names = [found() for _ in range(3)]
    assert [name.current for name in names] == ["host-0", "host-1", "host-2"]
    names[1].release()
    names[1].release()
    assert [found().current, found().current] == ["host-1", "host-3"]


def test_kinds_and_installations_are_numbered_apart() -> None:
    others = [
        found(),
        found("projections"),
        found(settings=KafkaSettings(topic_prefix="x-")),
        found(settings=KafkaSettings(kafka_bootstrap_servers="elsewhere:9092")),
    ]
    assert [name.current for name in others] == ["host-0"] * 4
    assert found().current == "host-1"


def test_a_process_that_was_killed_leaves_its_name_to_the_next_one(folder: Path) -> None:
    program = (
        "from schemas.process_name import ProcessName; from schemas.settings import KafkaSettings;"
        "print(ProcessName('engine', None, KafkaSettings()).current, flush=True); input()"
    )
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().endswith("-0")
        assert found().current == "host-1"
        process.kill()
    assert found().current == "host-0"


def test_a_given_name_is_the_name(folder: Path) -> None:
    name = ProcessName("engine", "engine-1", SETTINGS)
    assert name.current == "engine-1"
    name.release()
    assert list(folder.iterdir()) == []


def test_who_loses_its_name_goes_on_under_a_random_one_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    for name in (ProcessName("projections", "p", SETTINGS), found("projections")):
        lost = name.current
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            name.taken(lost)
            later = name.current
            name.taken(lost)  # by another group
        assert re.fullmatch("host-[0-9a-f]{32}", later)
        assert name.current == later
        (line,) = caplog.messages
        assert lost in line
        assert later in line
        assert "ORCHESTRATION_PROJECTIONS_ID" in line


def test_without_a_folder_the_name_is_random(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "missing"))
    with caplog.at_level(logging.WARNING):
        assert re.fullmatch("host-[0-9a-f]{32}", found().current)
    assert "missing" in caplog.text


def test_a_folder_that_somebody_else_made_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found()
    (made,) = folder.iterdir()
    assert made.stat().st_mode & 0o777 == 0o700
    for lock in made.iterdir():
        lock.unlink()
    made.rmdir()
    made.symlink_to(folder)
    assert re.fullmatch("host-[0-9a-f]{32}", found().current)
    made.unlink()
    made.write_text("")
    assert re.fullmatch("host-[0-9a-f]{32}", found().current)


def test_more_processes_than_numbers_have_random_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_name, "MAX_NUMBERS", 2)
    assert [found().current, found().current] == ["host-0", "host-1"]
    assert re.fullmatch("host-[0-9a-f]{32}", found().current)


def test_kafka_takes_the_name_of_any_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "hööst_1.example:" + "x" * 300)
    name = found().current
    assert re.fullmatch("[a-zA-Z0-9._-]{1,249}", name)
    assert name.startswith("h--st_1.example-xx")


def test_without_a_run_folder_it_is_the_temporary_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    found()
    assert [path.name for path in folder.iterdir()] == [f"orchestration-{os.getuid()}"]
