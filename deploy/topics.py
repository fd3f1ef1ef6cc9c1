"""Makes the topics in Kafka. Doing it again changes nothing."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.admin import NewTopic
from aiokafka.errors import (
    InvalidConfigurationError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    KafkaConnectionError,
    KafkaError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    for_code,
)

from deploy.errors import TopicsError
from schemas.kafka import Admin, closing
from schemas.settings import KafkaSettings, variable
from schemas.topics import Topic, topics

logger = logging.getLogger(__name__)

ABOUT_CONFIGURATION: Final = (InvalidConfigurationError, PolicyViolationError, InvalidRequestError)
"""How Kafka refuses a topic's configuration. Hosted ones have rules of their own."""

CREATE_TIMEOUT_MS = 25_000
"""How long Kafka may take to find leaders for the new partitions. Less than our client waits for its answer."""


async def create_topics(settings: KafkaSettings) -> list[str]:
    """Make the topics that don't exist yet and return their names.

    Raises:
        TopicsError: Kafka can't be reached or refuses, or a topic exists with another number of partitions.
        SettingsError: the settings for Kafka contradict each other.
    """
    try:
        async with closing(Admin(settings)) as admin:
            await admin.start()
            existing = await _partitions(admin)
            wanted = topics(settings)
            for topic in wanted:
                _check(topic, existing.get(topic.name))
            missing = [topic for topic in wanted if topic.name not in existing]
            return await _create(admin, missing, settings.replication_factor) if missing else []
    except KafkaConnectionError:
        raise TopicsError(f"Kafka at {settings.kafka_bootstrap_servers} can't be reached") from None
    except KafkaError as error:
        raise TopicsError(f"Kafka at {settings.kafka_bootstrap_servers}: {error}") from error


async def _partitions(admin: Admin) -> dict[str, int]:
    return {found["topic"]: len(found["partitions"]) for found in await admin.describe_topics()}


def _check(topic: Topic, partitions: int | None) -> None:
    if partitions is not None and partitions != topic.partitions:
        raise TopicsError(
            f"topic {topic.name} has {partitions} partitions, not {topic.partitions}: the number is fixed once records "
            f"are in it; set ORCHESTRATION_PARTITIONS to {partitions} or use another ORCHESTRATION_TOPIC_PREFIX"
        )


async def _create(admin: Admin, missing: Sequence[Topic], replication_factor: int) -> list[str]:
    """Make topics, without what is only wished for where Kafka refuses that."""
    refused = await _ask(admin, missing, replication_factor, wishes=True)
    again = [topic for topic in missing if topic.wishes and isinstance(refused.get(topic.name), ABOUT_CONFIGURATION)]
    for topic in again:
        error = refused.pop(topic.name)
        logger.warning("topic %s is made without %s: %s", topic.name, _shown(topic.wishes), error.args[0])
    if again:
        refused |= await _ask(admin, again, replication_factor, wishes=False)
    for topic in missing:
        left = refused.get(topic.name)
        # Somebody else was making them at the same time.
        if left is not None and not isinstance(left, TopicAlreadyExistsError):
            raise TopicsError(_refusal(topic, left))
    return [topic.name for topic in missing if topic.name not in refused]


async def _ask(
    admin: Admin, topics: Sequence[Topic], replication_factor: int, *, wishes: bool
) -> dict[str, KafkaError]:
    """Ask Kafka to make topics; returns its errors by the topics' names."""
    # With a factor of -1 (the broker's default) aiokafka insists on an assignment, be it empty.
    assignment: dict[int, list[int]] | None = {} if replication_factor == -1 else None
    new = [
        NewTopic(
            topic.name,
            topic.partitions,
            replication_factor,
            assignment,
            {**topic.config, **(topic.wishes if wishes else {})},
        )
        for topic in topics
    ]
    answer: Any = await admin.create_topics(new, timeout_ms=CREATE_TIMEOUT_MS)
    errors = {}
    for name, code, message in answer.topic_errors:
        if code:
            kind = for_code(code)
            errors[name] = kind(message or kind.description)
    return errors


def _refusal(topic: Topic, error: KafkaError) -> str:
    """What to do about it, with the keys that Kafka names."""
    said = error.args[0]
    if isinstance(error, InvalidReplicationFactorError):
        return f"Kafka refuses topic {topic.name}: {said}; set {variable('replication_factor')} to what it allows"
    if not isinstance(error, ABOUT_CONFIGURATION):
        return f"Kafka refuses topic {topic.name}: {said}"
    named = {key: value for key, value in topic.config.items() if key in said} or topic.config
    return (
        f"Kafka refuses topic {topic.name} with {_shown(named)}: {said}; change what {variable('topic_config')} sets, "
        "have Kafka allow the rest, or make the topic by hand as docs/operations.md describes it"
    )


def _shown(config: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in config.items())
