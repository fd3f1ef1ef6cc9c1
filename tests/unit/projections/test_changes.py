"""What is remembered of the instances that have changed, and when nobody knows any more."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import pytest

from projections.announcements import Announcement, Passed, Start
from projections.queries.changes import Changes
from projections.rebuild.replay import swapped
from projections.rows import ReadPosition
from tests.happened import START

A, B, C = (UUID(int=number) for number in (1, 2, 3))


class Heard:
    """A listener."""

    def __init__(self) -> None:
        self.ids: list[UUID] = []
        self.misses = 0

    def changed(self, ids: Sequence[UUID]) -> None:
        self.ids += ids

    def missed(self) -> None:
        self.misses += 1


def batch(first: int, end: int, *ids: UUID, partition: int = 0) -> Announcement:
    return Announcement(changed=list(ids), begins={partition: first}, positions={partition: Passed(-1, end)})


def listening(positions: dict[int, int], max_remembered: int = 100) -> tuple[Changes, Heard]:
    changes, heard = Changes(max_remembered), Heard()
    changes.connected(positions)
    changes.listen(heard)
    return changes, heard


def test_who_comes_back_learns_what_has_changed_since() -> None:
    changes, heard = listening({0: 10, 1: 20})
    assert changes.mark == "10.20"
    changes.announced(batch(10, 12, A))
    after = changes.mark
    changes.announced(batch(20, 21, B, partition=1))
    changes.announced(
        Announcement(starts=[Start(C, START, START, None, None, [])], begins={0: 12}, positions={0: Passed(3, 13)})
    )
    changes.announced(Announcement(ended=[A], begins={0: 13}, positions={0: Passed(3, 14)}))
    assert (heard.ids, heard.misses) == ([A, B, C, A], 0)
    assert changes.mark == "14.21"
    assert list(changes.since("10.20") or ()) == [A, B, C]
    assert list(changes.since(after) or ()) == [B, C, A]
    assert list(changes.since("14.21") or ()) == []


def test_the_parts_of_one_announcement_belong_together() -> None:
    changes, heard = listening({0: 10})
    changes.announced(Announcement(changed=[A]))
    changes.announced(Announcement(changed=[B], begins={0: 10}))
    assert heard.ids == [A, B]
    assert changes.mark == "10"
    assert list(changes.since("10") or ()) == [A, B], "nobody is told of them again once the last part has come"
    changes.announced(Announcement(positions={0: Passed(-1, 12)}))
    assert (list(changes.since("10") or ()), heard.misses) == ([A, B], 0)
    assert list(changes.since("12") or ()) == []


@pytest.mark.parametrize("end", [10, 14])
def test_a_rebuild_is_never_taken_for_all_that_has_changed(end: int) -> None:
    """Nobody announces what it alone has projected, nor which rows it has corrected."""
    changes, heard = listening({0: 10, 1: 20})
    for text in swapped({0: ReadPosition(end), 1: ReadPosition(20)}):
        changes.announced(msgspec.json.decode(text, type=Announcement))
    assert (heard.misses, changes.mark) == (1, f"{end}.20")
    assert changes.since("10.20") is None or end == 10
    changes.announced(batch(end, end + 1, A))
    assert (heard.ids, heard.misses) == ([A], 1)


@pytest.mark.parametrize("mark", ["", "9", "11", "9.5", "10.1", "a", "10.", "-10", "1O", "10\n", "²0", "1" * 20])
def test_marks_that_say_nothing(mark: str) -> None:
    changes, _ = listening({0: 10})
    assert changes.since("10") is not None
    assert changes.since("10.0") is not None, "a partition of which nothing was seen"
    assert changes.since(mark) is None


def test_what_is_forgotten_is_not_missed_silently() -> None:
    changes, _ = listening({0: 0}, max_remembered=4)
    changes.announced(batch(0, 1, A))
    changes.announced(batch(1, 2, B))
    assert list(changes.since("0") or ()) == [A, B]
    changes.announced(batch(2, 3, C))
    assert changes.since("0") is None
    assert list(changes.since("1") or ()) == [B, C]
    changes.announced(batch(3, 4, *(UUID(int=n) for n in range(9))))
    assert changes.since("3") is None
    assert list(changes.since("4") or ()) == []


def test_a_lost_announcement_is_noticed_with_the_next_one() -> None:
    changes, heard = listening({0: 10})
    changes.announced(batch(11, 12, A))
    assert (heard.ids, heard.misses) == ([A], 1)
    assert changes.since("10") is None
    assert list(changes.since("12") or ()) == []
    changes.announced(Announcement(changed=[B], positions={0: Passed(-1, 13)}))  # of a build that has no `begins`
    assert heard.misses == 2


def test_a_partition_that_nothing_was_read_of_begins_at_its_start() -> None:
    changes, heard = listening({0: 10})
    changes.announced(batch(0, 2, A, partition=1))
    assert (heard.misses, changes.mark) == (0, "10.2")
    changes.announced(batch(1, 2, A, partition=2))
    assert heard.misses == 1


def test_a_lost_announcement_is_noticed_by_polling_but_not_one_that_is_on_its_way() -> None:
    changes, heard = listening({0: 10})
    changes.polled({0: 12})
    changes.announced(batch(10, 12, A))
    changes.polled({0: 14})
    changes.announced(batch(12, 14, A))
    changes.polled({0: 14})
    assert heard.misses == 0
    changes.polled({0: 15})
    assert heard.misses == 0
    changes.polled({0: 17})
    assert (heard.misses, changes.mark) == (1, "15")
    changes.announced(batch(15, 17, A))
    changes.polled({0: 17})
    assert (heard.misses, changes.mark) == (1, "17")


def test_behind_a_new_connection_everything_counts_as_missed_unless_nothing_has_happened() -> None:
    changes, heard = listening({0: 10})
    changes.announced(batch(10, 12, A))
    changes.announced(Announcement(changed=[B]))
    changes.connected({0: 12})
    assert heard.misses == 0
    assert list(changes.since("10") or ()) == [A]
    changes.connected({0: 13})
    assert (heard.misses, changes.since("12")) == (1, None)
    changes.connected({0: 5})  # Postgres has crashed
    assert (heard.misses, changes.mark) == (2, "5")
    assert changes.since("13") is None
