"""The queries of the read model in memory: the contract that they share with Postgres."""

from collections.abc import AsyncIterator

import pytest

from projections.memory import MemoryDatabase, MemoryStore
from projections.memory_queries import MemoryQueries
from projections.ports import Store
from projections.queries.followed import FollowedInstances
from projections.queries.positions import ReadPositions
from projections.queries.read_model import ReadModel
from schemas.settings import ProjectionsSettings
from tests.read_model_contract import ReadModelContract, Subject
from tests.retention_contract import ReadsContract
from tests.search_contract import SearchContract


class Deaf(MemoryDatabase):
    """A database whose announcements may reach nobody."""

    lost = False

    def delivers(self, client: str) -> bool:
        return not self.lost


class Memory(Subject):
    """`tests.read_model_contract.Subject` in memory."""

    def __init__(self) -> None:
        self.database = Deaf()
        self.catch_up()
        self._queries = MemoryQueries(self.database)
        self.store: Store = MemoryStore(self.database)
        self.model = ReadModel(ProjectionsSettings(), self._queries)
        self.positions = self.new_positions()
        self.followed = FollowedInstances(self._queries)

    def new_positions(self) -> ReadPositions:
        return ReadPositions(ProjectionsSettings(), self._queries)

    def lose_announcements(self, lost: bool) -> None:
        self.database.lost = lost

    def cut(self) -> None:
        self.restart()
        self.catch_up()

    def restart(self) -> None:
        self.database.restart(self.database.backup())
        self.store = MemoryStore(self.database)

    def catch_up(self) -> None:
        self.database.caught_up, self.database.partitions = {0}, 1


class TestMemory(ReadModelContract, SearchContract, ReadsContract):
    """See `tests.read_model_contract`."""

    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        memory = Memory()
        await memory.model.open()
        await memory.positions.open()
        yield memory
        await memory.model.close()
        await memory.positions.close()
