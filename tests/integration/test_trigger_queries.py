"""The queries about triggers and occurrences on a real Postgres."""

import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest

from projections.migrate import migrate
from projections.queries import read_model
from projections.queries.read_model import ReadModel
from projections.queries.rows import OccurrenceRow, RowPosition, Slice, StartedRow, TriggerRow
from schemas import events
from schemas.settings import ProjectionsSettings
from tests.integration.projection_world import CREATED, LISTENS, WORKFLOW, Tables, Writer, at, fired, started

NOBODY = uuid.UUID(int=99)
TRIGGER = uuid.UUID(int=7)


@pytest.fixture
async def settings(database_url: str, database_schema: str) -> AsyncIterator[ProjectionsSettings]:
    settings = ProjectionsSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    Tables(settings).catch_up()
    yield settings
    Tables(settings).drop()


@pytest.fixture
async def writer(settings: ProjectionsSettings) -> AsyncIterator[Writer]:
    writer = Writer(settings)
    yield writer
    await writer.store.close()


@pytest.fixture
async def model(settings: ProjectionsSettings) -> AsyncIterator[ReadModel]:
    model = ReadModel(settings)
    await model.open()
    yield model
    await model.close()


def listens(name: str, seconds: float = 0) -> events.TriggerCreated:
    return events.TriggerCreated(at=at(seconds), name=name, event="X", workflow_id=str(WORKFLOW))


async def test_a_trigger_is_shown_as_it_was_created(writer: Writer, model: ReadModel) -> None:
    await writer.write((TRIGGER, msgspec.structs.replace(LISTENS, name="pay\0out", request_digest="digest")))
    row = await model.trigger(TRIGGER)
    assert row is not None
    assert row.vars is not None
    assert bytes(row.vars) == b'{"a":"1"}'
    assert msgspec.structs.replace(row, vars=None) == TriggerRow(
        id=TRIGGER,
        name="pay\ufffdout",
        event="X",
        version="v2",
        workflow_id=WORKFLOW,
        filter="true",
        vars=None,
        created_at=at(0),
        request="digest",
    )
    bare = uuid.uuid4()
    await writer.write((bare, listens("")), (TRIGGER, events.TriggerDeleted(at=at(1))))
    row = await model.trigger(bare)
    assert row is not None
    assert (row.version, row.filter, row.vars, row.deleted_at, row.request) == (None, None, None, None, None)
    row = await model.trigger(TRIGGER)
    assert row is not None
    assert (row.deleted_at, row.name) == (at(1), "pay\ufffdout")
    assert await model.trigger(NOBODY) is None


NAMES = ["Payouts", "refunds", "100% of \\payments_", "STRASSE", "Ärger", ""]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", [5, 4, 3, 2, 1, 0]),
        ("pay", [2, 0]),
        ("PAYOUTS", [0]),
        ("%", [2]),
        ("_", [2]),
        ("\\", [2]),
        ("0% OF \\pay", [2]),
        ("straße", [3]),
        ("ÄRG", [4]),
        ("payouts ", []),
        ("pay\0", []),
        ("'; DROP TABLE triggers", []),
    ],
)
async def test_names_are_searched_without_letter_case(
    writer: Writer, model: ReadModel, name: str, found: list[int]
) -> None:
    ids = [uuid.uuid4() for _ in NAMES]
    await writer.write(*((id, listens(text, n)) for n, (id, text) in enumerate(zip(ids, NAMES, strict=True))))
    await writer.write((TRIGGER, listens("pay deleted")), (TRIGGER, events.TriggerDeleted(at=at(1))))
    assert [ids.index(row.id) async for part in model.triggers(name) for row in part.rows] == found


async def test_trigger_pages_are_newest_first_and_neither_skip_nor_repeat(writer: Writer, model: ReadModel) -> None:
    # Pairs of the same instant, so that the id decides between them; every third one has another name.
    ids = [uuid.uuid4() for _ in range(12)]
    await writer.write(*((id, listens("B" if n % 3 else "a", n // 2)) for n, id in enumerate(ids)))
    await writer.write((ids[4], events.TriggerDeleted(at=at(20))))
    ordered = sorted(range(12), key=lambda n: (n // 2, ids[n]), reverse=True)
    for name in ("", "b"):
        expected = [ids[n] for n in ordered if n != 4 and (n % 3 or not name)]
        seen: list[uuid.UUID] = []
        after: RowPosition | None = None
        while rows := (await model.triggers_page(name, after=after, limit=2)).rows:
            if after is not None:
                previous = await model.triggers_page(name, before=rows[0].position, limit=2)
                assert [row.id for row in previous.rows] == seen[-2:]
            seen += [row.id for row in rows]
            after = rows[-1].position
        assert seen == expected


async def test_an_occurrence_is_shown_with_its_instance_as_it_is_now(writer: Writer, model: ReadModel) -> None:
    first, second, instance = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    occurrence = fired(first, 1, instance)
    misfired = events.TriggerFailed(
        at=at(2), occurrence_id=str(second), event={"type": "X"}, source="l/0", offset=2, error="a: bo\0om"
    )
    await writer.write((TRIGGER, occurrence), (TRIGGER, misfired))

    async def shown() -> list[OccurrenceRow]:
        assert await model.occurrences_page(NOBODY, limit=9) == Slice([])
        return (await model.occurrences_page(TRIGGER, limit=9)).rows

    failed, behind = await shown()
    assert (failed.id, failed.trigger_id, failed.date) == (second, TRIGGER, at(2))
    assert (failed.workflow_instance_id, failed.instance, failed.error) == (None, None, "a: bo\ufffdom")
    assert (behind.id, behind.date, behind.workflow_instance_id) == (first, at(1), instance)
    assert (behind.instance, behind.error) == (None, None)
    assert bytes(behind.event) == msgspec.json.encode(occurrence.event)

    await writer.write((WORKFLOW, CREATED), (instance, started(3)))
    assert (await shown())[1].instance == StartedRow(instance, WORKFLOW, at(3), at(3))
    await writer.write((instance, events.InstanceEnded(workflow_id="w", at=at(4), error="canceled")))
    assert (await shown())[1].instance == StartedRow(instance, WORKFLOW, at(3), at(4), at(4), "canceled")
    await writer.write((TRIGGER, events.TriggerDeleted(at=at(5))))
    assert len(await shown()) == 2


async def test_occurrence_pages_and_streams(writer: Writer, model: ReadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_model, "CHUNK_ROWS", 3)
    ids = [uuid.uuid4() for _ in range(7)]
    await writer.write(*((TRIGGER, fired(id, n // 2)) for n, id in enumerate(ids)), (NOBODY, fired(uuid.uuid4())))
    expected = [ids[n] for n in sorted(range(7), key=lambda n: (n // 2, ids[n]), reverse=True)]
    assert [[row.id for row in part.rows] async for part in model.occurrences(TRIGGER)] == [
        expected[:3],
        expected[3:6],
        expected[6:],
    ]
    page = await model.occurrences_page(TRIGGER, limit=2)
    page = await model.occurrences_page(TRIGGER, after=page.rows[-1].position, limit=2)
    assert [row.id for row in page.rows] == expected[2:4]
    page = await model.occurrences_page(TRIGGER, before=page.rows[-1].position, limit=2)
    assert [row.id for row in page.rows] == expected[1:3]
