"""Everything that is looked at, in order."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import psycopg

from deploy.doctor import encryption, progress, stack
from deploy.doctor import kafka as kafka_checks
from deploy.doctor import postgres as postgres_checks
from deploy.doctor.findings import Finding, wrong
from deploy.doctor.fitting import AllSettings, settings
from deploy.repair.owners import other_owner
from engine.command_feed import GROUP as ENGINE_GROUP
from engine.kafka_snapshots import TRANSACTIONAL_ID as SNAPSHOTS_ID
from projections.errors import NoSession
from projections.migrate import shipped
from projections.process import GROUP as PROJECTIONS_GROUP
from projections.publisher.public_writer import TRANSACTIONAL_ID as PUBLISHER_ID
from projections.publisher.publisher import GROUP as PUBLISHER_GROUP
from schemas.encryption.keys import keys_of
from schemas.kafka import Kafka, KafkaClients, KafkaFault, Limits, Place
from schemas.kafka.inspection import ClusterFacts
from schemas.kafka.inspection import inspect as inspect_cluster
from schemas.settings import EngineSettings, KafkaSettings, PostgresSettings, SettingsError, StackSettings, variable
from schemas.stack.errors import CallFailed
from schemas.topics import COMMANDS, EVENTS, SEALED_TOPICS, topic_name, topics, trigger_topics

GROUPS: Final = {ENGINE_GROUP: "engine", PROJECTIONS_GROUP: "projections", PUBLISHER_GROUP: "projections"}
"""The groups of our processes, and the command that runs them."""

Inspect = Callable[[KafkaSettings, Sequence[str], Sequence[str], Sequence[str]], Awaitable[ClusterFacts]]
Look = Callable[[PostgresSettings], Awaitable[postgres_checks.PostgresFacts]]
AskStack = Callable[[StackSettings], Awaitable[int]]


async def examine(
    given: AllSettings,
    *,
    inspect: Inspect = inspect_cluster,
    look: Look = postgres_checks.look,
    ask_stack: AskStack = stack.ask,
    kafka: Kafka | None = None,
) -> AsyncIterator[Finding]:
    """Look at everything. Nothing is changed.

    Args:
        given: the settings of all processes.
        inspect: asks Kafka about itself.
        look: asks Postgres about itself.
        ask_stack: asks the stack something.
        kafka: where the log is, without a vault; as the settings say when not given.

    Raises:
        SettingsError: settings contradict each other.
    """
    prefix = given.engine.topic_prefix
    facts: ClusterFacts | None = None
    wanted, listened = topics(given.engine), sorted(trigger_topics(given.engine))
    groups = {prefix + name: command for name, command in GROUPS.items()}
    ids = [prefix + id for id in (PUBLISHER_ID, SNAPSHOTS_ID)]
    try:
        facts = await inspect(given.engine, [*(topic.name for topic in wanted), *listened], list(groups), ids)
    except KafkaFault as error:
        servers = given.engine.kafka_bootstrap_servers
        remedy = (
            f"check {variable('kafka_bootstrap_servers')}, {variable('kafka_security_protocol')} and its credentials"
        )
        yield wrong(f"Kafka at {servers}", f"can't be reached: {error}", remedy)
    for finding in settings(given, facts.brokers if facts else ()):
        yield finding
    if facts is not None:
        for check in (
            kafka_checks.brokers(facts.brokers),
            kafka_checks.topics(wanted, facts),
            kafka_checks.listened(listened, facts),
            kafka_checks.groups(facts.groups, groups),
            kafka_checks.transactions(facts.transactions),
        ):
            for finding in check:
                yield finding
    database: postgres_checks.PostgresFacts | None = None
    try:
        database = await look(given.projections)
    except SettingsError as error:
        yield wrong("Postgres", str(error), "correct it")
    except NoSession as error:
        yield wrong("Postgres", str(error), "set it so, or connect to Postgres itself")
    except (psycopg.Error, OSError) as error:
        remedy = f"check {variable('database_url')}, and how many connections its user may have"
        if postgres_checks.FULL in str(error):
            remedy = postgres_checks.MAKE_ROOM
        yield wrong("Postgres", f"can't be asked: {error}", remedy)
    if database is not None:
        for finding in postgres_checks.server(database):
            yield finding
        for finding in postgres_checks.schema(given.projections.database_schema, database, shipped()):
            yield finding
    if facts is not None:
        raw = kafka or KafkaClients(given.engine)  # which hands records out as they are
        async for finding in _progress(given, raw, facts, database):
            yield finding
        async for finding in _encryption(given.engine, raw, facts):
            yield finding
    try:
        answered: int | Exception = await ask_stack(given.engine)
    except (SettingsError, CallFailed, TimeoutError) as error:
        answered = error
    yield stack.finding(given.engine, answered)


async def _progress(
    given: AllSettings, kafka: Kafka, facts: ClusterFacts, database: postgres_checks.PostgresFacts | None
) -> AsyncIterator[Finding]:
    commands, events = topic_name(given.engine, COMMANDS), topic_name(given.engine, EVENTS)
    group = facts.groups[given.engine.topic_prefix + ENGINE_GROUP]
    try:
        if _whole(facts, commands) and group.error is None:
            committed = {
                place.partition: offset for place, offset in group.committed.items() if place.topic == commands
            }
            limits = await _limits(kafka, commands, facts)
            yield progress.commands(commands, limits, committed, engines=group.members)
        if _whole(facts, events) and database is not None and database.schema_exists:
            limits, id = await _limits(kafka, events, facts), await _topic_id(kafka, events)
            owner = await other_owner(kafka, database.positions.values(), id)
            for finding in progress.read_model(events, id, limits, database.positions, owner):
                yield finding
    except KafkaFault as error:
        yield wrong("Kafka", f"does not tell what partitions hold: {error}", "look at its log")


async def _encryption(settings: EngineSettings, kafka: Kafka, facts: ClusterFacts) -> AsyncIterator[Finding]:
    try:
        keys = keys_of(settings)
    except SettingsError as error:
        yield wrong(encryption.ABOUT, str(error), "see *Encryption at rest* in docs/operations.md")
        return
    try:
        limits: dict[Place, Limits] = {}
        for topic in (topic_name(settings, name) for name in SEALED_TOPICS):
            if _whole(facts, topic):
                limits |= {
                    Place(topic, number): found for number, found in (await _limits(kafka, topic, facts)).items()
                }
        ends = await encryption.look(kafka, limits, int((time.time() - encryption.RECENT_SECONDS) * 1000))
    except KafkaFault as error:
        yield wrong(encryption.ABOUT, f"Kafka does not tell what is encrypted: {error}", "look at its log")
        return
    for finding in encryption.fits(keys, settings.encryption_required, ends):
        yield finding


def _whole(facts: ClusterFacts, topic: str) -> bool:
    """Whether a topic can be asked what it holds."""
    found = facts.topics[topic]
    return bool(found.partitions) and all(partition.leader >= 0 for partition in found.partitions)


async def _limits(kafka: Kafka, topic: str, facts: ClusterFacts) -> dict[int, Limits]:
    places = [Place(topic, partition.partition) for partition in facts.topics[topic].partitions]
    async with kafka.reader() as reader:
        return {place.partition: found for place, found in (await reader.limits(places)).items()}


async def _topic_id(kafka: Kafka, topic: str) -> str:
    finder = kafka.topic_finder()
    try:
        found = await finder.find(topic)
    finally:
        finder.close()
    return "" if found is None else found.id
