"""Reports for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime

from deploy.bench.figures import Figures
from deploy.bench.machine import Machine, Program
from deploy.bench.report import Report, Server, Settings, measured
from deploy.bench.scenarios import Case

MACHINE = Machine("Linux", "6.1", "x86_64", "A <fast> & small CPU", 2, 8 * 2**30)
PROGRAM = Program("0.1.0", "3.11.7", "c0ffee", changed=True)
NOOP = Case("noop", 16)
READ = Case("list-v2", 1)


def figures(
    *milliseconds: float, seconds: float = 2.0, errors: dict[str, int] | None = None, cpu: float = 0.1
) -> Figures:
    """A round whose requests ended one after the other over its whole time."""
    count = len(milliseconds)
    return Figures(
        "round",
        [one / 1000 for one in milliseconds],
        seconds,
        ends=[seconds * number / count for number in range(count)],
        errors=errors or {},
        client_cpu=cpu,
    )


def report(
    *rounds: tuple[Case, Sequence[tuple[Figures, float | None]]], left_out: dict[str, str] | None = None
) -> Report:
    """A run with these rounds."""
    return Report(
        started_at=datetime(2026, 3, 1, 10, tzinfo=UTC),
        machine=MACHINE,
        program=PROGRAM,
        server=Server("http://example.com/api", "0.1.0"),
        settings=Settings(2.0, len(rounds[0][1]) if rounds else 1, 0.0),
        scenarios=[measured(case, found) for case, found in rounds],
        left_out=left_out or {},
    )
