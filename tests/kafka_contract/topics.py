"""What must hold of `ports.Admin` and `ports.TopicFinder`."""

import asyncio

from schemas.kafka import (
    NewTopic,
)
from tests.kafka_contract.subjects import DEADLINE_SECONDS, PARTITIONS, Subject, make


class TopicsContract:
    """`ports.Admin` and `ports.TopicFinder`."""

    async def test_a_topic_is_made_once(self, subject: Subject) -> None:
        topic = await make(subject)
        async with subject.kafka.admin() as admin:
            refused = await admin.create([NewTopic(topic, 5, 1), NewTopic(subject.topic("new"), 2, -1)])
            assert {name: refusal.reason for name, refusal in refused.items()} == {topic: "exists"}
            async with asyncio.timeout(DEADLINE_SECONDS):  # a broker learns of it a moment after the controller
                while await admin.unready([subject.topic("new")]):  # noqa: ASYNC110 - a broker tells nobody
                    await asyncio.sleep(0.01)
            partitions = await admin.partitions()
        assert (partitions[topic], partitions[subject.topic("new")]) == (PARTITIONS, 2)

    async def test_a_topic_is_ready_when_everybody_knows_it(self, subject: Subject) -> None:
        topic = await make(subject)
        async with subject.kafka.admin() as admin:
            assert await admin.unready([topic, subject.topic("other")]) == {subject.topic("other")}
            assert await admin.partitions() == {**await admin.partitions(), topic: PARTITIONS}

    async def test_a_topic_that_is_made_again_is_another_one(self, subject: Subject) -> None:
        finder = subject.kafka.topic_finder()
        try:
            assert await finder.find(subject.topic("t")) is None
            assert await finder.find(subject.topic("t")) is None, "it is not made by asking"
            topic = await make(subject)
            first = await finder.find(topic)
            assert first is not None
            assert (first.partitions, await finder.find(topic)) == (PARTITIONS, first)
            await subject.grow(topic, PARTITIONS + 1)
            grown = await finder.find(topic)
            assert grown is not None
            assert (grown.id, grown.partitions) == (first.id, PARTITIONS + 1)
            await subject.delete(topic)
            assert await finder.find(topic) is None
            await make(subject)
            again = await finder.find(topic)
            assert again is not None
            assert again.id != first.id
        finally:
            finder.close()
