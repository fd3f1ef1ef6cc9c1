"""How long a fault was felt, by partition, as clients saw it who asked each of them over and over."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.answers import Probe
from tests.chaos.faults import Mark
from tests.chaos.system import PARTITIONS

AFTERMATH_SECONDS = 10.0
"""How long after a fault gaps are looked for in partitions that it did not hit."""


@dataclass
class Recovery:
    """What was felt of a fault. Partitions are keys."""

    label: str
    at: float
    """When it began, as monotonic seconds."""
    seconds: float
    """How long the fault lasted."""
    after_begin: dict[int, float | None]
    """Seconds from its beginning to the first success of what was asked for since."""
    after_end: dict[int, float | None]
    """The same from its end; None if there was none."""
    healthy_gap: float | None
    """Longest time without a success in a partition that it did not hit; None if it may have hit all."""


def recoveries(marks: Sequence[Mark], probes: Sequence[Probe]) -> list[Recovery]:
    """What was felt of each fault."""
    return [
        Recovery(
            mark.label,
            round(mark.began, 2),
            mark.ended - mark.began,
            {partition: _success(probes, partition, mark.began) for partition in range(PARTITIONS)},
            {partition: _success(probes, partition, mark.ended) for partition in range(PARTITIONS)},
            _healthy_gap(mark, marks, probes),
        )
        for mark in marks
    ]


def works_again(probes: Sequence[Probe], since: float) -> bool:
    """Whether something that was asked of each partition since a time has succeeded."""
    good = {probe.partition for probe in reversed(probes) if probe.good and probe.began >= since}
    return len(good) == PARTITIONS


def _success(probes: Iterable[Probe], partition: int, since: float) -> float | None:
    ends = [probe.ended for probe in probes if probe.good and probe.partition == partition and probe.began >= since]
    return round(min(ends) - since, 2) if ends else None


def _healthy_gap(mark: Mark, marks: Sequence[Mark], probes: Sequence[Probe]) -> float | None:
    """Other faults at the same time would be felt too, so then there is nothing to tell."""
    until = mark.ended + AFTERMATH_SECONDS
    others = [other for other in marks if other is not mark and other.began < until and other.ended > mark.began]
    if mark.affected is None or len(mark.affected) == PARTITIONS or others:
        return None
    healthy = [partition for partition in range(PARTITIONS) if partition not in mark.affected]
    return round(max(_gap(probes, partition, mark.began, until) for partition in healthy), 2)


def _gap(probes: Sequence[Probe], partition: int, begin: float, until: float) -> float:
    """The longest time without a success, as long as somebody asked."""
    mine = [probe for probe in probes if probe.partition == partition]
    ends = sorted(probe.ended for probe in mine if probe.good)
    asked = [probe.ended for probe in mine if probe.began <= until]
    before = max((end for end in ends if end < begin), default=begin)
    after = next((end for end in ends if end > until), max(asked, default=until))
    moments = [before, *(end for end in ends if begin <= end <= until), after]
    return max((b - a for a, b in pairwise(moments)), default=0.0)
