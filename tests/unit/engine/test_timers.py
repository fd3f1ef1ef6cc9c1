"""The heap of timers."""

from datetime import UTC, datetime, timedelta

from engine.core.effects import Token
from engine.timers import Timers

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
TOKEN = Token("wake", 0)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_due_in_order_and_not_before() -> None:
    timers = Timers(lambda instance_id, token: True)
    for seconds in (3, 1, 2):
        timers.set(after(seconds), f"i{seconds}", TOKEN)
    assert timers.next_at() == after(1)
    assert [name for name, _ in timers.due(after(2))] == ["i1", "i2"]
    assert [name for name, _ in timers.due(after(2.9))] == []
    assert [name for name, _ in timers.due(after(3))] == ["i3"]
    assert timers.next_at() is None


def test_what_is_not_current_any_more_is_passed_over() -> None:
    timers = Timers(lambda instance_id, token: instance_id != "aborted")
    timers.set(after(1), "aborted", TOKEN)
    timers.set(after(1), "other", TOKEN)
    assert list(timers.due(after(1))) == [("other", TOKEN)]


def test_stale_entries_do_not_pile_up() -> None:
    current: set[str] = set()
    timers = Timers(lambda instance_id, token: instance_id in current)
    current.add("kept")
    timers.set(after(10**6), "kept", TOKEN)
    for number in range(100_000):
        timers.set(after(10**6), f"aborted-{number}", TOKEN)
    assert len(timers) <= 1001
    assert [name for name, _ in timers.due(after(10**6))] == ["kept"]
