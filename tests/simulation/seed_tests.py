"""The tests of seeds, for the modules that share them: each in a worker of its own, if there are several."""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from tests.simulation.seeds import run_seed
from tests.simulation.situations import SITUATIONS

SEEDS_FOR_ALL: Final = 150
"""So many seeds meet every situation several times over."""


@pytest.fixture(scope="module")
def met() -> Counter[str]:
    """How often each situation was met by the seeds so far."""
    return Counter()


@pytest.fixture
def quiet_product() -> Iterator[None]:
    """The product complains about each fault, as it should. To keep all of that takes a fifth of the time."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("quiet_product")
def test_seed(seed: int, met: Counter[str]) -> None:
    met["seeds"] += 1
    met.update(run_seed(seed))


def test_the_seeds_meet_every_situation(met: Counter[str]) -> None:
    if met["seeds"] < SEEDS_FOR_ALL:
        pytest.skip(f"only {met['seeds']} seeds were run")
    missing = [words for words in SITUATIONS.split("\n") if words and not met[words]]
    assert not missing
