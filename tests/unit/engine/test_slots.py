"""Slots for calls: how many at once, and in which order those that wait get one."""

import pytest

from engine import slots as slots_module
from engine.core.effects import Token
from engine.slots import CallQueue, CallSlots, ServiceSlots
from engine.wanted import Wanted

TOKEN = Token("call", 0, 0, 1)


class Side:
    """One partition's queue for a service, which remembers what it started."""

    def __init__(self, slots: ServiceSlots, started: list[str]):
        self.started, self.may, self.refuses = started, True, False
        self.queue = CallQueue(slots, self._start, lambda: self.may)

    def add(self, *names: str) -> list[Wanted]:
        """Let calls wait."""
        calls = [Wanted(name, TOKEN) for name in names]
        for call in calls:
            self.queue.add(call)
        return calls

    def _start(self, wanted: Wanted, slots: ServiceSlots) -> bool:
        if self.refuses:
            return False
        self.started.append(wanted.subject)
        return True


@pytest.fixture
def slots() -> ServiceSlots:
    """Those of a service that takes two calls at once."""
    return CallSlots(2, lambda activity: activity.partition(".")[0]).of("ledger.get")


@pytest.fixture
def side(slots: ServiceSlots) -> Side:
    return Side(slots, [])


def test_a_service_has_its_own_slots() -> None:
    all_slots = CallSlots(1, lambda activity: activity.partition(".")[0])
    assert all_slots.of("ledger.get") is all_slots.of("ledger.put")
    assert all_slots.of("ledger.get").take()
    assert not all_slots.of("ledger.put").take()
    assert all_slots.of("wallets.get").take()


def test_calls_start_as_slots_become_free_first_come_first_served(slots: ServiceSlots, side: Side) -> None:
    side.add("1", "2", "3", "4")
    assert (side.started, len(side.queue), slots.waiting) == (["1", "2"], 2, 2)
    slots.give_back()
    assert side.started == ["1", "2", "3"]
    slots.give_back()
    slots.give_back()
    assert (side.started, len(side.queue), slots.waiting) == (["1", "2", "3", "4"], 0, 0)
    assert slots.take()
    assert not slots.take()


def test_partitions_have_slots_in_turn(slots: ServiceSlots, side: Side) -> None:
    side.add(*(f"a{number}" for number in range(100)))
    other = Side(slots, side.started)
    other.add("b0", "b1")
    for _ in range(4):
        slots.give_back()
    assert side.started == ["a0", "a1", "a2", "b0", "a3", "b1"]


def test_a_call_that_is_dropped_does_not_start(slots: ServiceSlots, side: Side) -> None:
    _, _, third, _, fifth = side.add("1", "2", "3", "4", "5")
    side.queue.drop(third)
    side.queue.drop(fifth)
    assert (len(side.queue), slots.waiting) == (1, 1)
    for _ in range(4):
        slots.give_back()
    assert side.started == ["1", "2", "4"]
    assert (len(side.queue), slots.waiting) == (0, 0)


def test_calls_wait_while_their_partition_may_not_start_any(slots: ServiceSlots, side: Side) -> None:
    side.may = False
    side.add("1", "2", "3")
    other = Side(slots, side.started)
    other.add("b")
    assert side.started == ["b"]
    slots.give_back()
    side.may = True
    assert side.started == ["b"]
    side.queue.ask()
    assert side.started == ["b", "1", "2"]


def test_a_call_that_does_not_start_uses_no_slot(slots: ServiceSlots, side: Side) -> None:
    side.refuses = True
    side.add("1", "2", "3")
    assert (side.started, len(side.queue), slots.waiting) == ([], 0, 0)
    side.refuses = False
    side.add("4", "5", "6")
    assert side.started == ["4", "5"]


def test_a_queue_that_was_closed_starts_nothing(slots: ServiceSlots, side: Side) -> None:
    side.add("1", "2", "3", "4")
    other = Side(slots, side.started)
    other.add("b")
    side.queue.close()
    slots.give_back()
    slots.give_back()
    assert side.started == ["1", "2", "b"]
    assert slots.waiting == 0


@pytest.mark.parametrize("min_swept", [0, 1000])
def test_stale_entries_do_not_pile_up(min_swept: int, slots: ServiceSlots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "MIN_SWEPT", min_swept)
    side = Side(slots, [])
    side.add("1", "2", "3", "4")
    for number in range(10_000):
        side.queue.drop(side.add(f"aborted-{number}")[0])
    assert side.queue.entries <= 2 + 1001
    assert len(side.queue) == 2
    for _ in range(2):
        slots.give_back()
    assert side.started == ["1", "2", "3", "4"]
