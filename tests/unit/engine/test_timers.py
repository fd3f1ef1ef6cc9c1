"""The heap of timers."""

from datetime import UTC, datetime, timedelta

import pytest

from engine import timers as timers_module
from engine.core.effects import Token
from engine.timers import Timers
from engine.wanted import Wanted

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
TOKEN = Token("wake", 0)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def added(timers: Timers, subject: str, seconds: float) -> Wanted:
    """An effect whose timer rings after so many seconds."""
    wanted = Wanted(subject, TOKEN)
    timers.set(wanted, after(seconds))
    return wanted


def due(timers: Timers, seconds: float) -> list[str]:
    """Whose timers have rung by then."""
    return [wanted.subject for wanted in timers.due(after(seconds))]


def test_due_in_order_and_not_before() -> None:
    timers = Timers()
    for seconds in (3, 1, 2):
        added(timers, f"i{seconds}", seconds)
    assert timers.next_at() == after(1)
    assert due(timers, 2) == ["i1", "i2"]
    assert due(timers, 2.9) == []
    assert due(timers, 3) == ["i3"]
    assert timers.next_at() is None


def test_what_was_dropped_does_not_ring() -> None:
    timers = Timers()
    aborted = added(timers, "aborted", 1)
    added(timers, "other", 2)
    timers.drop(aborted)
    assert (aborted.place, len(timers), timers.next_at()) == ("gone", 1, after(2))
    assert due(timers, 2) == ["other"]
    assert len(timers) == 0


def test_what_has_rung_is_started() -> None:
    timers = Timers()
    wanted = added(timers, "i", 1)
    assert (wanted.place, wanted.at) == ("timed", after(1))
    assert due(timers, 1) == ["i"]
    assert (wanted.place, wanted.at) == ("started", None)


@pytest.mark.parametrize("min_swept", [0, 1000])
def test_stale_entries_do_not_pile_up(min_swept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers_module, "MIN_SWEPT", min_swept)
    timers = Timers()
    kept = [added(timers, f"kept-{number}", 10**6 - number) for number in range(3)]
    for number in range(10_000):
        timers.drop(added(timers, f"aborted-{number}", 10**6))
    assert len(timers) == 3
    assert len(timers.entries) <= 3 + 1000
    assert due(timers, 10**6) == [wanted.subject for wanted in reversed(kept)]
