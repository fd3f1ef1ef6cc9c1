"""One seed, from its beginning to all that is checked at its end."""

from collections import Counter

from engine.triggers.definitions import Definitions
from schemas import rejections
from schemas.current import decode_current
from tests.simulation import money
from tests.simulation.loop import simulate
from tests.simulation.world import PARTITIONS, World


def run_seed(seed: int) -> Counter[str]:
    """Run a seed and check what must hold.

    Args:
        seed: which.

    Returns:
        How often each situation was met.

    Raises:
        AssertionError: a promise was broken.
    """
    world = World(seed)
    simulate(world.run())
    met = check_money(world)
    met.update(type(r.event).__name__ for some in world.observer.admitted for r in some)
    met.update(world.met + world.harm.met)
    met.update(world.observer.rejected.values())
    assert not met["a snapshot was fault"], "a snapshot failed by a defect of ours"
    check_outcomes(world)
    check_triggers(world)
    check_definitions(world)
    for partition in range(PARTITIONS):
        log = world.log.events[partition]
        steps = [world.rng.randint(0, len(log)) for _ in range(5)]
        world.observer.check_reader(log, partition, steps)
    return met


def check_money(world: World) -> Counter[str]:
    """The stack did what the log says, once each, and nothing else."""
    world.observer.check_results()
    return money.check_money(world.observer.histories, world.stack.books())


def check_triggers(world: World) -> None:
    """Every occurrence has started its instance."""
    for event in world.observer.fired.values():
        assert event.instance_id in world.observer.instances, f"{event.occurrence_id} has started nothing"


def check_definitions(world: World) -> None:
    """An engine that starts now knows the workflows and triggers that exist, and none that was deleted."""
    known = Definitions()
    compacted = {record.key: record for record in world.log.definitions}
    for record in compacted.values():
        known.apply(decode_current(record))
    for workflow in world.observer.workflows.values():
        known_here = known.stages(workflow.id) is not None
        assert known_here != workflow.deleted, f"who starts now takes workflow {workflow.id} for the opposite"
    listening = {trigger.id for trigger in known.triggers("X")}
    there = {trigger.id for trigger in world.observer.triggers.values() if not trigger.deleted}
    assert listening == there, "who starts now listens for other triggers than there are"


def check_outcomes(world: World) -> None:
    """Undecodable commands were buried and rejected; nothing failed by a fault of ours."""
    codes = list(world.observer.rejected.values())
    assert rejections.FAULT not in codes, "a command failed by a defect of ours"
    undecodable = {place for place, code in world.observer.rejected.items() if code == rejections.UNDECODABLE}
    buried = {(partition, offset) for partition, offset, _ in world.log.dead}
    assert undecodable <= buried, "a command that could not be read is not in commands.dead"
