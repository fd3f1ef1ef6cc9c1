"""CPU time of the API, as its metrics tell it."""

import pytest

from deploy.bench.load import LoadClient
from deploy.bench.server_cpu import Reading, ServerCpu, between

ONE = b"""process_cpu_seconds_total 1.5
process_start_time_seconds 100.0
"""
WORKERS = b"""process_cpu_seconds_total{worker="0"} 1.5
process_cpu_seconds_total{worker="1"} 2.5
process_start_time_seconds{worker="0"} 100.0
process_start_time_seconds{worker="1"} 101.0
"""


@pytest.mark.parametrize(
    ("metrics", "reading"),
    [
        (ONE, Reading(frozenset([100.0]), 1.5)),
        (WORKERS, Reading(frozenset([100.0, 101.0]), 4.0)),
        (b"python_info 1.0\n", None),
    ],
)
async def test_it_is_that_of_all_processes(
    monkeypatch: pytest.MonkeyPatch, metrics: bytes, reading: Reading | None
) -> None:
    async def answer(*_: object) -> tuple[int, bytes]:
        return 200, metrics

    monkeypatch.setattr(LoadClient, "request", answer)
    assert await ServerCpu("http://127.0.0.1:1/api").read() == reading


def test_readings_of_different_processes_tell_nothing() -> None:
    before = Reading(frozenset([100.0, 101.0]), 4.0)
    assert between(before, Reading(frozenset([100.0, 101.0]), 6.5)) == 2.5
    assert between(before, Reading(frozenset([100.0, 102.0]), 6.5)) is None
