"""Topics in memory: making them, and telling whether they exist."""

from collections.abc import Sequence

from schemas.kafka.memory.process import Process
from schemas.kafka.ports import FoundTopic, NewTopic, Refusal


class MemoryAdmin:
    """`ports.Admin` in memory.

    Args:
        process: whose it is.
    """

    def __init__(self, process: Process):
        self._process = process

    async def partitions(self) -> dict[str, int]:
        """See `ports.Admin.partitions`."""
        topics = self._process.cluster.topics
        return await self._process.ask(
            "topics", lambda: {name: len(topic.partitions) for name, topic in topics.items()}
        )

    async def create(self, topics: Sequence[NewTopic]) -> dict[str, Refusal]:
        """See `ports.Admin.create`."""
        return await self._process.ask("topics", lambda: self._create(topics))

    async def unready(self, topics: Sequence[str]) -> set[str]:
        """See `ports.Admin.unready`."""
        existing = self._process.cluster.topics
        return await self._process.ask("topics", lambda: {name for name in topics if name not in existing})

    def _create(self, topics: Sequence[NewTopic]) -> dict[str, Refusal]:
        made = {topic.name: self._process.cluster.create(topic) for topic in topics}
        return {name: Refusal("exists", f"Topic '{name}' already exists.") for name, new in made.items() if not new}


class MemoryTopicFinder:
    """`ports.TopicFinder` in memory.

    Args:
        process: whose it is.
    """

    def __init__(self, process: Process):
        self._process = process

    async def find(self, topic: str) -> FoundTopic | None:
        """See `ports.TopicFinder.find`."""
        found = await self._process.ask("topics", lambda: self._process.cluster.topics.get(topic))
        return None if found is None else FoundTopic(found.id, len(found.partitions))

    def close(self) -> None:
        """See `ports.TopicFinder.close`."""
