"""Many seeds of trouble: no accepted command is lost or applied twice, no money moves twice, and everything ends."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from engine.triggers.definitions import Definitions
from schemas import rejections
from schemas.current import decode_current
from tests.simulation import money
from tests.simulation.loop import simulate
from tests.simulation.world import PARTITIONS, World

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
"""
"""What the seeds have to meet: every pair, on one ledger and on two, and whatever may become of an activity."""
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
    world = World(seed)
    simulate(world.run())
    met["seeds"] += 1
    met.update(check_money(world))
    met.update(type(r.event).__name__ for some in world.observer.admitted for r in some)
    check_outcomes(world)
    check_triggers(world)
    check_definitions(world)
    for partition in range(PARTITIONS):
        log = world.log.events[partition]
        steps = [world.rng.randint(0, len(log)) for _ in range(5)]
        world.observer.check_reader(log, partition, steps)


def test_the_seeds_meet_every_situation(met: Counter[str]) -> None:
    if met["seeds"] < SEEDS_FOR_ALL:
        pytest.skip(f"only {met['seeds']} seeds were run")
    assert [words for words in SITUATIONS.split("\n") if words and not met[words]] == []


def test_a_seed_is_the_same_in_every_process() -> None:
    seeds = (1, 2, 3)
    program = f"from tests.simulation.test_simulation import digest\nfor seed in {seeds}: print(digest(seed))"
    # Another order of sets and dictionaries there.
    environment = os.environ | {"PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    there = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == [digest(seed) for seed in seeds]


def digest(seed: int) -> str:
    """What a seed leaves in the logs, byte by byte."""
    world = World(seed)
    simulate(world.run())
    return hashlib.blake2b(repr([world.log.events, world.log.commands]).encode(), digest_size=16).hexdigest()


def check_money(world: World) -> Counter[str]:
    """The stack did what the log says, once each, and nothing else."""
    world.observer.check_results()
    return money.check_money(world.observer.histories, world.stack.books())


def check_triggers(world: World) -> None:
    """Every occurrence has started its instance."""
    for event in world.observer.fired.values():
        assert event.instance_id in world.observer.instances


def check_definitions(world: World) -> None:
    """An engine that starts now knows the workflows that exist, and none that was deleted."""
    known = Definitions()
    compacted = {record.key: record for record in world.log.definitions}
    for record in compacted.values():
        known.apply(decode_current(record))
    for workflow in world.observer.workflows.values():
        assert (known.stages(workflow.id) is None) == workflow.deleted


def check_outcomes(world: World) -> None:
    """Undecodable commands were buried and rejected; nothing failed by a fault of ours."""
    codes = list(world.observer.rejected.values())
    assert rejections.FAULT not in codes
    undecodable = {place for place, code in world.observer.rejected.items() if code == rejections.UNDECODABLE}
    assert undecodable <= {(partition, offset) for partition, offset, _ in world.log.dead}
