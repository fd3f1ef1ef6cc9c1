"""A reader that stays connected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from schemas.kafka import KafkaFault, KeptReader, NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.records import NewRecord

PLACE = Place("t", 0)


class Counting(MemoryKafka):
    """Counts connections."""

    def __init__(self, cluster: MemoryCluster):
        super().__init__(cluster)
        self.opened = self.open = 0

    @asynccontextmanager
    async def reader(self, *, committed_only: bool = False) -> AsyncIterator[Any]:
        self.opened += 1
        self.open += 1
        try:
            async with super().reader(committed_only=committed_only) as reader:
                yield reader
        finally:
            self.open -= 1


@pytest.fixture
async def kafka() -> Counting:
    cluster = MemoryCluster()
    cluster.create(NewTopic("t", 1, 1))
    cluster.append(PLACE, [NewRecord(b"k", b"v", [], 0)])
    return Counting(cluster)


async def test_one_connection_serves_all_one_after_another(kafka: Counting) -> None:
    kept, users = KeptReader(kafka), 0

    async def ask() -> None:
        nonlocal users
        async with kept.use() as reader:
            users += 1
            assert users == 1
            assert (await reader.limits([PLACE]))[PLACE] == (0, 1)
            reader.read_from({PLACE: 0})
            assert (await reader.take(1.0))[PLACE]
            users -= 1

    assert kafka.opened == 0
    await asyncio.gather(*(ask() for _ in range(5)))
    assert (kafka.opened, kafka.open) == (1, 1)
    await kept.close()
    assert kafka.open == 0


async def test_it_is_connected_again_after_a_fault(kafka: Counting) -> None:
    kept = KeptReader(kafka)
    for error in (KafkaFault("away"), TimeoutError(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            async with kept.use():
                raise error
        assert kafka.open == 0
    async with kept.use() as reader:
        assert await reader.limits([PLACE])
    assert kafka.opened == 4
    await kept.close()
