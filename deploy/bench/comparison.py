"""Two reports side by side."""

from collections.abc import Sequence
from typing import NamedTuple

from deploy.bench.report import Measured, Report
from deploy.bench.scenarios import Case


class Pair(NamedTuple):
    """What was measured in both."""

    case: Case
    before: Measured
    now: Measured

    @property
    def ratio(self) -> float:
        """Throughput now over that before; 1 if there was none."""
        return self.now.per_second / self.before.per_second if self.before.per_second else 1.0

    @property
    def p50_ratio(self) -> float | None:
        """The latency now over that before; None if there was none."""
        return _ratio(self.now.latency_ms.p50, self.before.latency_ms.p50)

    @property
    def p99_ratio(self) -> float | None:
        """As `p50_ratio`."""
        return _ratio(self.now.latency_ms.p99, self.before.latency_ms.p99)


def pairs_of(before: Report, now: Report) -> list[Pair]:
    """What is in both reports."""
    earlier = {one.case: one for one in before.scenarios}
    return [Pair(one.case, earlier[one.case], one) for one in now.scenarios if one.case in earlier]


def differences(before: Report, now: Report) -> list[str]:
    """What makes the two hard to compare, in words."""
    found = []
    for what, earlier, later in (
        ("machine", before.machine, now.machine),
        ("URL", before.server.url, now.server.url),
        ("length and number of rounds", before.settings, now.settings),
    ):
        if earlier != later:
            found.append(what)
    return [f"the earlier file has another {what}" for what in found]


def slower(pairs: Sequence[Pair], least: float) -> list[Pair]:
    """Those whose throughput is below this ratio."""
    return [pair for pair in pairs if pair.ratio < least]


def _ratio(now: float, before: float) -> float | None:
    return now / before if now and before else None
