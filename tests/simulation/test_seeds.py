"""Many seeds of trouble: no accepted command is lost or applied twice, no money moves twice, and everything ends."""

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final

import pytest

from tests.simulation.running import Outcome, prepare, run_apart
from tests.simulation.situations import SITUATIONS

SEEDS_FOR_ALL: Final = 150
"""So many seeds meet every situation several times over."""
NICENESS: Final = 10
"""Of the processes that run seeds. Others wait most of the time, and some of them not for long."""


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Mapping[int, Future[Outcome]]]:
    """What becomes of each seed. All cores run them, and are busy with the next ones while a test looks at one."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    seeds = [int(str(test.callspec.params["seed"])) for test in tests if test.function is test_seed]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"), _prepare) as executor:
        yield {seed: executor.submit(run_apart, seed) for seed in seeds}
        executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def met() -> Counter[str]:
    """How often each situation was met by the seeds so far."""
    return Counter()


def _prepare() -> None:
    os.nice(NICENESS)
    prepare()


def test_seed(seed: int, outcomes: Mapping[int, Future[Outcome]], met: Counter[str]) -> None:
    outcome = outcomes[seed].result()
    assert outcome.failure is None, outcome.failure
    met["seeds"] += 1
    met.update(outcome.met)


def test_the_seeds_meet_every_situation(met: Counter[str]) -> None:
    if met["seeds"] < SEEDS_FOR_ALL:
        pytest.skip(f"only {met['seeds']} seeds were run")
    missing = [words for words in SITUATIONS.split("\n") if words and not met[words]]
    assert not missing
