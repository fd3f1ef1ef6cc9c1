"""Many seeds of trouble: no accepted command is lost or applied twice, no money moves twice, and everything ends."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation import seeds
from tests.simulation.loop import simulate
from tests.simulation.running import run
from tests.simulation.seeds import run_seed
from tests.simulation.trace import KEPT
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
SITUATIONS = """
account to account: CreateTransaction
account to account: CreateTransaction CreateTransaction
account to wallet: CreditWallet
account to wallet: CreateTransaction CreditWallet
account to payment: CreateTransaction CreateTransferInitiation
wallet to account: DebitWallet
wallet to account: DebitWallet CreateTransaction
wallet to wallet: CreditWallet
wallet to wallet: DebitWallet CreditWallet
wallet to payment: DebitWallet CreateTransferInitiation
payment to account: CreateTransaction CreateTransaction
payment to account: CreateTransaction CreateTransaction CreateTransaction
payment to wallet: CreateTransaction CreditWallet
payment to wallet: CreateTransaction CreateTransaction CreditWallet
overdraft
money came after INSUFFICIENT_FUND
a payment had been ingested before
refused for good
a stage failed
aborted in the first attempt
aborted while retrying
a late success
a late failure
EvaluationStarted
EvaluationFailed
EvaluationEnded
TriggerFired
TriggerFailed
a snapshot was written
a snapshot was failed
a snapshot was fenced
records were restored from snapshots
events have expired
a snapshot was harmed
a snapshot was harmed, but is one
SET_ASIDE
killed
killed and back
ended
stopped
cut off
evicted
rebalanced
failed over
without coordinator
answered 200
answered 201
answered 204
answered 400
answered 404
answered 413
answered 503
not answered
aborted by a client
waited for an end
a key was used again
a key was used for something else
the database crashed
announcements were lost
an occurrence was shown
"""
"""What the seeds have to meet: every pair, on one ledger and on two, whatever may become of an activity, what happens
to snapshots, what strikes processes, the cluster and the database, and what clients of the API are answered."""
SEEDS_FOR_ALL = 150
"""So many seeds meet each of them several times over."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    one = metafunc.config.getoption("--seed")
    count = metafunc.config.getoption("--seeds")
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [one] if one is not None else range(1, count + 1))


@pytest.fixture(scope="module")
def met() -> Counter[str]:
    """How often each situation was met by the seeds so far."""
    return Counter()


def test_seed(seed: int, met: Counter[str]) -> None:
    met["seeds"] += 1
    met.update(run_seed(seed))


def test_the_seeds_meet_every_situation(met: Counter[str]) -> None:
    if met["seeds"] < SEEDS_FOR_ALL:
        pytest.skip(f"only {met['seeds']} seeds were run")
    assert [words for words in SITUATIONS.split("\n") if words and not met[words]] == []


def test_a_seed_that_fails_tells_its_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(world: World) -> Counter[str]:
        raise AssertionError("a promise was broken")

    monkeypatch.setattr(seeds, "check_money", fail)
    with pytest.raises(AssertionError) as failed:
        run_seed(7)
    steps, command = failed.value.__notes__
    assert command == "To run it again: python -m tests.simulation --seed 7"
    assert len(steps.splitlines()) == KEPT + 1
    assert " events/" in steps
    outcome = run(7)
    assert outcome.failure is not None
    assert outcome.failure.startswith("AssertionError: a promise was broken\n")
    assert outcome.failure.endswith(command)


def test_a_seed_is_the_same_in_every_process() -> None:
    some = (1, 2, 3)
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
