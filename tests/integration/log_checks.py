"""What must hold of an installation that is at rest, whatever happened to its processes before."""

import itertools
from collections import Counter
from collections.abc import Sequence

from aiokafka import ConsumerRecord

from projections.rebuild import rebuild
from schemas import events
from schemas.epochs import EpochFilter, header
from schemas.records import RecordCodec
from schemas.topics import COMMANDS, EVENTS
from tests.integration.event_log_reader import records
from tests.integration.installation import PARTITIONS, Installation
from tests.integration.test_rebuild import snapshot
from tests.integration.waiting import eventually
from tests.simulation.checkers import Observer


async def check_log(installation: Installation) -> Observer:
    """Every command is decided once and in order, every aggregate's versions are without a gap, every event follows."""
    observer = Observer(PARTITIONS, RecordCodec())
    await eventually(lambda: undecided(installation), lambda left: left == 0)
    for partition, found in (await records(installation.settings, EVENTS)).items():
        for batch in decisions(found):
            observer.observe(partition, batch)
    for partition, found in (await records(installation.settings, COMMANDS)).items():
        assert len(observer.causes[partition]) == len(found)
    return observer


def decisions(some: Sequence[ConsumerRecord]) -> list[list[ConsumerRecord]]:
    """Records as they were decided: those of one command and one owner that stand together."""
    return [list(group) for _, group in itertools.groupby(some, _owner_and_cause)]


def _owner_and_cause(record: ConsumerRecord) -> tuple[bytes | None, bytes | None]:
    return header(record.headers, "epoch"), header(record.headers, "cause")


async def undecided(installation: Installation) -> int:
    """Commands without a record that counts."""
    left = 0
    commands = await records(installation.settings, COMMANDS)
    for partition, found in (await records(installation.settings, EVENTS)).items():
        epochs = EpochFilter()
        causes = {header(record.headers, "cause") for record in found if epochs.admits(record)} - {None}
        left += len(commands[partition]) - len(causes)
    return left


async def check_read_model(installation: Installation) -> None:
    """The read model is what a rebuild from the log makes."""
    ends = {p: found[-1].offset + 1 for p, found in (await records(installation.settings, EVENTS)).items() if found}

    async def reached() -> dict[int, int]:
        return {partition: position[0] for partition, position in installation.tables.progress().items()}

    await eventually(reached, lambda progress: all(progress.get(p, 0) >= end for p, end in ends.items()))
    live = snapshot(installation.tables)
    await rebuild(installation.settings)
    rebuilt = snapshot(installation.tables)
    for table, rows in live.items():
        assert rebuilt[table] == rows, table


def received(observer: Observer) -> Counter[object]:
    """How often each event, known by its `marker`, was taken in."""
    all_events = (recorded.event for admitted in observer.admitted for recorded in admitted)
    return Counter(event.payload["marker"] for event in all_events if isinstance(event, events.EventReceived))
