"""What a cluster tells about itself: brokers, topics with their settings, groups, and what we may do there.

It only asks: no topic is made, no group is joined, and no transaction is opened.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    KafkaError,
    NotCoordinatorForGroupError,
    UnknownTopicOrPartitionError,
    for_code,
)
from msgspec import Struct

from schemas.kafka.admin import AdminClient
from schemas.kafka.closing import closing
from schemas.kafka.errors import KafkaFault, KafkaUnreachable
from schemas.kafka.metadata import MetadataRequest
from schemas.kafka.ports import Place
from schemas.settings import KafkaSettings

ANSWER_SECONDS: Final = 5.0
"""Deadline of one question. A broker that hangs is one of the things to be found."""
RETRY_SECONDS: Final = 0.2
"""Pause before a question is asked again; without it a cluster that is not ready would be asked in a tight loop."""
NOT_YET: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""What a broker answers about a group while it makes or loads the topic that groups are kept in, as a new one does."""
GROUP: Final = 0
TRANSACTIONS: Final = 1
OPERATIONS: Final = {3: "Read", 4: "Write", 8: "Describe"}
"""Kafka's numbers of what one may do."""
UNKNOWN_OPERATIONS: Final = -(2**31)
"""What a broker answers that does not tell them."""

T = TypeVar("T")


class BrokerFacts(Struct, frozen=True):
    """A broker."""

    address: str
    error: str | None
    """Why it does not answer."""
    config: dict[str, str]
    """Empty if we may not see it."""


class PartitionFacts(Struct, frozen=True):
    """Where a partition is."""

    partition: int
    leader: int
    """-1 without one."""
    replicas: int
    in_sync: int


class TopicFacts(Struct, frozen=True):
    """A topic."""

    error: str | None = None
    """Why nothing is known of it."""
    exists: bool = True
    partitions: list[PartitionFacts] = []
    config: dict[str, str] = {}
    """Empty if we may not see it."""
    operations: frozenset[str] | None = None
    """What we may do; None if the broker does not tell."""


class GroupFacts(Struct, frozen=True):
    """A consumer group."""

    error: str | None = None
    """Why nothing is known of it."""
    state: str = ""
    """As Kafka names it: `Stable`, `Empty`, `Dead`, …"""
    members: int = 0
    committed: dict[Place, int] = {}


class ClusterFacts(Struct, frozen=True):
    """What was asked about."""

    brokers: list[BrokerFacts]
    topics: dict[str, TopicFacts]
    groups: dict[str, GroupFacts]
    transactions: dict[str, str | None]
    """By transactional id: why its coordinator can't be found."""


async def inspect(
    settings: KafkaSettings, topics: Sequence[str], groups: Sequence[str], transactional_ids: Sequence[str]
) -> ClusterFacts:
    """Ask a cluster about itself.

    Args:
        settings: how to reach it.
        topics: full names of those that are asked about.
        groups: the same.
        transactional_ids: the same.

    Raises:
        KafkaUnreachable: no broker answers.
        KafkaFault: it can't be asked.
    """
    async with closing(AdminClient(settings)) as client:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await client.start()
                found = await _Inspector(client).metadata(topics)
        except KafkaConnectionError as error:
            raise KafkaUnreachable(str(error)) from error
        except (KafkaError, OSError, TimeoutError) as error:
            raise KafkaFault(str(error) or type(error).__name__) from error
        inspector = _Inspector(client)
        return ClusterFacts(
            list(await asyncio.gather(*(inspector.broker(*broker[:3]) for broker in found.brokers))),
            await inspector.topics(found),
            {group: await inspector.group(group) for group in groups},
            {id: await inspector.coordinator(id) for id in transactional_ids},
        )


class _Inspector:
    def __init__(self, client: Any):
        self._client = client

    async def metadata(self, topics: Sequence[str]) -> Any:
        client = self._client._client  # noqa: SLF001 - it has no public way to ask for rights
        return await client.send(client.get_random_node(), MetadataRequest(list(topics)))

    async def broker(self, id: int, host: str, port: int) -> BrokerFacts:
        config, error = await _asked(self._config(ConfigResourceType.BROKER, [str(id)]))
        return BrokerFacts(f"{host}:{port}", error, (config or {}).get(str(id), {}))

    async def topics(self, found: Any) -> dict[str, TopicFacts]:
        names = [name for code, name, *_ in found.topics if not code]
        configs, _ = await _asked(self._config(ConfigResourceType.TOPIC, names))
        return {topic[1]: _topic(topic, (configs or {}).get(topic[1], {})) for topic in found.topics}

    async def _config(self, kind: Any, names: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        if names:
            for answer in await self._client.describe_configs([ConfigResource(kind, name) for name in names]):
                for code, _, _, name, entries in answer.resources:
                    if not code:
                        found[name] = {entry[0]: entry[1] or "" for entry in entries}
        return found

    async def group(self, name: str) -> GroupFacts:
        facts, error = await _asked(_once_known(partial(self._group, name)))
        return facts or GroupFacts(error)

    async def _group(self, name: str) -> GroupFacts:
        node = await self._client.find_coordinator(name, GROUP)
        (answer,) = await self._client.describe_consumer_groups([name], node)
        code, _, state, _, _, members, *_ = answer.groups[0]
        if code:
            raise for_code(code)(name)
        offsets = await self._client.list_consumer_group_offsets(name, node)
        return GroupFacts(None, state, len(members), {Place(*place): found.offset for place, found in offsets.items()})

    async def coordinator(self, transactional_id: str) -> str | None:
        ask = partial(self._client.find_coordinator, transactional_id, TRANSACTIONS)
        _, error = await _asked(_once_known(ask))
        return error


async def _once_known(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again for as long as a broker says that it can't tell yet. A new cluster needs a while."""
    while True:
        try:
            return await ask()
        except NOT_YET:
            await asyncio.sleep(RETRY_SECONDS)


async def _asked(question: Awaitable[T]) -> tuple[T | None, str | None]:
    """The answer, or why there is none."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await question, None
    except TimeoutError:
        return None, f"no answer within {ANSWER_SECONDS:.0f} s"
    except (KafkaError, OSError) as error:
        return None, type(error).__name__.removesuffix("Error")


def _topic(topic: Any, config: dict[str, str]) -> TopicFacts:
    code, _, _, partitions, operations = topic
    error = for_code(code)
    if code:
        missing = error is UnknownTopicOrPartitionError
        return TopicFacts(None if missing else error.__name__.removesuffix("Error"), exists=not missing)
    return TopicFacts(
        partitions=[
            PartitionFacts(number, leader, len(replicas), len(in_sync))
            for _, number, leader, _, replicas, in_sync, _ in sorted(partitions, key=lambda partition: partition[1])
        ],
        config=config,
        operations=None
        if operations == UNKNOWN_OPERATIONS
        else frozenset(told for number, told in OPERATIONS.items() if operations >> number & 1),
    )
