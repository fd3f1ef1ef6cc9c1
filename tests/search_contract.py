"""What must hold when instances are searched, whichever `projections.ports.Database` it is on.

`tests/integration/test_queries.py` runs it on Postgres, `tests/unit/projections/test_memory_queries.py` on the read
model in memory.
"""

import random
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

import pytest

from projections.queries import instance_filters, passing
from projections.queries.instance_filters import InstanceFilters
from projections.queries.read_model import ReadModel
from projections.read_rows import InstanceRow, RowPosition
from projections.states import STATES
from schemas import events
from schemas.resources import InstanceState
from tests.happened import CREATED, WORKFLOW, at, started
from tests.read_model_contract import Subject
from tests.read_model_contract.subjects import NOBODY

OTHER: Final = uuid.UUID(int=2)
COUNT: Final = 24


class Known(NamedTuple):
    """An instance, as the test has made it."""

    id: uuid.UUID
    workflow_id: uuid.UUID
    created_at: datetime
    state: InstanceState
    keys: frozenset[str]
    error: str | None
    terminated_at: datetime | None


def ways(number: int, seconds: float) -> dict[InstanceState, list[Any]]:
    """What follows on the start of an instance, by the state that it leads to."""
    stage: dict[str, Any] = {"workflow_id": "w", "number": 0}
    call: dict[str, Any] = {"at": at(seconds), "stage": 0, "index": 0}
    waits = events.StageStarted(**stage, at=at(seconds), name="RunWaitEvent", input={"event": "Approved"})
    delays = events.StageStarted(**stage, at=at(seconds), name="RunDelay", input={}, wait_until=at(1000))
    sends = events.StageStarted(**stage, at=at(seconds), name="RunSend", input={})
    account = {"id": f"users:{number % 3}", "ledger": "default", "metadata": {"id": "not-a-key"}}
    calls = [sends, events.ActivityStarted(**call, name="GetAccount", input=account)]
    fails = events.ActivityFailed(**call, attempt=1, error="503", retry_at=at(1000))
    pauses = events.ActivityPaused(**call, attempt=2, max_attempts=2, name="GetAccount", error="503")
    answers = events.ActivityEnded(**call, attempt=2, output={"data": [{"txid": number, "id": number}]})

    def ends(error: str | None = None) -> events.InstanceEnded:
        return events.InstanceEnded(at=at(seconds + number % 7), workflow_id="w", error=error)

    return {
        "running": calls,
        "waiting": [waits],
        "delayed": [delays],
        "retrying": [*calls, fails],
        "paused": [*calls, fails, pauses],
        "succeeded": [*calls, fails, answers, ends()],
        "failed": [*calls, ends(f"No FUNDS on users:{number % 3}")],
        "aborted": [waits, ends("canceled")],
    }


async def fill(subject: Subject, seed: int) -> list[Known]:
    """Instances in all states, newest first; pairs of them were created in the same instant."""
    chance = random.Random(seed)
    await subject.write((WORKFLOW, CREATED), (OTHER, CREATED))
    known = []
    for number in range(COUNT):
        id, state, seconds = uuid.UUID(int=chance.getrandbits(128)), chance.choice(STATES), number // 2
        workflow_id = chance.choice((WORKFLOW, OTHER))
        happened = [started(seconds, workflow_id, order=f"Order-{number % 5}"), *ways(number, seconds)[state]]
        # In one batch, or in one for each event.
        parts = [happened] if chance.random() < 0.5 else [[event] for event in happened]
        for part in parts:
            await subject.write(*((id, event) for event in part))
        keys = {f"order-{number % 5}", str(id)}
        if state in ("waiting", "aborted"):
            keys.add("approved")
        elif state != "delayed":
            keys.add(f"users:{number % 3}")
        if state == "succeeded":
            keys.add(str(number))
        end = next((event for event in happened if isinstance(event, events.InstanceEnded)), None)
        ended = None if end is None else end.at
        error = None if end is None else end.error
        known.append(Known(id, workflow_id, at(seconds), state, frozenset(keys), error, ended))
    return sorted(known, key=lambda one: (one.created_at, one.id), reverse=True)


def random_filters(chance: random.Random, known: list[Known]) -> InstanceFilters:
    """Some filters, of which most let something pass."""

    def some(value: Any) -> Any:
        return value if chance.random() < 0.35 else None

    return InstanceFilters(
        workflow_ids=some(chance.choice(((WORKFLOW,), (WORKFLOW, OTHER), (NOBODY, OTHER)))) or (),
        running=chance.random() < 0.15,
        states=some(tuple(state for state in STATES if chance.random() < 0.5)) or (),
        key=some(chance.choice((*sorted(chance.choice(known).keys), "nothing", "not-a-key"))),
        error=some(chance.choice(("no funds", "FUNDS on users:1", "cancel", "nothing"))),
        created_after=some(at(chance.randint(0, 12))),
        created_before=some(at(chance.randint(0, 12))),
        terminated_after=some(at(chance.randint(0, 18))),
        terminated_before=some(at(chance.randint(0, 18))),
    )


def passes(one: Known, wanted: InstanceFilters) -> bool:
    ended = one.terminated_at
    return (
        (not wanted.workflow_ids or one.workflow_id in wanted.workflow_ids)
        and (not wanted.running or ended is None)
        and (not wanted.states or one.state in wanted.states)
        and (wanted.key is None or wanted.key in one.keys)
        and (wanted.error is None or (one.error is not None and wanted.error.lower() in one.error.lower()))
        and (wanted.created_after is None or one.created_at >= wanted.created_after)
        and (wanted.created_before is None or one.created_at < wanted.created_before)
        and (wanted.terminated_after is None or (ended is not None and ended >= wanted.terminated_after))
        and (wanted.terminated_before is None or (ended is not None and ended < wanted.terminated_before))
    )


async def walk(model: ReadModel, filters: InstanceFilters, limit: int, backwards: bool) -> list[InstanceRow]:
    """All that is found, newest first, page by page from one end."""
    found: list[InstanceRow] = []
    place: RowPosition | None = RowPosition(at(-1000), uuid.UUID(int=0)) if backwards else None
    for _ in range(20 * COUNT):
        page = await model.instances_page(filters, limit=limit, **{"before" if backwards else "after": place})
        assert len(page.rows) <= limit
        found = [*page.rows, *found] if backwards else [*found, *page.rows]
        if not page.more:
            return found
        place = page.reached or page.rows[0 if backwards else -1].position
    raise AssertionError("it does not come to an end")


class SearchContract:
    """See the module."""

    @pytest.mark.parametrize("seed", range(2))
    async def test_a_search_finds_what_passes_the_filters_page_by_page_both_ways(
        self, subject: Subject, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = await fill(subject, seed)
        chance = random.Random(seed)
        hits = 0
        keys = {*(key for one in known for key in one.keys), "nothing", "not-a-key"}
        followed = await subject.followed.read([one.id for one in known], keys)
        assert await subject.followed.read([NOBODY], keys) == {}
        for number in range(150):
            # Mostly so few that pages end before they are full.
            monkeypatch.setattr(instance_filters, "MAX_LOOKED_AT", chance.choice((1, 4, 8, 1000)))
            filters = random_filters(chance, known)
            expected = [one.id for one in known if passes(one, filters)]
            hits += bool(expected)
            streamed = [one.id for one in known if passing.passes(filters, *followed[one.id])]
            assert streamed == expected, (number, filters)
            for backwards in (False, True):
                found = await walk(subject.model, filters, chance.choice((1, 2, 3, COUNT)), backwards)
                assert [row.id for row in found] == expected, (number, filters, backwards)
        assert hits > 30

    async def test_each_filter_alone(self, subject: Subject) -> None:
        known = await fill(subject, 7)

        async def check(filters: InstanceFilters, wanted: Callable[[Known], bool]) -> None:
            found = await walk(subject.model, filters, 5, False)
            assert [row.id for row in found] == [one.id for one in known if wanted(one)], filters

        for state in STATES:
            await check(InstanceFilters(states=(state,)), lambda one, state=state: one.state == state)  # type: ignore[misc]
        for key in sorted({key for one in known for key in one.keys}):
            await check(InstanceFilters(key=key), lambda one, key=key: key in one.keys)  # type: ignore[misc]
        await check(InstanceFilters(error="funds"), lambda one: one.state == "failed")
        await check(InstanceFilters(error="ancel"), lambda one: one.state == "aborted")
        await check(InstanceFilters(workflow_ids=(WORKFLOW, OTHER)), lambda one: True)
        await check(InstanceFilters(key="not-a-key"), lambda one: False)
        await check(InstanceFilters(states=("failed",), running=True), lambda one: False)

    async def test_a_page_ends_where_the_looking_stopped(
        self, subject: Subject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(instance_filters, "MAX_LOOKED_AT", 6)
        await subject.write((WORKFLOW, CREATED))
        ids = [uuid.UUID(int=number) for number in range(1, 11)]
        for number, id in enumerate(ids):
            error = "rare" if number == 1 else "other"
            ended = events.InstanceEnded(at=at(20), workflow_id="w", error=error)
            await subject.write((id, started(number)), (id, ended))
        rare = InstanceFilters(error="rare")
        first = await subject.model.instances_page(rare, limit=2)
        assert (first.rows, first.more, first.reached) == ([], True, RowPosition(at(4), ids[4]))
        second = await subject.model.instances_page(rare, after=first.reached, limit=2)
        assert ([row.id for row in second.rows], second.more, second.reached) == ([ids[1]], False, None)
