"""What must hold of an installation that is at rest, whatever happened to its processes before."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from aiokafka import ConsumerRecord

from schemas import events
from schemas.epochs import EpochFilter, header
from schemas.records import RecordCodec
from schemas.topics import COMMANDS, EVENTS
from tests.integration.event_log_reader import records
from tests.integration.installation import PARTITIONS, Installation
from tests.integration.projection_world import rebuilt
from tests.integration.test_rebuild import snapshot
from tests.integration.waiting import eventually
from tests.simulation.checkers import Observer

MAX_COMPARISONS = 5
"""How often what is live is compared with a rebuild while the log grows, as when an engine takes a partition over."""


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

    async def ends() -> dict[int, int]:
        return {p: found[-1].offset + 1 for p, found in (await records(installation.settings, EVENTS)).items() if found}

    async def reached() -> dict[int, int]:
        return {partition: position[0] for partition, position in installation.tables.positions().items()}

    for _ in range(MAX_COMPARISONS):
        before = await ends()
        await eventually(reached, partial(_covers, before))
        live = snapshot(installation.tables)
        await rebuilt(installation.settings)
        again = snapshot(installation.tables)
        if await ends() == before:
            break
    else:
        raise AssertionError("the log goes on growing")
    for table, rows in live.items():
        assert again[table] == rows, table


def _covers(ends: Mapping[int, int], progress: Mapping[int, int]) -> bool:
    return all(progress.get(partition, 0) >= end for partition, end in ends.items())


def received(observer: Observer) -> Counter[object]:
    """How often each event, known by its `marker`, was taken in."""
    all_events = (recorded.event for admitted in observer.admitted for recorded in admitted)
    return Counter(event.payload["marker"] for event in all_events if isinstance(event, events.EventReceived))
