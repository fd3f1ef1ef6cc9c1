"""The comparison of log and read model when the retention has deleted instances, both in memory."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry

from projections.memory import MemoryStore, Tables
from projections.metrics import Metrics
from projections.retention import Retention
from projections.states import ENDED
from projections.verification.errors import ReadModelMoved
from projections.verification.read_model import Look, MemoryReadModel
from projections.verification.skipped import MARGIN, Retained, Skipped
from schemas import events
from tests.retention_contract import no_log
from tests.unit.projections.verification.test_verify import (
    WORKFLOW,
    World,
    at,
    changed,
    failing,
    id,
    instance,
    missing,
    retry,
    world,
)

__all__ = ["world"]

LATE: Final = id(900)
"""An instance that ends late, so it stays."""


KEYED: Final = id(901)
"""One that was started with an Idempotency-Key."""


async def delete(world: World, hours: float) -> None:
    """Delete what ended a day before that hour."""
    world.database.now = lambda: at(hours)
    retention = Retention(
        MemoryStore(world.database),
        dict.fromkeys(ENDED, 1),
        Metrics(CollectorRegistry()),
        no_log,
        lambda: at(hours).timestamp(),
    )
    await retention.delete_all()


@pytest.fixture
async def swept(world: World) -> World:
    """One whose instances are deleted, but for those that run and one that ended late."""
    start = events.InstanceStarted(at=at(900), workflow_id=WORKFLOW, stages=[], variables={})  # type: ignore[arg-type]
    world.append(0, LATE, start)
    world.append(0, LATE, *failing(1000))
    keyed = events.InstanceStarted(at=at(1), workflow_id=WORKFLOW, stages=[], variables={}, request_digest="digest")  # type: ignore[arg-type]
    world.append(0, KEYED, keyed, events.InstanceEnded(at=at(2), workflow_id=WORKFLOW))
    await world.project()
    await delete(world, 500)
    assert {int(key[-3:], 16) for key in world.database.tables.instances} == {*range(102, 130, 3), 900}
    return world


async def test_what_was_deleted_is_not_missing(swept: World) -> None:
    doing = set[str]()
    report = await swept.verify(progress=lambda done, total, what: doing.add(what))
    assert report.equal, list(report.lines())
    assert "pass 1: rows of stages" in doing
    assert not [what for what in doing if what.startswith("pass 2")], "what is gone needs no second look"
    told = [line for line in report.lines() if line.startswith("instances")]
    until = at(500) - timedelta(days=1) + MARGIN
    assert told == [
        f"instances whose outcome is {outcome} are compared if they ended after {until:%Y-%m-%d %H:%M} UTC"
        for outcome in ENDED
    ]


@pytest.mark.parametrize(
    "damage",
    [
        missing("instances", id(102)),
        missing("instances", LATE),
        missing("stages", (LATE, 0)),
        changed("instances", LATE, error="other"),
        missing("deleted_instances", KEYED),
        lambda tables: tables.deleted_instances.update({KEYED: "another"}),
        lambda tables: tables.deleted_instances.update({id(102): "digest"}),
    ],
    ids=[
        *("one that runs", "one that ended later", "a stage of it", "what it ended with"),
        *("the key of one that is deleted", "what the key is of", "a key of one that is not deleted"),
    ],
)
async def test_what_is_lost_is_told(swept: World, damage: Callable[[Tables], None]) -> None:
    damage(swept.database.tables)
    assert not (await swept.verify()).equal


async def test_what_a_deletion_leaves_behind_is_told(world: World) -> None:
    """A row of an instance that is gone would be there for ever."""
    stage = world.database.tables.stages[id(101), 0]
    await delete(world, 500)
    assert (await world.verify()).equal
    world.database.tables.stages[id(101), 0] = stage
    (difference,) = (await world.verify()).differences
    assert (difference.table, difference.key["instance_id"], difference.log) == ("stages", id(101), None)


async def test_counts_of_what_was_deleted_may_only_be_higher(swept: World) -> None:
    counts = swept.database.tables.counts
    before = dict(counts)
    for key in [key for key in counts if key.what == "started" and key.hour >= 0]:
        counts[key] -= 1
    assert {difference.table for difference in (await swept.verify()).differences} == {"counts"}
    counts |= before
    (late,) = (
        key for key in counts if key.what == "failed" and key.stage == 0 and key.bucket == 0 and key.hour > 490000 + 1
    )
    assert (await swept.verify()).equal
    counts[late] += 1
    assert not (await swept.verify()).equal, "nothing is deleted of that time"


async def test_one_that_was_deleted_and_retried_is_not_compared(world: World) -> None:
    await delete(world, 500)
    world.append(0, id(124), retry(1, 600), *failing(600)[:1])
    await world.project()
    assert world.database.tables.restored.keys() == {id(124)}
    report = await world.verify()
    assert report.equal, list(report.lines())
    world.append(0, id(124), *failing(601)[1:])
    await world.project()
    report = await world.verify()
    assert report.equal, list(report.lines())
    # The next one is a usual instance.
    world.append(0, id(903), *instance())
    await world.project()
    missing("instances", id(903))(world.database.tables)
    assert not (await world.verify()).equal


def test_one_that_shows_again_meanwhile_is_looked_at_anew() -> None:
    before = Skipped(Retained({}, frozenset({LATE})))
    assert before.covers(Retained({}, frozenset({LATE})))
    assert not before.covers(Retained({}, frozenset({LATE, KEYED})))


@pytest.mark.parametrize(("hours", "finds"), [(1, True), (3, False)])
async def test_more_is_deleted_while_it_looks(world: World, hours: int, finds: bool) -> None:
    """As much as goes by in the time that a comparison takes."""
    world.append(0, LATE, *instance())
    for number in range(8):
        start = events.InstanceStarted(at=at(400), workflow_id=WORKFLOW, stages=[], variables={})  # type: ignore[arg-type]
        world.append(0, id(950 + number), start, events.InstanceEnded(at=at(500 + number), workflow_id=WORKFLOW))
    await world.project()
    now = 500.0 + 24

    class Deleting(MemoryReadModel):
        def snapshot(self) -> Any:
            return super().snapshot()

        async def now(self) -> Look:
            nonlocal now
            look = await super().now()
            now += hours
            await delete(world, now)
            return look

    await delete(world, now)
    model = Deleting(world.database)
    if finds:
        report = await world.verify(read_model=model)
        assert report.equal, list(report.lines())
        assert id(950) not in world.database.tables.instances
    else:
        with pytest.raises(ReadModelMoved):
            await world.verify(read_model=model)
