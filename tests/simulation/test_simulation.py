"""A seed tells what it was when it fails, and is the same everywhere. What seeds find: `test_seeds`."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation import running, seeds
from tests.simulation.loop import simulate
from tests.simulation.running import Outcome, run, run_apart
from tests.simulation.seeds import run_seed
from tests.simulation.trace import KEPT
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore:.*is multi-threaded, use of fork:DeprecationWarning")
def test_a_seed_that_fails_tells_its_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(world: World) -> Counter[str]:
        raise AssertionError("a promise was broken")

    monkeypatch.setattr(seeds, "check_money", fail)
    with pytest.raises(AssertionError) as failed:
        run_seed(7)
    steps, command = failed.value.__notes__
    assert command == "To run it again: python -m tests.simulation --seed 7"
    _, *lines = steps.splitlines()
    assert len(lines) == KEPT
    assert all(re.match(r" *\d+\.\d{3} s  \S", line) for line in lines), steps
    outcome = run(7)
    assert run_apart(7) == outcome
    assert outcome.failure is not None
    assert outcome.failure.startswith("AssertionError: a promise was broken\n")
    assert outcome.failure.endswith(command)


@pytest.mark.filterwarnings("ignore:.*is multi-threaded, use of fork:DeprecationWarning")
def test_a_process_that_ends_with_its_seed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "run_last_seed", lambda seed: os._exit(seed))
    assert run_apart(7) == Outcome(7, "its process ended before it did", Counter())


def test_a_seed_is_the_same_in_every_process() -> None:
    some = (1,)
    program = f"from tests.simulation.test_simulation import digest\nfor seed in {some}: print(digest(seed))"
    # Another order of sets and dictionaries there.
    environment = os.environ | {"PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    there = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == [digest(seed) for seed in some]


def digest(seed: int) -> str:
    """What a seed leaves in the logs, byte by byte."""
    world = World(seed)
    simulate(world.run())
    return hashlib.blake2b(repr([world.topics.events, world.topics.commands]).encode(), digest_size=16).hexdigest()
