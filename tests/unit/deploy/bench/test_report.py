"""What is kept of a run, what people see of it, and two runs side by side."""

import subprocess
from pathlib import Path

import click
import msgspec
import pytest

from deploy.bench.comparison import differences, pairs_of, slower
from deploy.bench.machine import this_machine, this_program
from deploy.bench.report import ReportError, encode, read
from deploy.bench.scenarios import NAMES, Case, cases_of, judge_of_runs, reading
from deploy.bench.tables import busy_lines, comparison_table, figures_table
from tests.unit.deploy.bench.reports import NOOP, READ, figures, report

ROUNDS = [(figures(1, 2, 3, 400), 0.008), (figures(1, 2), 0.008), (figures(5, 6, 7, errors={"503": 2}), None)]


def shown(lines: object) -> list[list[str]]:
    return [click.unstyle(str(line)).split() for line in lines]  # type: ignore[attr-defined]


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    written = report((NOOP, list(ROUNDS)), left_out={"send": "no answer"})
    file.write_bytes(encode(written))
    assert read(file) == written
    kept = msgspec.json.decode(file.read_bytes())
    assert kept["machine"]["memoryBytes"] == 8 * 2**30
    assert kept["scenarios"][0]["rounds"][0]["throughput"] == [2, 2]
    assert kept["scenarios"][0]["histogramMs"][0] == [1.0, 1.122, 2]


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', "[1]"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(ReportError, match="is not a file of `orchestration bench --json`"):
        read(file)


def test_a_case_has_the_median_of_its_rounds_and_the_latencies_of_all() -> None:
    (found,) = report((NOOP, list(ROUNDS))).scenarios
    assert found.per_second == 1.5
    assert (found.latency_ms.p50, found.latency_ms.max) == (3, 400)
    assert found.errors == {"503": 2}
    assert found.server_cpu_ms == 3  # of 2 and 4: one round was not told
    assert sum(bucket.requests for bucket in found.histogram_ms) == 9


def test_the_table() -> None:
    heads, noop, read_, left_out = shown(
        figures_table(report((NOOP, list(ROUNDS)), (READ, [(figures(0.5), None)]), left_out={"send": "no answer"}))
    )
    assert heads[-3:] == ["API", "CPU", "MS"]
    assert noop == ["noop", "16", "2", "3.00", "400", "400", "400", "2", "503", "10%", "3.000"]
    assert read_ == ["list-v2", "1", "0", "0.50", "0.50", "0.50", "0.50", "0", "10%"]
    assert left_out == ["send", "was", "left", "out:", "no", "answer"]


def test_without_metrics_nothing_is_said_of_the_servers_cpu() -> None:
    heads, _ = shown(figures_table(report((READ, [(figures(0.5), None)]))))
    assert "API" not in heads


def test_a_load_generator_that_is_busy_is_told() -> None:
    calm, busy = (NOOP, [(figures(1, cpu=0.8), None)]), (READ, [(figures(1), None), (figures(1, cpu=0.93), None)])
    assert busy_lines(report(calm, busy).scenarios) == [
        "list-v2, 1 client: the load generator took 93% of a core, so it may be the bottleneck"
    ]


def test_a_comparison_is_of_what_both_have() -> None:
    before = report((NOOP, [(figures(*[1.0] * 100), None)]), (Case("noop", 64), [(figures(1), None)]))
    now = report((NOOP, [(figures(*[2.0] * 94), None)]), (READ, [(figures(1), None)]))
    (pair,) = pairs_of(before, now)
    assert (pair.case, pair.ratio, pair.p50_ratio) == (NOOP, 0.94, 2)
    assert slower([pair], 0.95) == [pair]
    assert slower([pair], 0.94) == []
    assert shown(comparison_table([pair]))[1] == ["noop", "16", "50", "47", "0.94", "2.00", "2.00"]
    assert shown(comparison_table([])) == [["the", "two", "files", "have", "no", "scenario", "in", "common"]]


def test_a_scenario_that_no_longer_answers_is_slower() -> None:
    before, now = report((NOOP, [(figures(1), None)])), report((NOOP, [(figures(errors={"503": 9}), None)]))
    (pair,) = slower(pairs_of(before, now), 0.95)
    assert (pair.ratio, pair.p99_ratio) == (0, None)


def test_what_makes_a_comparison_hard_is_told() -> None:
    one = report((NOOP, [(figures(1), None)]))
    other = msgspec.structs.replace(one, machine=msgspec.structs.replace(one.machine, cores=64))
    assert differences(one, one) == []
    assert differences(one, other) == ["the earlier file has another machine"]


def test_cases() -> None:
    assert [case.scenario for case in cases_of((), (1,))] == list(NAMES)
    assert cases_of(("list-v2", "noop"), (4, 2, 4)) == [Case("noop", 4), Case("noop", 2), *(
        Case("list-v2", number) for number in (4, 2)
    )]  # fmt: skip
    assert cases_of(("three-noops",), ()) == [Case("three-noops", 64)]


def test_each_client_reads_its_own() -> None:
    assert reading("stage-history", ["w1", "w2"], ["i1", "i2"]).paths == [
        "/instances/i1/stages/0/history",
        "/instances/i2/stages/0/history",
    ]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"data":{"id":"x","terminated":true}}', ""),
        (b'{"data":{"id":"x","terminated":true,"error":"no money"}}', "failed"),
        (b'{"data":{"id":"x","terminated":false}}', "not ended"),
    ],
)
def test_a_run_has_to_end_well(body: bytes, told: str) -> None:
    assert judge_of_runs(body) == told


def test_a_checkout_has_a_commit_and_an_installed_package_has_none(tmp_path: Path) -> None:
    assert this_program(tmp_path).commit is None

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "-m", "first")
    program = this_program(tmp_path)
    assert program.commit is not None
    assert (len(program.commit), program.changed) == (40, False)
    (tmp_path / "new").touch()
    assert this_program(tmp_path).changed


def test_this_machine_is_told() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_bytes > 2**28
    assert machine.kernel
