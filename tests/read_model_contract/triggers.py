"""What must hold of triggers and their occurrences."""

import uuid
from typing import Final

import msgspec
import pytest

from projections.queries import read_model
from projections.read_rows import (
    OccurrenceRow,
    RowPosition,
    Slice,
    StartedRow,
    TriggerRow,
)
from schemas import events
from tests.happened import CREATED, LISTENS, WORKFLOW, at, fired, started
from tests.read_model_contract.subjects import NOBODY, Subject

TRIGGER: Final = uuid.UUID(int=7)
NAMES: Final = ["Payouts", "refunds", "100% of \\payments_", "STRASSE", "Ärger", ""]


def listens(name: str, seconds: float = 0) -> events.TriggerCreated:
    return events.TriggerCreated(at=at(seconds), name=name, event="X", workflow_id=str(WORKFLOW))


class TriggersContract:
    """See the module."""

    async def test_a_trigger_is_shown_as_it_was_created(self, subject: Subject) -> None:
        await subject.write((TRIGGER, msgspec.structs.replace(LISTENS, name="pay\0out", request_digest="digest")))
        row = await subject.model.trigger(TRIGGER)
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
        await subject.write((bare, listens("")), (TRIGGER, events.TriggerDeleted(at=at(1))))
        row = await subject.model.trigger(bare)
        assert row is not None
        assert (row.version, row.filter, row.vars, row.deleted_at, row.request) == (None, None, None, None, None)
        row = await subject.model.trigger(TRIGGER)
        assert row is not None
        assert (row.deleted_at, row.name) == (at(1), "pay\ufffdout")
        assert await subject.model.trigger(NOBODY) is None

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
    async def test_names_are_searched_without_letter_case(self, subject: Subject, name: str, found: list[int]) -> None:
        ids = [uuid.uuid4() for _ in NAMES]
        await subject.write(*((id, listens(text, n)) for n, (id, text) in enumerate(zip(ids, NAMES, strict=True))))
        await subject.write((TRIGGER, listens("pay deleted")), (TRIGGER, events.TriggerDeleted(at=at(1))))
        assert [ids.index(row.id) async for part in subject.model.triggers(name) for row in part.rows] == found

    async def test_trigger_pages_are_newest_first_and_neither_skip_nor_repeat(self, subject: Subject) -> None:
        # Pairs of the same instant, so that the id decides between them; every third one has another name.
        ids = [uuid.uuid4() for _ in range(12)]
        await subject.write(*((id, listens("B" if n % 3 else "a", n // 2)) for n, id in enumerate(ids)))
        await subject.write((ids[4], events.TriggerDeleted(at=at(20))))
        ordered = sorted(range(12), key=lambda n: (n // 2, ids[n]), reverse=True)
        for name in ("", "b"):
            expected = [ids[n] for n in ordered if n != 4 and (n % 3 or not name)]
            seen: list[uuid.UUID] = []
            after: RowPosition | None = None
            while rows := (await subject.model.triggers_page(name, after=after, limit=2)).rows:
                if after is not None:
                    previous = await subject.model.triggers_page(name, before=rows[0].position, limit=2)
                    assert [row.id for row in previous.rows] == seen[-2:]
                seen += [row.id for row in rows]
                after = rows[-1].position
            assert seen == expected

    async def test_an_occurrence_is_shown_with_its_instance_as_it_is_now(self, subject: Subject) -> None:
        first, second, instance = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        occurrence = fired(first, 1, instance)
        misfired = events.TriggerFailed(
            at=at(2), occurrence_id=str(second), event={"type": "X"}, source="l/0", offset=2, error="a: bo\0om"
        )
        await subject.write((TRIGGER, occurrence), (TRIGGER, misfired))

        async def shown() -> list[OccurrenceRow]:
            assert await subject.model.occurrences_page(NOBODY, limit=9) == Slice([])
            return (await subject.model.occurrences_page(TRIGGER, limit=9)).rows

        failed, behind = await shown()
        assert (failed.id, failed.trigger_id, failed.date) == (second, TRIGGER, at(2))
        assert (failed.workflow_instance_id, failed.instance, failed.error) == (None, None, "a: bo\ufffdom")
        assert (behind.id, behind.date, behind.workflow_instance_id) == (first, at(1), instance)
        assert (behind.instance, behind.error) == (None, None)
        assert bytes(behind.event) == msgspec.json.encode(occurrence.event)

        await subject.write((WORKFLOW, CREATED), (instance, started(3)))
        assert (await shown())[1].instance == StartedRow(instance, WORKFLOW, at(3), at(3))
        await subject.write((instance, events.InstanceEnded(workflow_id="w", at=at(4), error="canceled")))
        assert (await shown())[1].instance == StartedRow(instance, WORKFLOW, at(3), at(4), at(4), "canceled")
        await subject.write((TRIGGER, events.TriggerDeleted(at=at(5))))
        assert len(await shown()) == 2

    async def test_occurrence_pages_and_streams(self, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(read_model, "CHUNK_ROWS", 3)
        ids = [uuid.uuid4() for _ in range(7)]
        await subject.write(*((TRIGGER, fired(id, n // 2)) for n, id in enumerate(ids)), (NOBODY, fired(uuid.uuid4())))
        expected = [ids[n] for n in sorted(range(7), key=lambda n: (n // 2, ids[n]), reverse=True)]
        assert [[row.id for row in part.rows] async for part in subject.model.occurrences(TRIGGER)] == [
            expected[:3],
            expected[3:6],
            expected[6:],
        ]
        page = await subject.model.occurrences_page(TRIGGER, limit=2)
        page = await subject.model.occurrences_page(TRIGGER, after=page.rows[-1].position, limit=2)
        assert [row.id for row in page.rows] == expected[2:4]
        page = await subject.model.occurrences_page(TRIGGER, before=page.rows[-1].position, limit=2)
        assert [row.id for row in page.rows] == expected[1:3]
