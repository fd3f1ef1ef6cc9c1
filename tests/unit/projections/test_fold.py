"""Events in, rows out: `projections.fold` and `projections.event_reader`, without Postgres."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from projections.announcements import Announcement, Passed, Start, announcements
from projections.event_reader import EventReader, chunks, halves
from projections.fold import Batch, BatchFull
from projections.metrics import Metrics
from projections.read_rows import StageRow
from projections.rows import (
    Activity,
    Advance,
    EventRequest,
    FoundKey,
    Instance,
    Occurrence,
    ReadPosition,
    Rejection,
    Retry,
    Stage,
    Trigger,
    Workflow,
)
from schemas import events, rejections
from schemas.ended_activities import KeptActivity
from schemas.records import Headers, RecordCodec, Recorded
from tests.definitions import definition

WORKFLOW, INSTANCE, TRIGGER, OTHER = "workflow", "instance", "trigger", "other"
T = [datetime(2026, 3, 1, 10, tzinfo=UTC) + timedelta(seconds=n) for n in range(10)]

CREATED = events.WorkflowCreated(at=T[0], name="a", stages=[{"noop": None}])
ENDED = events.InstanceEnded(workflow_id="w", at=T[3], error="x")
KEPT = [
    Activity(
        INSTANCE, 1, index, 1, "ListWallets", "{}", started_at=T[4], terminated_at=T[4], key_number=n, key_used=True
    )
    for index, n in enumerate((None, 3))
]
RETRIED = events.InstanceRetried(
    at=T[4],
    workflow_id="w",
    stages=definition([{"noop": None}] * 2),
    variables={},
    version=9,
    retries=2,
    stage=1,
    kept=[KeptActivity(name="ListWallets", input={}, key_number=n) for n in (0, 3)],
    requests=[("earlier", "its digest")],
    request_key="key",
    request_digest="digest",
)
STARTED = events.InstanceStarted(at=T[0], workflow_id=WORKFLOW, stages=definition([{"noop": {}}]), variables={})
STAGE = events.StageStarted(workflow_id="w", at=T[1], number=0, name="RunNoop", input={"n": 10**30})
CALL = events.ActivityStarted(at=T[2], stage=0, index=0, name="GetWallet", input={"id": "w"})
RUNNING = Activity(INSTANCE, 0, 0, 1, "GetWallet", '{"id":"w"}', started_at=T[2], next_execution=T[2])
FAILED = events.ActivityFailed(at=T[3], stage=0, index=0, attempt=1, error="HTTP 502", retry_at=T[4])
PAUSED = events.ActivityPaused(
    at=T[3], stage=0, index=0, attempt=2, max_attempts=2, name="GetWallet", error="p\0or", code="NO_FUNDS"
)
RESUMED = events.ActivityResumed(at=T[4], stage=0, index=0, by="anna", request_key="key", request_digest="digest")
STAMP = [msgspec.json.encode(at).decode() for at in T]
RESUME = f'{{"at":{STAMP[4]},"action":"resume","by":"anna"}}'
TEXT = [msgspec.json.decode(msgspec.json.encode(at)) for at in T]
SUCCEEDED = events.ActivityEnded(at=T[5], stage=0, index=0, attempt=2, output={"data": {}})

LISTENS = events.TriggerCreated(at=T[0], name="Payouts", event="X", workflow_id=WORKFLOW)
MESSAGE = {"type": "X", "payload": {"n": 10**30, "text": "\0"}}
FIRED = events.TriggerFired(
    at=T[1],
    occurrence_id="o1",
    event=MESSAGE,
    source="ledger/0",
    offset=5,
    workflow_id=WORKFLOW,
    instance_id=INSTANCE,
    stages=Raw(b"[]"),
    variables={"secret": "x"},
)
MISFIRED = events.TriggerFailed(
    at=T[2], occurrence_id="o2", event=MESSAGE, source="ledger/0", offset=6, error="a: bo\0om"
)
ENVELOPE = r'{"type":"X","payload":{"n":1000000000000000000000000000000,"text":"\u0000"}}'


def folded(*happened: tuple[str, Any] | tuple[str, Any, int | None], partition: int = 0) -> Batch:
    batch = Batch()
    for offset, (aggregate_id, event, *cause) in enumerate(happened):
        batch.add(partition, Recorded(aggregate_id, offset + 1, event, offset, cause[0] if cause else None))
    return batch


@pytest.mark.parametrize(
    ("happened", "rows"),
    [
        pytest.param(
            [(WORKFLOW, CREATED)],
            {"workflows": [Workflow(WORKFLOW, T[0], "a", '[{"noop":null}]', T[0])]},
            id="workflow created",
        ),
        pytest.param(
            [(WORKFLOW, events.WorkflowDeleted(at=T[1]))],
            {"workflows": [Workflow(WORKFLOW, T[1], deleted_at=T[1])]},
            id="workflow of an earlier batch deleted",
        ),
        pytest.param(
            [(WORKFLOW, CREATED), (WORKFLOW, events.WorkflowDeleted(at=T[1]))],
            {"workflows": [Workflow(WORKFLOW, T[1], "a", '[{"noop":null}]', T[0], T[1])]},
            id="created and deleted in one batch is one row",
        ),
        pytest.param(
            [
                (INSTANCE, STARTED),
                (INSTANCE, STAGE),
                (INSTANCE, events.StageEnded(workflow_id="w", at=T[2], number=0)),
                (INSTANCE, events.InstanceEnded(workflow_id="w", at=T[3])),
            ],
            {
                "instances": [Instance(INSTANCE, T[3], WORKFLOW, T[0], T[3], variables="{}", state="succeeded")],
                "stages": [Stage(INSTANCE, 0, "RunNoop", '{"n":1000000000000000000000000000000}', T[1], T[2])],
            },
            id="a whole run is one row of each kind",
        ),
        pytest.param(
            [
                (INSTANCE, events.StageEnded(workflow_id="w", at=T[2], number=3, error="x")),
                (INSTANCE, events.InstanceEnded(workflow_id="w", at=T[3], error="x")),
            ],
            {
                "instances": [
                    Instance(
                        INSTANCE, T[3], terminated_at=T[3], error="x", waiting="", state="failed", retryable="[2,[]]"
                    )
                ],
                "stages": [Stage(INSTANCE, 3, terminated_at=T[2], error="x")],
            },
            id="the end of what an earlier batch started",
        ),
        pytest.param(
            [
                (INSTANCE, RETRIED),
                (INSTANCE, events.StageStarted(workflow_id="w", at=T[4], number=1, name="RunSend", input={})),
                (INSTANCE, events.ActivityStarted(at=T[4], stage=1, index=2, name="GetWallet", input={}, key_number=1)),
            ],
            {
                "instances": [Instance(INSTANCE, T[4], "w", activity="GetWallet", state="running", retries=2)],
                "stages": [Stage(INSTANCE, 1, "RunSend", "{}", T[4])],
                "activities": [
                    *KEPT,
                    Activity(INSTANCE, 1, 2, 1, "GetWallet", "{}", None, T[4], next_execution=T[4], key_number=1),
                ],
                "event_requests": [
                    EventRequest(INSTANCE, "earlier", "its digest"),
                    EventRequest(INSTANCE, "key", "digest"),
                ],
                "retries": [Retry(INSTANCE, 1, 1, 2, starts=True, activities=[2])],
            },
            id="another pass",
        ),
        pytest.param(
            [(INSTANCE, RETRIED), (INSTANCE, events.InstanceEnded(workflow_id="w", at=T[4], error="x", arrived=[3]))],
            {
                "instances": [
                    Instance(
                        INSTANCE,
                        T[4],
                        "w",
                        terminated_at=T[4],
                        error="x",
                        state="failed",
                        retries=2,
                        retryable="[2,[3]]",
                    )
                ],
                "activities": KEPT,
                "event_requests": [
                    EventRequest(INSTANCE, "earlier", "its digest"),
                    EventRequest(INSTANCE, "key", "digest"),
                ],
                "retries": [Retry(INSTANCE, 1, 1, 2)],
            },
            id="another pass that ends before its stage starts",
        ),
        pytest.param(
            [(INSTANCE, events.EventReceived(at=T[4], name="approved"))],
            {"instances": [Instance(INSTANCE, T[4], keys=1)], "keys": [FoundKey(INSTANCE, "approved", room=64)]},
            id="an event moves updated_at, and its name becomes a key",
        ),
        pytest.param(
            [
                (INSTANCE, events.EventReceived(at=T[4], name="go\n", by="anna", reason="two\nlines")),
                (INSTANCE, events.EventReceived(at=T[4], name="go")),
                (INSTANCE, replace(ENDED, by="bob", request_key="key", request_digest="digest")),
            ],
            {
                "instances": [
                    Instance(
                        INSTANCE,
                        T[3],
                        terminated_at=T[3],
                        error="x",
                        state="failed",
                        keys=2,
                        acts=f'{{"at":{STAMP[4]},"action":"event","name":"go\\n","by":"anna","reason":"two\\nlines"}}\n'
                        f'{{"at":{STAMP[3]},"action":"abort","by":"bob"}}',
                        retryable="[3,[]]",
                    )
                ],
                "event_requests": [EventRequest(INSTANCE, "key", "digest")],
                "keys": [FoundKey(INSTANCE, "go", room=64)],
            },
            id="acts, one a line; none without anybody or a reason",
        ),
        pytest.param(
            [(INSTANCE, replace(STARTED, by="anna"))],
            {
                "instances": [
                    Instance(
                        INSTANCE,
                        T[0],
                        WORKFLOW,
                        T[0],
                        variables="{}",
                        state="running",
                        acts=f'{{"at":{STAMP[0]},"action":"run","by":"anna"}}',
                    )
                ]
            },
            id="a run by somebody",
        ),
        pytest.param(
            [
                (WORKFLOW, replace(CREATED, by="anna")),
                (WORKFLOW, events.WorkflowDeleted(at=T[1], reason="old")),
                (TRIGGER, replace(LISTENS, reason="new")),
                (OTHER, events.TriggerDeleted(at=T[1], by="bob")),
            ],
            {
                "workflows": [
                    Workflow(
                        WORKFLOW,
                        T[1],
                        "a",
                        '[{"noop":null}]',
                        T[0],
                        T[1],
                        acts=f'{{"at":{STAMP[0]},"action":"create","by":"anna"}}\n'
                        f'{{"at":{STAMP[1]},"action":"delete","reason":"old"}}',
                    )
                ],
                "triggers": [
                    Trigger(
                        TRIGGER,
                        "Payouts",
                        "payouts",
                        "X",
                        workflow_id=WORKFLOW,
                        created_at=T[0],
                        acts=f'{{"at":{STAMP[0]},"action":"create","reason":"new"}}',
                    ),
                    Trigger(OTHER, deleted_at=T[1], acts=f'{{"at":{STAMP[1]},"action":"delete","by":"bob"}}'),
                ],
            },
            id="acts of workflows and triggers",
        ),
        pytest.param(
            [(INSTANCE, events.LateResultRecorded(at=T[4], stage=0, index=0, attempt=1, output={}))],
            {},
            id="a late result changes nothing",
        ),
        pytest.param([(INSTANCE, events.CommandSkipped(at=T[4]), 7)], {}, id="a skipped command changes nothing"),
        pytest.param(
            [(INSTANCE, events.CommandRejected(at=T[4], code=rejections.ENDED, message="has ended"), 7)],
            {"rejections": [Rejection(0, 7, rejections.ENDED, "has ended", T[4])]},
            id="a rejection touches no instance",
        ),
        pytest.param(
            [(INSTANCE, CALL)],
            {
                "instances": [Instance(INSTANCE, T[2], activity="GetWallet", keys=1)],
                "keys": [FoundKey(INSTANCE, "w", room=64)],
                "activities": [
                    Activity(INSTANCE, 0, 0, 1, "GetWallet", '{"id":"w"}', started_at=T[2], next_execution=T[2])
                ],
            },
            id="activity: the first attempt runs",
        ),
        pytest.param(
            [(INSTANCE, FAILED)],
            {
                "instances": [
                    Instance(INSTANCE, T[3], waiting=f'["retry","{TEXT[3]}",null,"{TEXT[4]}",2,null]', state="retrying")
                ],
                "activities": [Activity(INSTANCE, 0, 0, 2, last_failure="HTTP 502", next_execution=T[4])],
            },
            id="activity: the next attempt comes",
        ),
        pytest.param(
            [(INSTANCE, CALL), (INSTANCE, FAILED), (INSTANCE, SUCCEEDED)],
            {
                "instances": [Instance(INSTANCE, T[5], activity="GetWallet", waiting="", state="running", keys=1)],
                "keys": [FoundKey(INSTANCE, "w", room=64)],
                "activities": [
                    Activity(
                        INSTANCE,
                        0,
                        0,
                        2,
                        "GetWallet",
                        '{"id":"w"}',
                        '{"data":{}}',
                        started_at=T[2],
                        terminated_at=T[5],
                        last_failure="HTTP 502",
                    )
                ],
            },
            id="activity: success keeps attempt and last failure",
        ),
        pytest.param(
            [(INSTANCE, events.ActivityEnded(at=T[5], stage=1, index=2, attempt=4, error="no", code="VALIDATION"))],
            {
                "instances": [Instance(INSTANCE, T[5], waiting="", state="running")],
                "activities": [
                    Activity(INSTANCE, 1, 2, 4, terminated_at=T[5], error="no", last_failure_type="VALIDATION")
                ],
            },
            id="activity: failed for good, without output",
        ),
        pytest.param(
            [(INSTANCE, PAUSED)],
            {
                "instances": [
                    Instance(
                        INSTANCE,
                        T[3],
                        waiting=f'["resume","{TEXT[3]}","GetWallet",null,2,[0,0,2,"p\ufffdor","NO_FUNDS"]]',
                        state="paused",
                    )
                ],
                "activities": [
                    Activity(
                        INSTANCE,
                        0,
                        0,
                        2,
                        last_failure="p\ufffdor",
                        paused_at=T[3],
                        max_attempts=2,
                        last_failure_type="NO_FUNDS",
                    )
                ],
            },
            id="activity: paused",
        ),
        pytest.param(
            [(INSTANCE, PAUSED), (INSTANCE, RESUMED)],
            {
                "instances": [Instance(INSTANCE, T[4], waiting="", state="running", acts=RESUME)],
                "activities": [Activity(INSTANCE, 0, 0, 1, last_failure="p\ufffdor", next_execution=T[4])],
                "event_requests": [EventRequest(INSTANCE, "key", "digest")],
            },
            id="activity: resumed, by a request with a key",
        ),
        pytest.param(
            [(INSTANCE, RESUMED)],
            {
                "instances": [Instance(INSTANCE, T[4], waiting="", state="running", acts=RESUME)],
                "activities": [Activity(INSTANCE, 0, 0, 1, next_execution=T[4])],
                "event_requests": [EventRequest(INSTANCE, "key", "digest")],
            },
            id="activity: resumed, and paused by an earlier batch",
        ),
        pytest.param(
            [(WORKFLOW, events.WorkflowCreated(at=T[0], name="a\0b", stages=[{"noop": {"x": "\0"}}]))],
            {"workflows": [Workflow(WORKFLOW, T[0], "a\ufffdb", r'[{"noop":{"x":"\u0000"}}]', T[0])]},
            id="NUL, which Postgres can't hold, is replaced in texts and escaped in JSON",
        ),
        pytest.param(
            [(TRIGGER, LISTENS)],
            {"triggers": [Trigger(TRIGGER, "Payouts", "payouts", "X", workflow_id=WORKFLOW, created_at=T[0])]},
            id="trigger created",
        ),
        pytest.param(
            [
                (
                    TRIGGER,
                    events.TriggerCreated(
                        at=T[0],
                        name="Stra\0ße",
                        event="X\0",
                        version="v\0",
                        workflow_id=WORKFLOW,
                        filter="'\0'",
                        vars={"a\0": "'\0'"},
                        request_digest="digest",
                    ),
                ),
                (TRIGGER, events.TriggerDeleted(at=T[1])),
            ],
            {
                "triggers": [
                    Trigger(
                        TRIGGER,
                        "Stra\ufffdße",
                        "stra\ufffdsse",
                        "X\ufffd",
                        "v\ufffd",
                        WORKFLOW,
                        "'\ufffd'",
                        r"""{"a\u0000":"'\u0000'"}""",
                        T[0],
                        T[1],
                        "digest",
                    )
                ]
            },
            id="trigger with everything, created and deleted in one batch",
        ),
        pytest.param(
            [(TRIGGER, events.TriggerDeleted(at=T[1]))],
            {"triggers": [Trigger(TRIGGER, deleted_at=T[1])]},
            id="trigger of an earlier batch deleted",
        ),
        pytest.param(
            [(TRIGGER, FIRED), (TRIGGER, MISFIRED), (TRIGGER, events.InstanceRequested(at=T[3], occurrence_id="o1"))],
            {
                "occurrences": [
                    Occurrence("o1", TRIGGER, T[1], ENVELOPE, INSTANCE),
                    Occurrence("o2", TRIGGER, T[2], ENVELOPE, error="a: bo\ufffdom"),
                ]
            },
            id="occurrences, of which one has started an instance",
        ),
    ],
)
def test_rows(happened: Sequence[tuple[str, Any]], rows: dict[str, list[Any]]) -> None:
    batch = folded(*happened)
    for table in ("workflows", "instances", "stages", "activities", "rejections", "triggers", "keys", "retries"):
        assert list(getattr(batch, table).values()) == rows.get(table, []), table
    assert batch.occurrences == rows.get("occurrences", [])
    assert batch.event_requests == rows.get("event_requests", [])


@pytest.mark.parametrize(
    ("started", "ended", "announced"),
    [(5, 5, []), (5, 6, [INSTANCE]), (5, None, [INSTANCE]), (None, None, [INSTANCE])],
    ids=["same command", "other command", "a timer", "both unknown"],
)
def test_ends_are_announced_unless_the_starting_cause_says_them(
    started: int | None, ended: int | None, announced: list[str]
) -> None:
    assert (
        folded((INSTANCE, STARTED, started), (INSTANCE, events.InstanceEnded(workflow_id="w", at=T[1]), ended)).ended
        == announced
    )


def test_a_retry_begins_another_batch_if_its_instance_has_rows_in_this_one() -> None:
    batch = folded((INSTANCE, ENDED), (OTHER, RETRIED))
    with pytest.raises(BatchFull):
        batch.add(0, Recorded(INSTANCE, 5, RETRIED, 5, None))
    assert batch.instances[INSTANCE].terminated_at == T[3]
    assert batch.retries.keys() == {OTHER}


def test_an_end_in_a_later_batch_is_announced() -> None:
    assert folded((INSTANCE, events.InstanceEnded(workflow_id="w", at=T[1]), 5), (OTHER, STARTED, 5)).ended == [
        INSTANCE
    ]


def test_announcements_stay_below_the_limit_of_postgres_and_lose_nothing() -> None:
    batch = Batch()
    batch.advances = [Advance(p, 0, 2**60 + p, 3, 2**60) for p in range(250)]
    batch.ended = [f"{n:032x}----" for n in range(1000)]
    ids = [str(UUID(int=n)) for n in range(100)]
    for id in ids:
        batch.instances[id] = Instance(id, T[1], WORKFLOW, T[0], error="é" * 99)
    texts = list(announcements(batch))
    assert max(len(text.encode()) for text in texts) < 7_900
    decoded = [msgspec.json.decode(text) for text in texts]
    positions = {int(p): v for text in decoded for p, v in text["p"].items()}
    assert positions == {p: [2**60, 2**60 + p] for p in range(250)}
    assert [id for text in decoded for id in text["e"]] == batch.ended
    assert [start[0] for text in decoded for start in text["s"]] == ids
    assert {int(p): v for text in decoded for p, v in text["b"].items()} == dict.fromkeys(range(250), 0)
    # Whoever is woken by a position finds what it made visible announced already.
    assert max(n for n, text in enumerate(decoded) if text["s"]) <= min(
        n for n, text in enumerate(decoded) if text["p"]
    )


def test_a_start_is_announced_with_its_stages() -> None:
    started, changed = str(UUID(int=1)), str(UUID(int=2))
    batch = folded(
        (started, STARTED, 7),
        (started, STAGE),
        (started, events.StageEnded(workflow_id="w", at=T[2], number=0, error="no")),
        (started, ENDED, 7),
        (changed, STAGE),
        (changed, ENDED),
    )
    (text,) = announcements(batch)
    announcement = msgspec.json.decode(text, type=Announcement)
    assert announcement.starts == [Start(UUID(started), T[0], T[3], T[3], "x", [StageRow(0, T[1], T[2], "no")])]
    assert announcement.ended == [UUID(changed)]
    assert announcement.changed == []


def test_every_instance_of_a_batch_is_announced_once_and_with_where_the_batch_begins() -> None:
    started, large, changed, ended = (str(UUID(int=number)) for number in range(1, 5))
    batch = folded(
        (started, STARTED),
        (large, STARTED),
        (large, events.StageStarted(workflow_id="w", at=T[1], number=0, name="RunNoop", input={})),
        (large, events.StageEnded(workflow_id="w", at=T[2], number=0, error="x" * 1000)),
        (changed, STAGE),
        (ended, ENDED),
    )
    batch.advances = [Advance(3, 17, 20, 0, 9)]
    (text,) = announcements(batch)
    announcement = msgspec.json.decode(text, type=Announcement)
    assert [start.id for start in announcement.starts] == [UUID(started)]
    assert announcement.ended == [UUID(ended)]
    assert announcement.changed == [UUID(large), UUID(changed)]
    assert (announcement.begins, announcement.positions) == ({3: 17}, {3: Passed(9, 20)})


def test_a_start_that_is_too_large_is_left_out() -> None:
    id = str(UUID(int=1))
    batch = folded((id, STARTED), (id, events.InstanceEnded(workflow_id="w", at=T[3], error="x" * 1000)))
    (text,) = announcements(batch)
    assert msgspec.json.decode(text, type=Announcement).starts == []


class Line(msgspec.Struct, frozen=True):
    """A record of one partition's log."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def log(*lines: tuple[Any, int | None, int | None]) -> list[Line]:
    """Events with epoch and cause, from offset 10."""
    codec = RecordCodec()
    written = []
    for offset, (event, epoch, cause) in enumerate(lines, start=10):
        record = codec.encode(INSTANCE, event, timestamp_ms=0, version=offset, cause=cause, epoch=epoch)
        written.append(Line(offset, record.key, record.value, record.headers))
    return written


CLAIM = events.PartitionClaimed(at=T[0], owner="a")


@pytest.fixture
def reader() -> EventReader:
    return EventReader(Metrics(CollectorRegistry()))


def test_records_of_superseded_engines_do_not_count(reader: EventReader) -> None:
    lines = log(
        (STARTED, 4, 7),
        (CLAIM, None, None),
        (
            events.InstanceEnded(workflow_id="w", at=T[9], error="stale"),
            4,
            9,
        ),  # written by the engine that claimed at 4
        (STAGE, 11, 8),
    )
    reading = reader.read({3: lines}, {3: ReadPosition(10, epoch=4, cause=6)})
    assert reading.positions == {3: ReadPosition(14, epoch=11, cause=8)}
    assert reading.batch.advances == [Advance(3, 10, 14, 11, 8)]
    assert reading.batch.instances[INSTANCE] == Instance(
        INSTANCE, T[1], WORKFLOW, T[0], variables="{}", state="running"
    )
    assert reading.events == 2


def test_a_gap_in_the_log_is_no_gap_in_the_positions(reader: EventReader) -> None:
    reading = reader.read({0: log((CLAIM, None, None))}, {0: ReadPosition(next_offset=2)})
    assert reading.batch.advances == [Advance(0, 2, 11, 10, -1)]


@pytest.mark.parametrize(
    "damage", [{"value": b"{"}, {"value": None}, {"key": b"\xff"}, {"headers": [("epoch", b"4"), ("cause", b"8")]}]
)
def test_an_unreadable_record_is_skipped_but_its_cause_counts(
    reader: EventReader, damage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = log((STAGE, 4, 8), (STARTED, 4, 7))
    with caplog.at_level(logging.ERROR):
        reading = reader.read({2: [msgspec.structs.replace(first, **damage), second]}, {2: ReadPosition(10, 4, 6)})
    assert reading.positions == {2: ReadPosition(12, 4, 8)}
    assert list(reading.batch.instances) == [INSTANCE]
    assert "2/10" in caplog.text


def test_skipping_only_moves_positions(reader: EventReader) -> None:
    reading = reader.read({0: log((STARTED, 4, 8))}, {0: ReadPosition(10, 4, 6)}, skip=True)
    assert reading.positions == {0: ReadPosition(11, 4, 8)}
    assert not reading.batch.instances


def test_chunks_are_bounded_but_never_cut_what_one_command_caused() -> None:
    causes = [1, 1, 1, 1, 2, 2, None, None, None, 3]
    records = {0: log(*[(STAGE, 4, cause) for cause in causes]), 1: log((STAGE, 4, 7)), 2: log((STAGE, 4, 8))}
    parts = list(chunks(records, 2))
    sizes = [{partition: len(some) for partition, some in part.items()} for part in parts]
    assert sizes == [{0: 4}, {0: 2}, {0: 2}, {0: 2}, {1: 1, 2: 1}]
    assert {p: [line for part in parts for line in part.get(p, ())] for p in records} == records
    assert list(chunks(records, 100)) == [records]


def test_halves_keep_order_and_everything() -> None:
    lines = log(*[(STARTED, 4, 8)] * 7)
    records = {0: lines[:1], 1: lines[1:5], 2: lines[5:]}
    left, right = halves(records)
    assert {p: [*left[p], *right[p]] for p in records} == records
    assert sum(map(len, left.values())) == 3
    assert not any(halves({1: lines[:1]})[0].values())
