"""One seed, from its beginning to all that is checked at its end."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from engine.triggers.definitions import Definitions
from schemas import rejections
from schemas.current import decode_current
from schemas.events import InstanceStarted
from tests.simulation import money
from tests.simulation.installation import PARTITIONS
from tests.simulation.loop import simulate
from tests.simulation.world import World


def run_seed(seed: int) -> Counter[str]:
    """Run a seed and check what must hold.

    Args:
        seed: which.

    Returns:
        How often each situation was met.

    Raises:
        AssertionError: a promise was broken. Notes tell the last steps, and the command that runs the seed again.
    """
    with _collected_at_end():
        return run_last_seed(seed)


def run_last_seed(seed: int) -> Counter[str]:
    """As `run_seed`, in a process that is over then: what the seed leaves behind is not looked through."""
    world = World(seed)
    try:
        return _run(world)
    except Exception as error:
        error.add_note("The last steps:\n" + "\n".join(world.trace.lines()))
        error.add_note(f"To run it again: python -m tests.simulation --seed {seed}")
        raise


@contextmanager
def _collected_at_end() -> Iterator[None]:
    """Python looks for cycles when a seed is over: all the time it would be an eighth of what a seed costs.

    Then it looks through nothing else than what the block has made. Nothing of that may be referred to any more.
    """
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
        gc.unfreeze()


def _run(world: World) -> Counter[str]:
    simulate(world.run())
    met = check_money(world)
    met.update(type(r.event).__name__ for some in world.observer.admitted for r in some)
    met.update(world.met)
    met.update(world.observer.rejected.values())
    assert not met["a snapshot was fault"], "a snapshot failed by a defect of ours"
    check_outcomes(world)
    check_triggers(world)
    check_definitions(world)
    for partition in range(PARTITIONS):
        log = world.topics.events[partition]
        steps = [world.rng.randint(0, len(log)) for _ in range(5)]
        world.observer.check_reader(log, partition, steps)
    return met


def check_money(world: World) -> Counter[str]:
    """The stack did what the log says, once each, and nothing else."""
    world.observer.check_results()
    return money.check_money(world.observer.histories, world.stack.books())


def check_triggers(world: World) -> None:
    """Every occurrence has started its instance, as it says."""
    log = (recorded for admitted in world.observer.admitted for recorded in admitted)
    started = {one.aggregate_id: one.event for one in log if isinstance(one.event, InstanceStarted)}
    for event in world.observer.fired.values():
        start = started.get(event.instance_id)
        assert start is not None, f"{event.occurrence_id} has started nothing"
        assert (start.occurrence_id, start.workflow_id) == (event.occurrence_id, event.workflow_id)
        assert start.variables == event.variables, f"{event.occurrence_id} has started with {start.variables}"
        assert start.stages == event.stages, f"{event.occurrence_id} has started with other stages"


def check_definitions(world: World) -> None:
    """An engine that starts now knows the workflows and triggers that exist, and none that was deleted."""
    known = Definitions()
    for record in world.topics.definitions().values():
        known.apply(decode_current(record))
    for workflow in world.observer.workflows.values():
        known_here = known.workflow(workflow.id) is not None
        assert known_here != workflow.deleted, f"who starts now takes workflow {workflow.id} for the opposite"
    listening = {trigger.id for event in ("X", *world.sources.types) for trigger in known.triggers(event)}
    there = {trigger.id for trigger in world.observer.triggers.values() if not trigger.deleted}
    assert listening == there, "who starts now listens for other triggers than there are"


def check_outcomes(world: World) -> None:
    """Undecodable commands were buried and rejected; nothing failed by a fault of ours."""
    codes = list(world.observer.rejected.values())
    assert rejections.FAULT not in codes, "a command failed by a defect of ours"
    undecodable = {place for place, code in world.observer.rejected.items() if code == rejections.UNDECODABLE}
    assert undecodable <= world.topics.dead(), "a command that could not be read is not in commands.dead"
