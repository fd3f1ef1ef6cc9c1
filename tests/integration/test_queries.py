"""The API's queries on a real Postgres: the contract that they share with those in memory, and what only it can do."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo

from projections.database import Postgres
from projections.errors import StoreAway
from projections.migrate import migrate
from projections.ports import Store
from projections.queries.errors import ReadModelUnavailable
from projections.queries.followed import FollowedInstances
from projections.queries.positions import ReadPositions
from projections.queries.read_model import ReadModel
from projections.store import PostgresStore
from schemas.settings import ProjectionsSettings
from tests.happened import CREATED, WORKFLOW, started
from tests.integration.projection_world import Tables
from tests.read_model_contract import ReadModelContract, Subject
from tests.read_model_contract.subjects import DEADLINE_SECONDS, soon
from tests.retention_contract import ReadsContract
from tests.search_contract import SearchContract


class OnPostgres(Subject):
    """`tests.read_model_contract.Subject` on Postgres."""

    def __init__(self, settings: ProjectionsSettings):
        self._settings = settings
        self._tables = Tables(settings)
        self._postgres_store = PostgresStore(settings)
        self.store: Store = self._postgres_store
        self.model, self.positions = ReadModel(settings), self.new_positions()
        self.followed = FollowedInstances(Postgres(settings))

    def new_positions(self) -> ReadPositions:
        return ReadPositions(self._settings)

    def lose_announcements(self, lost: bool) -> None:
        self._postgres_store._schema = "nobody_listens_here" if lost else self._settings.database_schema

    def cut(self) -> None:
        assert self._tables.cut_connections("api%") >= 3

    def restart(self) -> None:
        # What is noted belongs to the start of the server that it was noted in.
        self._tables.rows("DELETE FROM caught_up")
        self.cut()

    def catch_up(self) -> None:
        self._tables.catch_up()


@pytest.fixture
async def settings(database_url: str, database_schema: str) -> AsyncIterator[ProjectionsSettings]:
    settings = ProjectionsSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    Tables(settings).catch_up()
    yield settings
    Tables(settings).drop()


class TestPostgres(ReadModelContract, SearchContract, ReadsContract):
    """See `tests.read_model_contract`."""

    @pytest.fixture
    async def subject(self, settings: ProjectionsSettings) -> AsyncIterator[Subject]:
        postgres = OnPostgres(settings)
        await postgres.model.open()
        await postgres.positions.open()
        yield postgres
        await postgres.model.close()
        await postgres.positions.close()
        await postgres.followed.close()
        await postgres.store.close()

    async def test_a_right_that_is_missing_is_an_outage(self, subject: Subject, settings: ProjectionsSettings) -> None:
        """Postgres answers, but refuses everything. Whoever has taken the right away may give it back."""
        tables = Tables(settings)
        role = f"nobody_of_{settings.database_schema}"
        tables.rows(f'CREATE ROLE "{role}"')
        tables.rows(f'GRANT USAGE ON SCHEMA "{settings.database_schema}" TO "{role}"')
        try:
            refused = replace(settings, database_url=make_conninfo(settings.database_url, options=f"-c role={role}"))
            model, followed = ReadModel(refused), FollowedInstances(Postgres(refused))
            store = PostgresStore(refused)
            for read in (model.instance(UUID(int=1)), model.instances_page(limit=1), followed.read([UUID(int=1)])):
                with pytest.raises(ReadModelUnavailable, match="permission denied"):
                    await read
            with pytest.raises(StoreAway, match="permission denied"):
                await store.positions([0])
            await model.close()
            await followed.close()
            await store.close()
        finally:
            tables.rows(f'DROP OWNED BY "{role}"')
            tables.rows(f'DROP ROLE "{role}"')

    async def test_a_column_whose_type_has_changed_is_read_on(
        self, subject: Subject, settings: ProjectionsSettings
    ) -> None:
        """Statements that a connection has prepared before are refused from then on, whatever they are asked."""
        id = UUID(int=7)

        async def look() -> None:
            assert await subject.model.instance(id) is not None
            assert len((await subject.model.instances_page(limit=9)).rows) == number
            assert id in await subject.followed.read([id])

        number = 1
        await subject.write((WORKFLOW, CREATED), (id, started(0)))
        await look()
        Tables(settings).rows("ALTER TABLE instances ALTER COLUMN retries TYPE bigint")
        await look()
        number = 2
        await subject.write((UUID(int=8), started(1)))
        await look()


async def test_an_absent_postgres_is_told_quickly(settings: ProjectionsSettings) -> None:
    away = msgspec.structs.replace(settings, database_url="postgresql://postgres@127.0.0.1:1/postgres")
    model = ReadModel(away)
    positions = ReadPositions(away)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await model.open()
        await positions.open()
        assert not model.ready
        assert not positions.ready
        with pytest.raises(ReadModelUnavailable):
            await model.workflow(WORKFLOW)
        with pytest.raises(ReadModelUnavailable):
            await positions.rejection(0, 1)
        with pytest.raises(TimeoutError):
            await positions.wait_cause(0, 1, soon(0.01))
        await model.close()
        await positions.close()


async def test_a_schema_that_is_not_migrated_is_unavailable(settings: ProjectionsSettings) -> None:
    model = ReadModel(settings)
    await model.open()
    Tables(settings).drop()
    with pytest.raises(ReadModelUnavailable):
        await model.workflow(WORKFLOW)
    with pytest.raises(ReadModelUnavailable):
        await model.workflows_page(limit=1)
    migrate(settings)
    with pytest.raises(ReadModelUnavailable):  # what is in the log is not in there yet
        await model.workflow(WORKFLOW)
    Tables(settings).catch_up()
    assert await model.workflow(WORKFLOW) is None
    await model.close()
