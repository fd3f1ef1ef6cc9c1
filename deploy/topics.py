"""Makes the topics in Kafka. Doing it again changes nothing."""

from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from deploy.errors import TopicsError
from schemas.kafka import Admin, closing
from schemas.settings import KafkaSettings
from schemas.topics import Topic, topics

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


async def _create(admin: Admin, missing: list[Topic], replication_factor: int) -> list[str]:
    # With a factor of -1 (the broker's default) aiokafka insists on an assignment, be it empty.
    assignment: dict[int, list[int]] | None = {} if replication_factor == -1 else None
    new = [NewTopic(topic.name, topic.partitions, replication_factor, assignment, topic.config) for topic in missing]
    answer: Any = await admin.create_topics(new, timeout_ms=CREATE_TIMEOUT_MS)
    made = []
    for name, code, message in answer.topic_errors:
        error = for_code(code)
        # Somebody else was making them at the same time.
        if code and error is not TopicAlreadyExistsError:
            raise TopicsError(f"Kafka refuses topic {name}: {message or error.description}")
        if not code:
            made.append(name)
    return made
