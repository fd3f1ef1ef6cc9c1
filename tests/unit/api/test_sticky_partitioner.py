"""New instances of the same moment go to the same partition."""

import random
from collections import Counter
from uuid import UUID

import pytest

from api.sticky_partitioner import MAX_GROUPS, STICKY_SECONDS, StickyPartitioner
from schemas.topics import partition_of

rng = random.Random(1)


class Clock:
    """Seconds that a test sets."""

    now = 5.0

    def monotonic(self) -> float:
        return self.now


def some_id() -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def natural(id: UUID, partitions: int) -> int:
    return partition_of(str(id).encode(), partitions)


@pytest.mark.parametrize("partitions", [1, 2, 16, 50, 64])
def test_the_partition_is_that_of_the_id(partitions: int) -> None:
    partitioner = StickyPartitioner(Clock().monotonic)
    for _ in range(300):
        place = partitioner.place(some_id(), partitions)
        assert place.partition == natural(place.id, partitions)


def test_ids_of_a_moment_share_a_partition() -> None:
    clock = Clock()
    partitioner = StickyPartitioner(clock.monotonic)
    first = some_id()
    assert partitioner.place(first, 16) == (first, natural(first, 16))
    places = []
    for _ in range(300):
        clock.now += STICKY_SECONDS / 301
        places.append(partitioner.place(some_id(), 16))
    assert {place.partition for place in places} == {natural(first, 16)}


def test_the_next_moment_has_the_partition_of_its_first_id() -> None:
    clock = Clock()
    partitioner = StickyPartitioner(clock.monotonic)
    for _ in range(100):
        clock.now += STICKY_SECONDS
        id = some_id()
        assert partitioner.place(id, 16) == (id, natural(id, 16))


def test_every_partition_gets_as_many() -> None:
    clock = Clock()
    partitioner = StickyPartitioner(clock.monotonic)
    found: Counter[int] = Counter()
    for _ in range(16_000):
        clock.now += STICKY_SECONDS / 4
        found[partitioner.place(some_id(), 16).partition] += 1
    assert len(found) == 16
    assert 700 < min(found.values()) <= max(found.values()) < 1_300


def test_an_id_keeps_all_but_its_last_16_bits() -> None:
    partitioner = StickyPartitioner(Clock().monotonic)
    ids = [some_id() for _ in range(300)]
    made = [partitioner.place(id, 16).id for id in ids]
    assert [id.int >> 16 for id in made] == [id.int >> 16 for id in ids]
    assert len(set(made)) == 300
    last = UUID(int=ids[0].int | 0xFFFF)  # behind which the tries go on with 0
    assert {partitioner.place(last, 16).id.int >> 16 for _ in range(3)} == {last.int >> 16}


def test_many_partitions_are_shared_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it does not take more tries for one."""
    tries = 0

    def counted(key: bytes, partitions: int) -> int:
        nonlocal tries
        tries += 1
        return partition_of(key, partitions)

    monkeypatch.setattr("api.sticky_partitioner.partition_of", counted)
    partitioner = StickyPartitioner(Clock().monotonic)
    places = [partitioner.place(some_id(), 64) for _ in range(1_000)]
    assert len({place.partition for place in places}) == 64 // MAX_GROUPS
    assert tries < 1_000 * (MAX_GROUPS + 3)


def test_an_id_is_left_where_it_is_rather_than_looked_for_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    partitions = iter([3, *[4] * 10_000])
    monkeypatch.setattr("api.sticky_partitioner.partition_of", lambda *_: next(partitions))
    partitioner = StickyPartitioner(Clock().monotonic)
    assert partitioner.place(some_id(), 16).partition == 3
    id = some_id()
    assert partitioner.place(id, 16) == (id, 4)
