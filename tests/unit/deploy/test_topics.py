"""Making the topics: what each needs, and a Kafka that does not allow everything."""

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from deploy import topics as making
from deploy.errors import TopicsError
from deploy.topics import _create
from schemas.kafka import ports
from schemas.kafka.admin import TopicAdmin, _unready
from schemas.settings import KafkaSettings, SettingsError
from schemas.topics import topics

INVALID_REPLICATION_FACTOR, INVALID_CONFIG, INVALID_REQUEST, POLICY_VIOLATION, EXISTS = 38, 40, 42, 44, 36


class Admin:
    """A Kafka with rules of its own.

    Args:
        code: of its refusals.
        allowed: configuration that it takes; everything when not given.
        least: smallest values that it takes.
        factor: the only replication factor that it takes, beside its default.
        existing: topics that somebody else makes at the same time.
    """

    def __init__(
        self,
        code: int = INVALID_CONFIG,
        allowed: set[str] | None = None,
        least: dict[str, int] | None = None,
        factor: int | None = None,
        existing: Sequence[str] = (),
    ):
        self._code, self._allowed, self._least, self._factor = code, allowed, least or {}, factor
        self._existing = existing
        self.made: dict[str, NewTopic] = {}

    async def create_topics(self, new: Sequence[NewTopic], timeout_ms: int) -> Any:
        return SimpleNamespace(topic_errors=[(topic.name, *self._make(topic)) for topic in new])

    def _make(self, topic: NewTopic) -> tuple[int, str | None]:
        if topic.name in self._existing:
            return EXISTS, None
        if self._factor and topic.replication_factor not in (-1, self._factor):
            return INVALID_REPLICATION_FACTOR, f"Replication factor must be {self._factor}"
        for key, value in topic.topic_configs.items():
            if self._allowed is not None and key not in self._allowed:
                return self._code, f"Config {key} can't be set"
            if key in self._least and int(value) < self._least[key]:
                return self._code, f"{key} must be at least {self._least[key]}"
        self.made[topic.name] = topic
        return 0, None


def confluent_cloud() -> Admin:
    return Admin(POLICY_VIOLATION, least={"segment.bytes": 50 * 1024 * 1024}, factor=3)


def msk_serverless() -> Admin:
    editable = {"cleanup.policy", "compression.type", "max.message.bytes", "retention.bytes", "retention.ms"}
    return Admin(INVALID_REQUEST, allowed=editable)


async def create(admin: Admin, **settings: Any) -> list[str]:
    kafka = KafkaSettings(**settings)
    return await _create(TopicAdmin(admin), topics(kafka), kafka.replication_factor)


NAMES = [topic.name for topic in topics(KafkaSettings())]


async def test_a_kafka_that_takes_everything_gets_all_that_we_wish_for() -> None:
    admin = Admin()
    assert await create(admin) == NAMES
    assert admin.made["events"].topic_configs == {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": "8388608",
    }
    assert admin.made["commands"].topic_configs["message.timestamp.type"] == "LogAppendTime"
    # With a limit of the brokers' own, many commands would be deleted before an engine that was down has decided them.
    assert admin.made["commands"].topic_configs["retention.bytes"] == "-1"
    assert admin.made["events.published"].topic_configs == {"cleanup.policy": "compact", "segment.bytes": "8388608"}
    assert admin.made["snapshots"].topic_configs == {
        "cleanup.policy": "compact",
        "max.message.bytes": "8388608",
        "segment.bytes": "16777216",
        "min.cleanable.dirty.ratio": "0.3",
        "delete.retention.ms": "60000",
        "max.compaction.lag.ms": "3600000",
    }
    assert {topic.replication_factor for topic in admin.made.values()} == {-1}


async def test_events_may_have_a_retention() -> None:
    admin = Admin()
    await create(admin, events_retention_seconds=7)
    assert {name: made.topic_configs.get("retention.ms") for name, made in admin.made.items()} == {
        **dict.fromkeys(NAMES),
        "commands": "2592000000",
        "events": "7000",
        "commands.dead": "-1",
        "orchestration": "-1",
    }


@pytest.mark.parametrize("admin", [confluent_cloud(), msk_serverless()], ids=["Confluent Cloud", "MSK Serverless"])
@pytest.mark.parametrize("factor", [-1, 3])
async def test_a_hosted_kafka_gets_what_is_needed(admin: Admin, factor: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert await create(admin, replication_factor=factor) == NAMES
    assert admin.made["events.published"].topic_configs == {"cleanup.policy": "compact"}
    assert admin.made["events"].topic_configs["retention.ms"] == "-1"
    assert any("topic events.published is made without segment.bytes=8388608" in line for line in caplog.messages)


async def test_with_three_replicas_two_acknowledge() -> None:
    admin = Admin()
    await create(admin, replication_factor=3)
    assert {topic.topic_configs["min.insync.replicas"] for topic in admin.made.values()} == {"2"}
    await create(admin, replication_factor=1)
    assert not any("min.insync.replicas" in topic.topic_configs for topic in admin.made.values())


async def test_what_the_user_sets_is_set_and_no_wish_of_ours_any_more() -> None:
    admin = confluent_cloud()
    await create(admin, topic_config="segment.bytes=52428800,min.insync.replicas=1", replication_factor=3)
    assert {topic.topic_configs["segment.bytes"] for topic in admin.made.values()} == {"52428800"}
    assert {topic.topic_configs["min.insync.replicas"] for topic in admin.made.values()} == {"1"}


async def test_a_refusal_names_the_key_and_what_to_do() -> None:
    with pytest.raises(TopicsError) as refused:
        await create(confluent_cloud(), topic_config="segment.bytes=1048576")
    assert str(refused.value) == (
        "Kafka refuses topic commands with segment.bytes=1048576: segment.bytes must be at least 52428800; change "
        "ORCHESTRATION_TOPIC_CONFIG, allow these values in Kafka, or create the topic by hand (see docs/operations.md)"
    )
    with pytest.raises(TopicsError, match="must be 3; set ORCHESTRATION_REPLICATION_FACTOR to what it allows"):
        await create(confluent_cloud(), replication_factor=2)


async def test_a_topic_that_somebody_else_has_just_made_is_fine() -> None:
    assert await create(Admin(existing=["events", "definitions"])) == [
        name for name in NAMES if name not in ("events", "definitions")
    ]


@pytest.mark.parametrize("text", ["retention.ms=1", "segment.ms=1,cleanup.policy=compact", "max.message.bytes=1"])
def test_what_a_topic_needs_is_not_the_users_to_set(text: str) -> None:
    with pytest.raises(SettingsError, match="ORCHESTRATION_TOPIC_CONFIG sets"):
        topics(KafkaSettings(topic_config=text))


class SlowBrokers:
    """A Kafka whose brokers learn of topics one look after another, or never.

    Args:
        looks: after how many all know them.
    """

    def __init__(self, looks: int):
        self.looks = looks

    async def partitions(self) -> dict[str, int]:
        return {}

    async def create(self, topics: Sequence[ports.NewTopic]) -> dict[str, ports.Refusal]:
        return {}

    async def unready(self, topics: Sequence[str]) -> set[str]:
        self.looks -= 1
        return set(topics[-2:]) if self.looks >= 0 else set()

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator["SlowBrokers"]:
        yield self


async def test_it_is_waited_until_every_broker_knows_the_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "LOOK_SECONDS", 0.0)
    kafka: Any = SlowBrokers(3)
    assert await making.create_topics(KafkaSettings(), kafka) == NAMES
    assert kafka.looks == -1


async def test_topics_that_nobody_can_use_in_time_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "READY_SECONDS", 0.0)
    kafka: Any = SlowBrokers(10**9)
    with pytest.raises(TopicsError, match="after 0 s, not every broker has a leader for each partition of"):
        await making.create_topics(KafkaSettings(), kafka)


def test_a_broker_that_lacks_a_topic_or_a_leader_is_noticed() -> None:
    led: Any = (0, 0, 1, 0, [1], [1], [])
    unled: Any = (0, 1, -1, 0, [1], [1], [])
    topics_ = [
        (0, "a", False, [led], 0),
        (0, "b", False, [led, unled], 0),
        (3, "c", False, [], 0),
        (29, "d", False, [], 0),
    ]
    assert _unready(SimpleNamespace(topics=topics_)) == {"b", "c"}
