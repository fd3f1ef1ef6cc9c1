"""Many seeds of trouble: no accepted command is lost or applied twice, no money moves twice, and everything ends."""

import pytest

from schemas import rejections
from tests.simulation.loop import simulate
from tests.simulation.world import PARTITIONS, World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    one = metafunc.config.getoption("--seed")
    count = metafunc.config.getoption("--seeds")
    metafunc.parametrize("seed", [one] if one is not None else range(1, count + 1))


def test_seed(seed: int) -> None:
    world = World(seed)
    simulate(world.run())
    check_money(world)
    check_outcomes(world)
    check_triggers(world)
    for partition in range(PARTITIONS):
        log = world.log.events[partition]
        steps = [world.rng.randint(0, len(log)) for _ in range(5)]
        world.observer.check_reader(log, partition, steps)


def check_money(world: World) -> None:
    """The stack did what the log says, once each, and nothing else."""
    stack, observer = world.stack, world.observer
    assert sum(stack.balances.values()) == 0
    assert set(stack.done) | set(stack.refused) <= set(observer.activities)
    for recorded in (recorded for partition in observer.admitted for recorded in partition):
        event = recorded.event
        if type(event).__name__ == "ActivityEnded" and event.error is None:
            assert f"{recorded.aggregate_id}:{event.stage}:{event.index}" in stack.done


def check_triggers(world: World) -> None:
    """Every occurrence has started its instance."""
    for event in world.observer.fired.values():
        assert event.instance_id in world.observer.instances


def check_outcomes(world: World) -> None:
    """Undecodable commands were buried and rejected; nothing failed by a fault of ours."""
    codes = list(world.observer.rejected.values())
    assert rejections.FAULT not in codes
    undecodable = {place for place, code in world.observer.rejected.items() if code == rejections.UNDECODABLE}
    assert undecodable <= {(partition, offset) for partition, offset, _ in world.log.dead}
