"""Runs the cases of a target. Every case has random numbers of its own, so that it can be run again alone."""

import asyncio
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

CASE_SECONDS: Final = 60.0
"""Longest time for one case; without it an input that makes the product wait for ever would stop the whole run. It says
nothing about speed: a machine that is shared may stand still for seconds. Targets measure the time of the processor."""
MAX_FAILURES: Final = 10
"""A target is given up after so many failures: they are most likely one and the same."""

Check = Callable[[random.Random], Awaitable[str]]
"""Checks one case and says what the product made of it; raises if that is wrong."""


class Target(Protocol):
    """A module that attacks one part of the product."""

    @property
    def NAME(self) -> str:
        """Its name on the command line."""

    def target(self) -> AbstractAsyncContextManager[Check]:
        """Set up what is attacked."""


@dataclass
class Report:
    """What a target's cases have met."""

    cases: int = 0
    met: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """Each with the command that runs the case again."""


async def attack(target: Target, seed: int, numbers: Iterable[int]) -> Report:
    """Run cases of a target.

    Args:
        target: what to attack.
        seed: decides, with the number of a case, what the case is.
        numbers: which cases.
    """
    report = Report()
    async with target.target() as check:
        for number in numbers:
            report.cases += 1
            try:
                async with asyncio.timeout(CASE_SECONDS):
                    report.met[await check(random.Random(f"{target.NAME}/{seed}/{number}"))] += 1
            except Exception:
                replay = f"python -m tests.fuzz --target {target.NAME} --seed {seed} --case {number}"
                report.failures.append(f"{traceback.format_exc()}again: {replay}")
            if len(report.failures) == MAX_FAILURES:
                break
    return report
