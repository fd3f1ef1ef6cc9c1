"""The read model in memory: the contract that it shares with Postgres."""

from typing import Any

import pytest

from projections.counting import Counts
from projections.memory import MemoryDatabase, MemoryStore
from projections.memory_counts import in_steps
from projections.ports import Store
from tests.retention_contract import RetentionContract
from tests.store_contract import Retained, StoreContract, Subject, rows_of


class Memory:
    """`store_contract.Subject` in memory."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.store: Store = MemoryStore(self.database)
        self._announced: list[str] = []
        self.database.listeners.append(self._announced.append)

    def announced(self) -> list[str]:
        return self._announced

    def rows(self) -> dict[str, set[tuple[Any, ...]]]:
        return rows_of(self.database)

    def counts(self, step: int = 1) -> Counts:
        tables = self.database.tables
        return in_steps(tables.counts, tables.past_counts, step) if step else Counts(tables.counts)

    def retention(self) -> Retained:
        tables = self.database.tables
        return Retained(tables.deleted_instances, tables.retention, set(tables.restored))

    def cut(self) -> None:
        self.database.restart(self.database.backup())

    restart = cut


@pytest.fixture
async def subject() -> Subject:
    return Memory()


class TestMemory(StoreContract):
    """See `tests.store_contract`."""


class TestRetention(RetentionContract):
    """See `tests.retention_contract`."""
