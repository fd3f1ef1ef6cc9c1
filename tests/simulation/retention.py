"""Retention, in some seeds: instances that ended long ago are deleted. What may be gone then, and what has to be.

Told from the settings and the time alone, as `docs/operations.md` has it. A day is some seconds here, longer than any
request takes.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from tests.simulation.loop import VirtualClock
from tests.simulation.processes import SimulatedProcess

CHANCE: Final = 0.3
DAYS: Final = (12, 20)
"""Seconds that a day has."""
SWEEPS: Final = (2.0, 5.0)
"""Between two sweeps, in seconds."""
LIMITS: Final[dict[str, tuple[Any, ...]]] = {
    "projections.retention.FIRST_LIMIT": (1, 50),
    "projections.retention.MAX_LIMIT": (1, 3, 1000),
}
MAX_WAIT_SECONDS: Final = 3.0
"""For how long clients of these seeds wait for an end at most: in truth, far less than a day."""
AHEAD: Final = (timedelta(0), timedelta(days=-1), timedelta(days=400))
"""By how much clocks of the projections are wrong."""
SLACK: Final = timedelta(seconds=10)
"""What a sweep takes, with its pauses and answers that are slow."""


class Retention:
    """What the settings of one seed say.

    Args:
        seed: decides.
        is_possible: whether engines have the right time: by theirs, instances end.
    """

    def __init__(self, seed: int, *, is_possible: bool):
        self.rng = random.Random(f"retention {seed}")
        self.is_on = is_possible and self.rng.random() < CHANCE
        self._day, sweep = self.rng.choice(DAYS), self.rng.choice(SWEEPS)
        self._days: Mapping[str, int | None] = {
            "succeeded": self.rng.choice((1, 2, None)),
            "failed": self.rng.choice((1, 1, 2)),
            "aborted": self.rng.choice((1, 2)),
        }
        self._sweep = timedelta(seconds=sweep)
        self.limits: dict[str, Any] = {}
        """What has to be set to what while this runs."""
        if self.is_on:
            self.limits = {name: self.rng.choice(values) for name, values in LIMITS.items()}
            self.limits |= {
                "projections.retention.DAY": self._day_long,
                "projections.retention.SWEEP_SECONDS": sweep,
                "projections.retention.WAIT_SECONDS": sweep,
            }
        self._was_ahead = False

    @property
    def _day_long(self) -> timedelta:
        return timedelta(seconds=self._day)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the projections."""
        return {f"retention_{outcome}_days": days for outcome, days in self._days.items()} if self.is_on else {}

    @property
    def longest(self) -> timedelta:
        """After so long, all has gone that goes."""
        return max(days or 0 for days in self._days.values()) * self._day_long + 2 * self._sweep + SLACK

    def strike(self, processes: Sequence[SimulatedProcess[Any]]) -> None:
        """Maybe let the clock of a process of the projections be wrong, or right again."""
        if self.is_on and self.rng.random() < 0.3:
            clock = self.rng.choice(processes).clock
            clock.ahead = self.rng.choice(AHEAD)
            self._was_ahead |= clock.ahead > timedelta(0)

    def some_of(self, ids: Sequence[str], count: int) -> list[str]:
        """So many of them."""
        return self.rng.sample(ids, min(count, len(ids)))

    def quiet(self, processes: Iterable[SimulatedProcess[Any]]) -> None:
        """All clocks are right from now on."""
        if self.is_on:
            for process in processes:
                process.clock.ahead = timedelta(0)

    def may_be_gone(self, state: str | None, terminated_at: datetime | None) -> bool:
        """Whether an instance that ended so, at that time, may be deleted by now.

        A process whose clock is ahead deletes too early, but not within a day.
        """
        days = None if state is None or not self.is_on else self._days.get(state)
        if days is None or terminated_at is None:
            return False
        return terminated_at < VirtualClock().now() - (1 if self._was_ahead else days) * self._day_long

    def has_to_be_gone(self, state: str | None, terminated_at: datetime | None) -> bool:
        """Whether it has to be, if nothing goes wrong."""
        days = None if state is None or not self.is_on else self._days.get(state)
        if days is None or terminated_at is None:
            return False
        return terminated_at < VirtualClock().now() - days * self._day_long - 2 * self._sweep - SLACK
