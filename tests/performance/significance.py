"""Whether one commit is slower than another, when every figure is noisy.

Rounds come in pairs that were measured one right after the other, so what slows the machine down for some minutes slows
both. What counts is the ratio in each pair; its median is not moved by a round in which something else ran. How sure
that is comes from a bootstrap: the pairs are drawn again, with repetitions, and the middle 95 % of the medians are the
interval.
"""

import math
import random
from collections.abc import Sequence
from enum import Enum
from statistics import median
from typing import Final, NamedTuple

LEAST_RATIO: Final = 0.95
"""A commit is slower if it has less than this of the other's speed."""
CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2000
MIN_PAIRS: Final = 6
"""With five pairs, not even the least and the greatest ratio enclose the true one in 95 of 100 cases."""
MAX_PAIRS: Final = 100
"""More would take a day; a machine that is less noisy is what helps then."""


class Verdict(Enum):
    """What can be said of a figure."""

    NOT_SLOWER = "not slower"
    SLOWER = "SLOWER"
    UNKNOWN = "can't tell"


class Comparison(NamedTuple):
    """A figure of two commits."""

    base: float
    """The median of its rounds."""
    head: float
    pairs: int
    ratio: float
    """Speed of the head over that of the base: the median of the pairs."""
    low: float
    high: float
    """The interval of the ratio."""

    @property
    def verdict(self) -> Verdict:
        """What can be said."""
        if self.pairs < MIN_PAIRS or self.low < LEAST_RATIO <= self.high:
            return Verdict.UNKNOWN
        return Verdict.SLOWER if self.high < LEAST_RATIO else Verdict.NOT_SLOWER

    @property
    def pairs_needed(self) -> int | None:
        """About how many pairs could tell; None if that is out of reach."""
        distance = abs(math.log(self.ratio / LEAST_RATIO))
        width = math.log(self.high / self.low) / 2
        if not distance or self.pairs * (width / distance) ** 2 > MAX_PAIRS:
            return None
        return max(math.ceil(self.pairs * (width / distance) ** 2), self.pairs + 2, MIN_PAIRS)


def compare(base: Sequence[float], head: Sequence[float], *, more_is_better: bool, seed: int = 1) -> Comparison:
    """Compare a figure.

    Args:
        base: its value in each round of the base, above 0.
        head: its value in the round of the head that belongs to it.
        more_is_better: whether it is a speed; otherwise it is a cost.
        seed: of what is drawn.
    """
    ratios = [now / before if more_is_better else before / now for before, now in zip(base, head, strict=True)]
    chance = random.Random(seed)
    drawn = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    cut = int((1 - CONFIDENCE) / 2 * RESAMPLES)
    return Comparison(
        median(base), median(head), len(ratios), median(ratios), low=drawn[cut], high=drawn[RESAMPLES - 1 - cut]
    )
