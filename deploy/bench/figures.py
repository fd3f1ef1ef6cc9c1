"""What one round has measured."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final, NamedTuple

BUCKETS_PER_POWER_OF_TEN: Final = 20
"""A bucket is 12 % wide. Narrower ones are mostly empty after a few seconds."""


@dataclass
class Figures:
    """One round. Times in seconds; `cpu` in seconds per request, by process."""

    name: str
    latencies: list[float]
    """Of the requests that succeeded, in the order of their ends."""
    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)
    ends: list[float] = field(default_factory=list)
    """When each of them ended, since the start."""
    errors: dict[str, int] = field(default_factory=dict)
    """Those that did not succeed, by status of HTTP or by what happened."""
    client_cpu: float = 0.0
    """CPU of the load generator as a share of one core."""

    @property
    def count(self) -> int:
        """How many requests succeeded."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Throughput."""
        return self.count / self.seconds

    def quantile(self, q: float) -> float:
        """A latency quantile in milliseconds."""
        return quantile(sorted(self.latencies), q)

    def throughput(self) -> list[int]:
        """How many requests ended in each whole second."""
        counts = [0] * int(self.seconds)
        for end in self.ends:
            if end < len(counts):
                counts[int(end)] += 1
        return counts


class Bucket(NamedTuple):
    """Latencies of a range, in milliseconds: from its lower bound up to, not including, the upper one."""

    lower: float
    upper: float
    requests: int


def quantile(ordered: list[float], q: float) -> float:
    """A quantile of latencies in seconds that are sorted; in milliseconds, 0 if there are none."""
    return 1000 * ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def histogram(ordered: list[float]) -> list[Bucket]:
    """Sorted latencies in seconds by buckets, from the first that is not empty to the last."""
    if not ordered:
        return []
    first, last = (math.floor(_place(latency)) for latency in (ordered[0], ordered[-1]))
    bounds = [round(10 ** (place / BUCKETS_PER_POWER_OF_TEN), 4) for place in range(first, last + 2)]
    below = [bisect_left(ordered, bound / 1000) for bound in bounds[1:-1]]
    edges = [0, *below, len(ordered)]
    return [Bucket(bounds[n], bounds[n + 1], edges[n + 1] - edges[n]) for n in range(len(bounds) - 1)]


def _place(latency: float) -> float:
    return BUCKETS_PER_POWER_OF_TEN * math.log10(max(1000 * latency, 0.001))
