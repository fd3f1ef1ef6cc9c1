"""Which lines of a process are findings, and what explains them."""

from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.evidence import Line
from tests.chaos.logs import LogScanner

TIME = "2026-03-01T10:00:05.000Z"
KAFKA = f"{TIME} ERROR aiokafka.consumer.group_coordinator no coordinator\n"
OURS = f"{TIME} ERROR engine.supervisor a partition failed partition=1\n    Traceback (most recent call last):\n    x\n"


def scanner(path: Path, explained: float | None = None) -> LogScanner:
    return LogScanner(lambda: {"engine-1": [path]}, lambda at: at == explained)


def test_errors_of_ours_are_findings_with_their_traceback(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{TIME} WARNING engine.process Kafka is away\n{OURS}{TIME} INFO engine.process ready\n")
    scanning = scanner(path, datetime(2026, 3, 1, 10, 0, 5, tzinfo=UTC).timestamp())
    assert scanning.scan() == [Line("engine-1", OURS.rstrip())]
    assert scanning.scan() == []
    with path.open("a") as log:
        log.write(OURS)
    assert len(scanning.scan()) == 1, "what comes later is read later"


def test_what_kafkas_client_complains_about_is_explained_by_a_fault_of_that_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(KAFKA)
    assert len(scanner(path).scan()) == 1
    assert scanner(path, datetime(2026, 3, 1, 10, 0, 5, tzinfo=UTC).timestamp()).scan() == []


def test_what_is_written_past_the_log_is_a_finding_if_it_is_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("stopped at once: SIGTERM came twice\n")
    assert scanner(path).scan() == []
    path.write_text("Traceback (most recent call last):\n  File x\nRuntimeError\n")
    assert len(scanner(path).scan()) == 1
    path.write_text(f"{TIME} WARNING py.warnings coroutine 'x' was never awaited\n")
    assert len(scanner(path).scan()) == 1
