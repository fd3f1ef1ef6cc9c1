"""Expressions beside other work of a process: what runs on the event loop, and what in the thread."""

import asyncio
import threading
from typing import Any

import pytest

from schemas.expressions import Allowance, EvaluationError, Expression, LinkNeeded, Variable, turns

PAYLOAD = {"a": {"b": [1, 2, 3]}, "links": [{"name": "x", "uri": "/x"}]}
LONG = " or ".join(["event.a.b[0] == 2"] * 30)


class Places:
    """Where evaluations came to their end."""

    def __init__(self) -> None:
        self.on_loop: list[str] = []
        self.beside: list[str] = []


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Places:
    seen, main, evaluate = Places(), threading.current_thread(), Expression.evaluate

    def spy(self: Expression, *arguments: Any) -> Any:
        result = evaluate(self, *arguments)
        (seen.on_loop if threading.current_thread() is main else seen.beside).append(self.text)
        return result

    monkeypatch.setattr(Expression, "evaluate", spy)
    return seen


async def value(expression: Expression, allowance: Allowance | None = None) -> Any:
    return await turns.evaluate(expression, PAYLOAD, {}, allowance or Allowance())


@pytest.mark.parametrize("text", ["event.a.b[1]", 'event.a.b[0] == 1 and "x" in ["x"]', "count(1..900, # > 0)"])
async def test_what_is_short_runs_on_the_loop(places: Places, text: str) -> None:
    await value(Expression(text))
    assert (places.on_loop, places.beside) == ([text], [])


@pytest.mark.parametrize(
    "text",
    ["count(1..1100, # > 0)", 'upper(repeat("é", 30000))', "1..900000", LONG, 'event.a.b[0] == 1 or "x" matches "x"'],
    ids=lambda text: text[:20],
)
async def test_what_is_long_runs_beside_it(places: Places, text: str) -> None:
    assert await value(Expression(text)) is not None
    assert (places.on_loop, places.beside) == ([], [text])


async def test_what_was_compiled_beside_the_loop_runs_there(places: Places) -> None:
    for expression in (Expression(LONG), Expression('"pay-1" matches "^pay"')):
        for _ in range(2):
            await value(expression)
        assert (places.on_loop, places.beside) == ([expression.text], [expression.text])
        places.on_loop.clear()
        places.beside.clear()


async def test_a_built_pattern_is_compiled_beside_the_loop(places: Places) -> None:
    expression = Expression('event.a.b[0] == 1 and "x1" matches ("^built" + string(event.a.b[1]))')
    await value(expression)
    await value(expression)  # compiled by now, and the pattern is at hand
    assert len(places.beside) == 1
    assert len(places.on_loop) == 1
    await turns.evaluate(expression, {"a": {"b": [1, 77]}}, {}, Allowance())
    assert len(places.beside) == 2


async def test_others_have_their_turn_between_short_ones() -> None:
    """Without it, hundreds of short variables would hold the event loop as long as a long one."""
    had = 0

    async def work() -> None:
        nonlocal had
        while True:
            had += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    for text, count in (("event.a.b[0]", 400), ("count(1..300, # > 0)", 40)):
        before = had
        allowance = Allowance()
        for _ in range(count):
            await value(Variable(text), allowance)
        assert had - before >= 10, text
    task.cancel()


async def test_steps_of_both_places_are_taken_from_the_allowance() -> None:
    allowance = Allowance()
    for text, least in (("count(1..30000, # > 0)", 90_000), ("count(1..900, # > 0)", 2700)):
        begin = allowance.steps
        await value(Expression(text), allowance)
        assert begin - allowance.steps > least


async def test_errors_come_back_from_both_places() -> None:
    for text in ("event.x.y", "count(1..30000, # > 0) + event.x.y"):
        with pytest.raises(EvaluationError, match=r"^cannot fetch y from nil$"):
            await value(Expression(text))
    for text in ('link(event, "x")', 'count(1..30000, # > 0) + link(event, "x")'):
        with pytest.raises(LinkNeeded):
            await value(Expression(text))


async def test_a_bug_is_an_error_of_the_expression(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Expression, "evaluate", fail)
    for text in ("1", LONG):
        with pytest.raises(EvaluationError, match=r"^internal fault$"):
            await value(Expression(text))
    assert "a bug" in caplog.text
