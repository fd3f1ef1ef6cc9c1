"""What is wrong with a partition, and what is done: as a table of facts."""

from typing import Any

import pytest
from msgspec.structs import replace

from deploy.repair.facts import ENGINES, PUBLISHER, READ_MODEL, Known, PartitionFacts, Scan
from deploy.repair.findings import Fill, Move, repair_of
from schemas.kafka import Limits


def known(who: str, next_offset: int = 100, epoch: int = 50, topic_id: str = "E", **more: Any) -> Known:
    return Known(who=who, next_offset=next_offset, epoch=epoch, topic_id=topic_id, **more)


WELL = PartitionFacts(
    number=3,
    events=Limits(0, 110),
    commands=Limits(0, 30),
    events_id="E",
    commands_id="C",
    has_snapshot=True,
    engines=known(ENGINES, 90),
    next_command=20,
    commands_id_known="C",
    read_model=known(READ_MODEL),
    cause=24,
    publisher=known(PUBLISHER, 95),
    scan=Scan(causes_end=27, commands_end=29, commands_id="C"),
)


def facts(**changed: Any) -> PartitionFacts:
    return replace(WELL, **changed)


def at(known: Known, **changed: Any) -> Known:
    return replace(known, **changed)


READ, PUBLISHED, ENGINE = WELL.read_model, WELL.publisher, WELL.engines
assert READ is not None
assert PUBLISHED is not None


@pytest.mark.parametrize(
    "found",
    [
        WELL,
        facts(events=Limits(80, 100)),
        facts(events=Limits(90, 100)),
        facts(commands=Limits(27, 29)),
        facts(commands=Limits(28, 29)),  # the mark of a transaction may be what expired last
        facts(read_model=None, publisher=None),
        facts(events_id="", commands_id=""),
        facts(engines=at(ENGINE, topic_id=""), commands_id_known="", scan=Scan()),
        facts(has_snapshot=False, engines=known(ENGINES, 0, -1, ""), next_command=0, commands_id_known=""),
        facts(scan=replace(WELL.scan, filler=95)),
        # What a filler says is known.
        facts(scan=replace(WELL.scan, filler=89, commands_id=""), commands_id_known="old"),
        facts(engines=at(ENGINE, topic_id="old"), scan=replace(WELL.scan, filler=95)),
        facts(engines=at(ENGINE, other_claim=-1), scan=replace(WELL.scan, filler=95)),
        facts(
            engines=at(ENGINE, next_offset=70),
            events=Limits(80, 110),
            scan=replace(WELL.scan, filler=95),
        ),
        facts(commands=Limits(29, 30), scan=replace(WELL.scan, filler=95)),
        facts(
            has_snapshot=False,
            engines=known(ENGINES, 80, 50, ""),
            events=Limits(80, 110),
            scan=replace(WELL.scan, filler=95, event=94),
        ),
    ],
)
def test_nothing_is_done_that_is_not_needed(found: PartitionFacts) -> None:
    assert repair_of(found).findings == []
    assert repair_of(found).actions == []


@pytest.mark.parametrize(
    ("found", "topic", "text", "actions"),
    [
        pytest.param(
            facts(events=Limits(0, 80)),
            "events",
            "it ends at offset 80, but the read model knows events up to 100. 20 are lost",
            [Fill("events", 3, 20)],
            id="events cut",
        ),
        pytest.param(
            facts(events=Limits(0, 93)),
            "events",
            "it ends at offset 93, but the read model knows events up to 100",
            [Fill("events", 3, 7)],
            id="events cut, which the snapshot can't tell",
        ),
        pytest.param(
            facts(scan=replace(WELL.scan, events_end=105)),
            "events",
            "it ended at offset 105 before it was cut",
            [Fill("events", 3, 1)],
            id="events cut and grown, as a claim says",
        ),
        pytest.param(
            facts(scan=replace(WELL.scan, events_end=120)),
            "events",
            "it ends at offset 110, but a claim knows events up to 120",
            [Fill("events", 3, 10)],
            id="events cut, as a claim says",
        ),
        pytest.param(
            facts(events=Limits(0, 0), events_id="F", scan=Scan()),
            "events",
            "the topic was deleted and created again",
            [
                Fill("events", 3, 100),
                Move(3, READ, at(READ, topic_id="F")),
                Move(3, PUBLISHED, at(PUBLISHED, topic_id="F")),
            ],
            id="events made again",
        ),
        pytest.param(
            facts(events_id="F"),
            "events",
            "the topic was deleted and created again",
            [
                Fill("events", 3, 1, is_loss=False),
                Move(3, READ, at(READ, topic_id="F")),
                Move(3, PUBLISHED, at(PUBLISHED, topic_id="F")),
            ],
            id="a copy with all records",
        ),
        pytest.param(
            facts(events=Limits(98, 110), epoch_of_oldest=60),
            "events",
            "the events from offset 90 to 97 were deleted before a snapshot had them",
            [Fill("events", 3, 1), Move(3, PUBLISHED, at(PUBLISHED, next_offset=98, epoch=60))],
            id="a gap for engines and the publisher",
        ),
        pytest.param(
            facts(events=Limits(105, 110), engines=known(ENGINES, 107), epoch_of_oldest=60),
            "events",
            "the events from offset 100 to 104 were deleted before the read model had them. They are lost",
            [
                Move(3, READ, at(READ, next_offset=105, epoch=60)),
                Move(3, PUBLISHED, at(PUBLISHED, next_offset=105, epoch=60)),
            ],
            id="a gap for readers",
        ),
        pytest.param(
            facts(has_snapshot=False, engines=known(ENGINES, 60, 50, ""), events=Limits(60, 110)),
            "events",
            "there is no snapshot, and the events before offset 60 are deleted",
            [Fill("events", 3, 1)],
            id="no snapshot",
        ),
        pytest.param(
            facts(
                has_snapshot=False,
                engines=known(ENGINES, 60, 50, ""),
                events=Limits(60, 110),
                scan=replace(WELL.scan, filler=95, event=99),
            ),
            "events",
            "there is no snapshot, and the events before offset 60 are deleted",
            [Fill("events", 3, 1)],
            id="no snapshot, and a filler that was about something else",
        ),
        pytest.param(
            facts(
                has_snapshot=False,
                engines=known(ENGINES, 0, -1, ""),
                scan=replace(WELL.scan, loss=20, filler=95, event=99),
            ),
            "events",
            "there is no snapshot, and events are lost, in whose place are fillers from offset 20 on",
            [Fill("events", 3, 1)],
            id="no snapshot, and fillers for events",
        ),
        pytest.param(
            facts(
                has_snapshot=False,
                engines=known(ENGINES, 0, -1, ""),
                events=Limits(0, 80),
                commands_id_known="",
                next_command=0,
            ),
            "events",
            "20 are lost: there is no snapshot, so instances that had not ended go on as the events show them",
            [Fill("events", 3, 20)],
            id="events cut, without a snapshot",
        ),
        pytest.param(
            facts(
                has_snapshot=False,
                snapshot_unreadable=True,
                engines=known(ENGINES, 60, 50, ""),
                events=Limits(60, 110),
            ),
            "events",
            "the newest snapshot is of another build",
            [],
            id="a snapshot of another build",
        ),
        pytest.param(
            facts(engines=at(ENGINE, unclaimed=104), read_model=at(READ, unclaimed=104)),
            "events",
            "the record at offset 104 belongs to a claim that is not in the log",
            [Fill("events", 3, 1)],
            id="a record without its claim",
        ),
        pytest.param(
            facts(publisher=at(PUBLISHED, unclaimed=104)),
            "events",
            "the record at offset 104, which the publisher comes to, belongs to a claim that is not in the log",
            [Fill("events", 3, 1)],
            id="a record without its claim, for a reader",
        ),
        pytest.param(
            facts(read_model=at(READ, missed=93)),
            "events",
            "the read model has passed over what is in it from offset 93 to 99. It goes back to there",
            [Move(3, at(READ, missed=93), at(READ, next_offset=93))],
            id="claims that a reader has not seen",
        ),
        pytest.param(
            facts(engines=at(ENGINE, other_claim=40)),
            "events",
            "the claim at offset 50, which the newest snapshot knows, is not there any more",
            [Fill("events", 3, 1)],
            id="another record where the snapshot's claim was",
        ),
        pytest.param(
            facts(read_model=at(READ, other_claim=40)),
            "events",
            "The read model goes on at offset 100, and may lack what is before it",
            [Move(3, at(READ, other_claim=40), at(READ, epoch=40))],
            id="another record where a reader's claim was",
        ),
        pytest.param(
            facts(commands=Limits(0, 22)),
            "commands",
            "it ends at offset 22, but a claim knows commands up to 29",
            [Fill("commands", 3, 7)],
            id="commands cut",
        ),
        pytest.param(
            facts(commands=Limits(0, 22), cause=40),
            "commands",
            "but the read model knows commands up to 41",
            [Fill("commands", 3, 19)],
            id="commands cut, as the read model knows",
        ),
        pytest.param(
            facts(commands=Limits(0, 0), commands_id="D"),
            "commands",
            "the topic was deleted and created again",
            [Fill("commands", 3, 29), Fill("events", 3, 1, is_loss=False)],
            id="commands made again",
        ),
        pytest.param(
            facts(commands=Limits(29, 30)),
            "commands",
            "the commands from offset 27 to 28 were deleted before they were decided",
            [Fill("events", 3, 1, is_loss=False)],
            id="commands deleted",
        ),
    ],
)
def test_what_is_wrong_is_told_and_repaired(
    found: PartitionFacts, topic: str, text: str, actions: list[Fill | Move]
) -> None:
    repair = repair_of(found)
    assert repair.actions == actions
    told = {finding.topic: finding.text for finding in repair.findings if text in finding.text}
    assert told.keys() == {topic}
    assert {finding.partition for finding in repair.findings} == {3}
