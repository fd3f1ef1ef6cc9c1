"""Makes the topics in Kafka. Doing it again changes nothing."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from deploy.errors import TopicsError
from schemas.kafka import Admin, Kafka, KafkaFault, KafkaUnreachable, NewTopic, Refusal, clients_of
from schemas.settings import KafkaSettings, variable
from schemas.topics import Topic, topics

logger = logging.getLogger(__name__)

READY_SECONDS: Final = 60.0
"""How long it is waited until everybody can use the topics. A cluster that is busy needs some seconds."""
LOOK_SECONDS: Final = 0.1
"""Between two looks."""


async def create_topics(settings: KafkaSettings, kafka: Kafka | None = None, others: Sequence[str] = ()) -> list[str]:
    """Make the topics that don't exist yet and return their names, once everybody can use all topics.

    Kafka answers when it has decided to make them. Brokers learn of them, and of their leaders, a moment later.

    Args:
        settings: which topics.
        kafka: where; as the settings say when not given.
        others: topics of other services, which are made where nobody else does.

    Raises:
        TopicsError: Kafka can't be reached or refuses, a topic exists with fewer partitions, or some can't be used in
            time.
        SettingsError: the settings for Kafka contradict each other.
    """
    kafka = kafka or clients_of(settings)
    try:
        async with kafka.admin() as admin:
            existing = await admin.partitions()
            wanted = topics(settings)
            for topic in wanted:
                _check(topic, existing.get(topic.name))
            ours = {topic.name for topic in wanted}
            wanted = (*wanted, *(Topic(name, 1, {}) for name in others if name not in ours))
            missing = [topic for topic in wanted if topic.name not in existing]
            made = await _create(admin, missing, settings.replication_factor) if missing else []
            await _be_ready(admin, [topic.name for topic in wanted])
            return made
    except KafkaUnreachable as error:
        raise TopicsError(f"Kafka can't be reached: {error}") from None
    except KafkaFault as error:
        raise TopicsError(f"Kafka at {settings.kafka_bootstrap_servers}: {error}") from error


def _check(topic: Topic, partitions: int | None) -> None:
    if partitions is None:
        return
    if partitions > topic.partitions:
        logger.warning(
            "topic %s has %d partitions, of which the installation uses %d: see *Partitions that were added* in"
            " docs/operations.md",
            topic.name,
            partitions,
            topic.partitions,
        )
    if partitions < topic.partitions:
        raise TopicsError(
            f"topic {topic.name} has {partitions} partitions, not {topic.partitions}, and a topic with records can't "
            f"change that; set {variable('partitions')} to {partitions} if all were made so, or use another"
            f" {variable('topic_prefix')}; if Kafka made this one by itself (auto.create.topics.enable), delete it and"
            " run this again"
        )


async def _create(admin: Admin, missing: Sequence[Topic], replication_factor: int) -> list[str]:
    """Make topics, without the settings that are only wished for, where Kafka refuses these."""
    refused = await _ask(admin, missing, replication_factor, wishes=True)
    again = [topic for topic in missing if topic.wishes and _is_about_configuration(refused.get(topic.name))]
    for topic in again:
        refusal = refused.pop(topic.name)
        logger.warning("topic %s is made without %s: %s", topic.name, _shown(topic.wishes), refusal.text)
    if again:
        refused |= await _ask(admin, again, replication_factor, wishes=False)
    for topic in missing:
        left = refused.get(topic.name)
        # Somebody else was making them at the same time.
        if left is not None and left.reason != "exists":
            raise TopicsError(_refusal(topic, left))
    return [topic.name for topic in missing if topic.name not in refused]


async def _be_ready(admin: Admin, names: Sequence[str]) -> None:
    """Wait until everybody can use topics.

    Raises:
        TopicsError: that takes too long.
    """
    unready = set(names)
    try:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                unready = await admin.unready(names)
                if not unready:
                    return
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        shown = ", ".join(sorted(unready))
        raise TopicsError(
            f"after {READY_SECONDS:.0f} s, not every broker has a leader for each partition of {shown}: "
            "look at the brokers, then run this again"
        ) from None


async def _ask(admin: Admin, topics: Sequence[Topic], replication_factor: int, *, wishes: bool) -> dict[str, Refusal]:
    return await admin.create(
        [
            NewTopic(
                topic.name,
                topic.partitions,
                replication_factor,
                {**topic.config, **(topic.wishes if wishes else {})},
            )
            for topic in topics
        ]
    )


def _is_about_configuration(refusal: Refusal | None) -> bool:
    return refusal is not None and refusal.reason == "configuration"


def _refusal(topic: Topic, refusal: Refusal) -> str:
    """What to do about it, with the keys that Kafka names."""
    said = refusal.text
    if refusal.reason == "replication_factor":
        return f"Kafka refuses topic {topic.name}: {said}; set {variable('replication_factor')} to what it allows"
    if refusal.reason != "configuration":
        return f"Kafka refuses topic {topic.name}: {said}"
    named = {key: value for key, value in topic.config.items() if key in said} or topic.config
    return (
        f"Kafka refuses topic {topic.name} with {_shown(named)}: {said}; change {variable('topic_config')}, "
        "allow these values in Kafka, or create the topic by hand (see docs/operations.md)"
    )


def _shown(config: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in config.items())
