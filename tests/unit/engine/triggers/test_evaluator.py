"""One evaluation of a message that needs links (`engine.triggers.evaluator`)."""

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiokafka.errors import NodeNotReadyError
from msgspec import Raw
from prometheus_client import CollectorRegistry

from engine.core.evaluation import Evaluated, Waiting
from engine.core.trigger import Trigger
from engine.metrics import Metrics
from engine.triggers import evaluator as evaluating
from engine.triggers.definitions import compile_trigger
from engine.triggers.evaluator import LinkEvaluator
from engine.triggers.failures import FilterFailures
from engine.triggers.shares import Shares
from schemas.commands import EvaluateTrigger
from schemas.error_texts import MAX_ERROR_BYTES
from schemas.expressions import Allowance, Expression, LinkAnswer, LinkNeeded, turns
from tests.simulation.loop import START, VirtualClock, simulate

PAYLOAD = {"links": [{"name": name, "uri": f"http://stack/{name}"} for name in ("a", "b", "down", "gone")]}
DAY = 24 * 3600.0
ANSWERS = {
    "http://stack/a": LinkAnswer({"owner": "Ada", "tier": None}),
    "http://stack/b": LinkAnswer("b"),
    "http://stack/down": LinkAnswer(error="HTTP 503", may_pass=True),
    "http://stack/gone": LinkAnswer(error="HTTP 404"),
}


class FakeFetcher:
    """Evaluates with answers that are at hand, and remembers which were fetched."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seconds_of: dict[str, float] = {}
        """Of links that take another time."""
        self.fetched: list[str] = []
        self.most_at_once = self.at_once = 0

    async def evaluate(
        self, expression: Expression, payload: Any, links: dict[str, LinkAnswer], allowance: Allowance
    ) -> Any:
        while True:
            try:
                return await turns.evaluate(expression, payload, links, allowance)
            except LinkNeeded as needed:
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                name = needed.uri.removeprefix("http://stack/")
                await asyncio.sleep(self.seconds_of.get(name, self.seconds))
                self.at_once -= 1
                self.fetched.append(name)
                links[needed.uri] = ANSWERS[needed.uri]


class Desk:
    """An evaluator, and what it tells."""

    def __init__(self, fetcher: FakeFetcher | None = None):
        self.fetcher = fetcher or FakeFetcher()
        self.registry = CollectorRegistry()
        self.deleted: bool | Exception = False
        metrics = Metrics(self.registry)
        self.evaluator = LinkEvaluator(
            self.fetcher,  # type: ignore[arg-type]
            self._workflow_deleted,
            FilterFailures(metrics),
            metrics,
            VirtualClock(),
            DAY,
        )

    async def _workflow_deleted(self, workflow_id: str) -> bool:
        assert workflow_id == "w"
        if isinstance(self.deleted, Exception):
            raise self.deleted
        return self.deleted

    async def evaluate(
        self, since: datetime = START, attempt: int = 1, may_start: bool = True, **trigger: Any
    ) -> Evaluated | None:
        envelope = Raw(msgspec.json.encode({"type": "X", "payload": PAYLOAD}))
        message = EvaluateTrigger(occurrence_id="o", event=envelope, source="ledger/0", offset=1)

        async def may() -> bool:
            return may_start

        state = Trigger(id=str(trigger), version=1, workflow_id="w", **trigger)
        return await self.evaluator.evaluate(state, Waiting(message, since, attempt), may)

    def counted(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("orchestration_engine_link_evaluations_total", {"outcome": outcome})


@pytest.mark.parametrize(
    ("trigger", "expected", "outcome"),
    [
        pytest.param(
            {"filter": "link(event, 'a').owner == 'Ada'", "vars": {"who": "link(event, 'a').owner", "b": "1"}},
            {"matches": True, "variables": {"who": "Ada", "b": "1"}},
            "ok",
            id="it matches",
        ),
        pytest.param({"filter": "link(event, 'a').owner == 'Bob'"}, {}, "ok", id="it does not match"),
        pytest.param(
            {"vars": {"tier": "link(event, 'a').tier"}}, {"matches": True}, "ok", id="nil counts as not given"
        ),
        pytest.param(
            {"vars": {"x": "link(event, 'gone')"}},
            {"matches": True, "error": "x: HTTP 404"},
            "failed",
            id="a variable failed for good",
        ),
        pytest.param(
            {"vars": {"x": "link(event, 'down').x"}},
            {"matches": True, "error": "x: HTTP 503", "may_pass": True},
            "retry",
            id="a variable failed for now",
        ),
        pytest.param(
            {"vars": {"a": "link(event, 'a').owner.name", "x": "link(event, 'down')"}},
            {"matches": True, "error": "a: invalid operation: int(string)"},
            "failed",
            id="a failure that no answer mends",
        ),
        pytest.param(
            {"filter": "link(event, 'gone') == 1"}, {"error": "HTTP 404"}, "failed", id="a filter failed for good"
        ),
        pytest.param(
            {"filter": "link(event, 'down') == 1"},
            {"error": "HTTP 503", "may_pass": True},
            "retry",
            id="a filter failed for now",
        ),
        pytest.param(
            {"filter": "link(event, 'b')"},
            {"error": "its value is not a boolean"},
            "failed",
            id="no boolean",
        ),
    ],
)
def test_what_comes_of_it(trigger: dict[str, Any], expected: dict[str, Any], outcome: str) -> None:
    desk = Desk()
    assert simulate(desk.evaluate(**trigger)) == Evaluated("o", 1, **expected)
    assert desk.counted(outcome) == 1


def test_each_link_is_fetched_once() -> None:
    desk = Desk()
    variables = {"x": "link(event, 'a').owner", "y": "link(event, 'a').owner + link(event, 'b')"}
    simulate(desk.evaluate(filter="link(event, 'a') != nil", vars=variables))
    assert desk.fetcher.fetched == ["a", "b"]


@pytest.mark.parametrize(
    ("seconds_ago", "attempt", "may_pass"),
    [
        (0, 1, True),
        (DAY - 101, 500, True),
        (DAY - 99, 500, False),
        (DAY - 99, 440, False),
        (DAY - 99, 438, True),
        (DAY, 1, True),
    ],
)
def test_after_a_day_a_failure_is_final(seconds_ago: float, attempt: int, may_pass: bool) -> None:
    """But not where only the clock says that a day is over."""
    desk = Desk()
    since = START - timedelta(seconds=seconds_ago)
    result = simulate(desk.evaluate(since, attempt, vars={"x": "link(event, 'down')"}))
    assert result == Evaluated("o", attempt, matches=True, error="x: HTTP 503", may_pass=may_pass)


@pytest.mark.parametrize(
    ("link", "seconds_ago", "reason"),
    [("gone", 0, "link"), ("down", 0, None), ("down", DAY, "link"), ("b", 0, "no_boolean")],
)
def test_filters_that_tell_nothing_are_counted_when_that_is_final(
    link: str, seconds_ago: float, reason: str | None
) -> None:
    desk = Desk()
    text = f"link(event, '{link}')"
    simulate(desk.evaluate(START - timedelta(seconds=seconds_ago), 500, filter=text))
    name = "orchestration_engine_trigger_filter_failures_total"
    found = {
        possible
        for possible in ("link", "error", "no_boolean")
        if desk.registry.get_sample_value(name, {"trigger": str({"filter": text}), "reason": possible})
    }
    assert found == ({reason} if reason else set())


def test_a_workflow_that_was_deleted_meanwhile_is_told() -> None:
    desk = Desk()
    desk.deleted = True
    assert simulate(desk.evaluate(filter="true")) == Evaluated("o", 1, matches=True, workflow_deleted=True)
    assert simulate(desk.evaluate(filter="false")) == Evaluated("o", 1)


def test_while_workflows_cannot_be_read_it_is_tried_again() -> None:
    desk = Desk()
    desk.deleted = NodeNotReadyError()
    result = simulate(desk.evaluate(filter="true"))
    assert result is not None
    assert result.may_pass
    assert result.error is not None
    assert "workflows can't be read" in result.error


def test_what_takes_too_long_is_tried_again() -> None:
    desk = Desk(FakeFetcher(seconds=evaluating.ATTEMPT_SECONDS + 1))
    result = simulate(desk.evaluate(vars={"x": "link(event, 'a')"}))
    assert result == Evaluated("o", 1, error="not evaluated within 60 s", may_pass=True)


def test_errors_are_cut() -> None:
    result = simulate(Desk().evaluate(vars={"x": "link(event, repeat('x', 100000))"}))
    assert result is not None
    assert result.error is not None
    assert len(result.error.encode()) <= MAX_ERROR_BYTES


def test_a_bug_fails_the_message(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(evaluating, "compile_trigger", lambda *_: 1 / 0)
    assert simulate(Desk().evaluate(filter="true")) == Evaluated("o", 1, matches=True, error="internal fault")
    assert "ZeroDivisionError" in caplog.text


def test_what_is_not_wanted_any_more_is_not_started() -> None:
    desk = Desk()
    assert simulate(desk.evaluate(may_start=False, vars={"x": "link(event, 'a')"})) is None
    assert desk.fetcher.fetched == []


def test_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "MAX_EVALUATIONS", 3)
    desk = Desk(FakeFetcher(seconds=1))

    async def scenario() -> None:
        await asyncio.gather(*(desk.evaluate(vars={"x": "link(event, 'a')"}) for _ in range(7)))

    simulate(scenario())
    assert desk.fetcher.most_at_once == 3


def test_messages_of_a_trigger_whose_links_hang_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One trigger never has all slots; of several, the next slot is for whoever has waited longest for one."""
    monkeypatch.setattr(evaluating, "MAX_EVALUATIONS", 4)
    monkeypatch.setattr(evaluating, "MAX_OF_TRIGGER", 2)
    desk = Desk(FakeFetcher(seconds=10))
    ends: dict[str, float] = {}

    async def evaluate(name: str, **trigger: Any) -> None:
        await desk.evaluate(**trigger)
        ends[name] = asyncio.get_running_loop().time()

    async def scenario() -> None:
        begin = asyncio.get_running_loop().time()
        first = [evaluate(f"a{n}", vars={"a": "link(event, 'a')"}) for n in range(20)]
        other = [evaluate("quick", filter="true")]
        second = [evaluate(f"b{n}", vars={"b": "link(event, 'a')"}) for n in range(20)]
        last = [evaluate("c", vars={"c": "link(event, 'a')"})]
        await asyncio.gather(*first, *other, *second, *last)
        ends.update({name: end - begin for name, end in ends.items()})

    simulate(scenario())
    assert ends["quick"] == 0
    assert ends["c"] == 10
    assert ends["a19"] <= 120
    assert ends["b19"] <= 120
    assert desk.fetcher.most_at_once == 4


def allow_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an engine have 8 evaluations at once."""
    for name, most in (("EVALUATIONS", 8), ("OF_TRIGGER", 2), ("OF_FAILING", 3), ("OF_UNPROVEN", 6)):
        monkeypatch.setattr(evaluating, f"MAX_{name}", most)


def test_all_triggers_whose_links_hang_leave_slots_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four triggers, each with as many as it may have, would fill the slots until the last message has failed."""
    allow_few(monkeypatch)
    fetcher = FakeFetcher()
    fetcher.seconds_of["down"] = 10
    desk = Desk(fetcher)
    at_once: list[int] = []

    async def hanging(trigger: int) -> None:
        evaluated = await desk.evaluate(vars={f"t{trigger}": "link(event, 'down')"})
        assert evaluated is not None
        assert evaluated.may_pass

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        tasks = [asyncio.create_task(hanging(trigger)) for trigger in range(4) for _ in range(10)]
        for seconds in (5, 15, 25, 35):
            await asyncio.sleep(begin + seconds - loop.time())
            at_once.append(fetcher.at_once)
            await desk.evaluate(vars={"quick": "link(event, 'a')"})
            assert loop.time() == begin + seconds
        await asyncio.gather(*tasks)

    simulate(scenario())
    assert at_once == [4, 3, 3, 3]


def test_the_first_messages_of_many_triggers_leave_slots_to_those_whose_links_have_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of none of the others it is known yet that its links hang."""
    allow_few(monkeypatch)
    fetcher = FakeFetcher()
    fetcher.seconds_of["down"] = 10
    desk = Desk(fetcher)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        good: dict[str, Any] = {"vars": {"good": "link(event, 'a')"}}
        await desk.evaluate(**good)
        unknown = [
            asyncio.create_task(desk.evaluate(vars={f"t{trigger}": "link(event, 'down')"})) for trigger in range(20)
        ]
        await asyncio.sleep(5)
        assert fetcher.at_once == 6
        for _ in range(5):
            await asyncio.gather(*(desk.evaluate(**good) for _ in range(10)))
        assert loop.time() == begin + 5
        await asyncio.gather(*unknown)
        assert loop.time() <= begin + 40

    simulate(scenario())


def test_a_trigger_whose_links_answer_again_has_all_its_slots() -> None:
    shares = Shares(8, 4, 2, 8)
    held: list[int] = []

    async def scenario() -> None:
        for ends in ("", "f", "g", "gg", "gggg", "ggggf", "fg"):
            shares._room.clear()
            for end in ends:
                shares.note("trigger", failed=end == "f")
            async with contextlib.AsyncExitStack() as given:
                count = 0
                with contextlib.suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(1):
                            await given.enter_async_context(shares.slot("trigger"))
                        count += 1
                held.append(count)

    simulate(scenario())
    assert held == [1, 1, 2, 3, 4, 1, 1]


def test_who_does_not_wait_any_more_gets_no_slot() -> None:
    """Neither while it waits nor with the slot just given; and nothing of it is kept."""

    async def scenario() -> None:
        shares = Shares(1, 1, 1, 1)
        had: list[str] = []

        async def have(name: str) -> None:
            async with shares.slot(name):
                had.append(name)
                await asyncio.sleep(1)

        tasks = [asyncio.create_task(have(name)) for name in ("first", "given", "waiting", "last")]
        await asyncio.sleep(0.5)
        tasks[2].cancel()
        tasks[0].cancel()
        await asyncio.sleep(0)
        tasks[1].cancel()  # it has the slot, and has not run yet
        await asyncio.wait(tasks)
        assert had == ["first", "last"]
        assert vars(shares) == vars(Shares(1, 1, 1, 1))

    simulate(scenario())


def test_so_many_triggers_are_kept_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "MAX_COMPILED", 2)
    compiled: list[str] = []

    def counting(trigger_id: str, definition: Any) -> Any:
        compiled.append(definition.filter)
        return compile_trigger(trigger_id, definition)

    monkeypatch.setattr(evaluating, "compile_trigger", counting)
    desk = Desk()

    async def scenario() -> None:
        for text in ("1", "2", "1", "3", "1", "2"):
            await desk.evaluate(filter=text)

    simulate(scenario())
    assert compiled == ["1", "2", "3", "2"]
