"""Makes topics."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as AioNewTopic
from aiokafka.errors import (
    InvalidConfigurationError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from schemas.kafka.client import adopt
from schemas.kafka.closing import closing
from schemas.kafka.errors import KafkaFault, KafkaUnreachable
from schemas.kafka.metadata import MetadataRequest
from schemas.kafka.options import client_options
from schemas.kafka.ports import NewTopic, Refusal
from schemas.settings import KafkaSettings

ABOUT_CONFIGURATION: Final = (InvalidConfigurationError, PolicyViolationError, InvalidRequestError)
"""How Kafka refuses a topic's configuration. Hosted ones have rules of their own."""
CREATE_TIMEOUT_MS: Final = 25_000
"""How long Kafka may take to find leaders for the new partitions. Less than our client waits for its answer."""
BROKERS_DEFAULT: Final = -1
ANSWER_SECONDS: Final = 5.0
"""Deadline of asking one broker. One that hangs would keep everybody waiting who can do without it."""
NOT_YET: Final = (UnknownTopicOrPartitionError, LeaderNotAvailableError)
"""What a broker says of a topic that it has not learned of, or of its leaders."""


@contextlib.asynccontextmanager
async def administering(settings: KafkaSettings) -> AsyncIterator["TopicAdmin"]:
    """See `ports.Kafka.admin`."""
    async with closing(AdminClient(settings)) as client:
        with _faults():
            await client.start()
        yield TopicAdmin(client)


class AdminClient(AIOKafkaAdminClient):  # type: ignore[misc]
    """aiokafka's admin client, on our client (see `client`). Close it by `closing` or `close`.

    Args:
        settings: how to reach Kafka.
    """

    def __init__(self, settings: KafkaSettings):
        super().__init__(**client_options(settings))
        adopt(self._client)


class TopicAdmin:
    """`ports.Admin` on aiokafka.

    Args:
        client: started; closed elsewhere.
    """

    def __init__(self, client: Any):
        self._client = client

    async def partitions(self) -> dict[str, int]:
        """See `ports.Admin.partitions`."""
        with _faults():
            return {found["topic"]: len(found["partitions"]) for found in await self._client.describe_topics()}

    async def create(self, topics: Sequence[NewTopic]) -> dict[str, Refusal]:
        """See `ports.Admin.create`."""
        with _faults():
            answer = await self._client.create_topics([_new(topic) for topic in topics], timeout_ms=CREATE_TIMEOUT_MS)
        return {name: _refusal(code, message) for name, code, message in answer.topic_errors if code}

    async def unready(self, topics: Sequence[str]) -> set[str]:
        """See `ports.Admin.unready`."""
        cluster, found = self._client._client, set[str]()  # noqa: SLF001 - it has no public way to ask each broker
        with _faults():
            # All brokers, as they are now: one that has just joined is not known here yet.
            await cluster.force_metadata_update()
            for broker in cluster.cluster.brokers():
                with contextlib.suppress(KafkaConnectionError, OSError, TimeoutError):  # nobody can use it either
                    async with asyncio.timeout(ANSWER_SECONDS):
                        found |= _unready(await cluster.send(broker.nodeId, MetadataRequest(list(topics))))
        return found


def _unready(response: Any) -> set[str]:
    """Topics that a broker does not know, or of which a partition has no leader yet. Who may not see one can't tell."""
    return {
        name
        for code, name, _, partitions, _ in response.topics
        if for_code(code) in NOT_YET or any(leader < 0 for _, _, leader, *_ in partitions)
    }


def _new(topic: NewTopic) -> AioNewTopic:
    # With the broker's default aiokafka insists on an assignment, even an empty one.
    assignment: dict[int, list[int]] | None = {} if topic.replication_factor == BROKERS_DEFAULT else None
    return AioNewTopic(topic.name, topic.partitions, topic.replication_factor, assignment, topic.config)


def _refusal(code: int, message: str | None) -> Refusal:
    kind = for_code(code)
    text = message or kind.description
    if issubclass(kind, TopicAlreadyExistsError):
        return Refusal("exists", text)
    if issubclass(kind, InvalidReplicationFactorError):
        return Refusal("replication_factor", text)
    return Refusal("configuration" if issubclass(kind, ABOUT_CONFIGURATION) else "other", text)


@contextlib.contextmanager
def _faults() -> Any:
    try:
        yield
    except KafkaConnectionError as error:
        raise KafkaUnreachable(str(error)) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaFault(str(error) or type(error).__name__) from error
