"""`orchestration topics repair`: looks at all partitions, says what is wrong, and repairs it if it is told to."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from deploy.repair.acts import Acts
from deploy.repair.definitions import missing_definitions
from deploy.repair.facts import PartitionFacts
from deploy.repair.findings import Fill, Move, repair_of
from deploy.repair.partition_log import OnProgress
from deploy.repair.survey import Survey
from projections.repairs import ReadModelRepairs
from schemas.kafka import Kafka, clients_of
from schemas.settings import OperatorSettings
from schemas.topics import COMMANDS, DEFINITIONS, EVENTS

Say = Callable[[str], None]
"""Takes a line for the user."""


async def repair(settings: OperatorSettings, *, act: bool, say: Say, progress: OnProgress) -> bool:
    """Look at all partitions, and repair them.

    Args:
        settings: which topics and which read model.
        act: change something; else only say what would be done.
        say: is called with each line of the outcome.
        progress: is called while a partition is read.

    Returns:
        Whether something was wrong.

    Raises:
        RepairError: a topic is missing or has another shape, or a position has moved meanwhile.
        KafkaFault: Kafka is away or refuses.
        StoreAway: Postgres is away.
        SettingsError: the settings contradict each other.
    """
    kafka = clients_of(settings)
    async with _acts(kafka, settings) as (acts, read_model):
        wrong = False
        # All of it is known before anything is changed: a repair that can't reach something changes nothing.
        found = [facts async for facts in Survey(kafka, settings, await read_model.positions(), progress).facts()]
        lacking = await missing_definitions(kafka, settings, await read_model.definitions())
        for facts in found:
            repair = repair_of(facts)
            wrong = wrong or bool(repair.findings)
            for finding in repair.findings:
                say(f"{finding.topic}/{finding.partition}: {finding.text}.")
            for action in repair.actions:
                if act:
                    await (acts.fill(action) if isinstance(action, Fill) else acts.move(action))
                say(_done(action, act))
            if not repair.findings:
                say(_fine(facts))
        if lacking:
            wrong = True
            say(f"{DEFINITIONS}: it lacks {len(lacking)} workflows and triggers, so these triggers fire nothing.")
            if act:
                await acts.define(lacking)
            say(f"  {'appended' if act else 'would append'} them from the read model")
    return wrong


@asynccontextmanager
async def _acts(kafka: Kafka, settings: OperatorSettings) -> AsyncIterator[tuple[Acts, ReadModelRepairs]]:
    read_model = ReadModelRepairs(settings)
    acts = Acts(kafka, settings, read_model)
    try:
        yield acts, read_model
    finally:
        await acts.close()
        await read_model.close()


def _done(action: Fill | Move, act: bool) -> str:
    if isinstance(action, Fill):
        verb, fillers = "appended" if act else "would append", "filler" if action.count == 1 else "fillers"
        return f"  {verb} {action.count} {fillers} to {action.topic}/{action.partition}"
    verb, known, to = "moved" if act else "would move", action.known, action.to
    if known.next_offset == to.next_offset:
        verb = "noted" if act else "would note"
        return f"  {verb} for {known.who} that partition {action.partition} is the one that it is now"
    return f"  {verb} {known.who} from offset {known.next_offset} to {to.next_offset} of {EVENTS}/{action.partition}"


def _fine(facts: PartitionFacts) -> str:
    events, commands = facts.events, facts.commands
    return (
        f"{EVENTS}/{facts.number}, {COMMANDS}/{facts.number}: ok "
        f"(offsets {events.oldest} to {events.end}, and {commands.oldest} to {commands.end})"
    )
