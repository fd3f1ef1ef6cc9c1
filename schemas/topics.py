"""The Kafka topics: names, partitions and how long each keeps its records.

`commands` and `events` have the same number of partitions and the same key, so partition p of one belongs to
partition p of the other. So do the public topic, where public events of partition p go to partition p, and
`events.published`, which says how far they are (see `projections.publisher`). So does `snapshots`, where partition p is
the state of partition p (see `engine.snapshot_records`). `triggers.positions` says how far listening for triggers is
(see `schemas.trigger_positions`).
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from murmurhash2 import murmurhash2

from schemas.settings import EngineSettings, KafkaSettings, SettingsError, variable

MAX_RECORD_BATCH_BYTES: Final = 8 * 1024 * 1024
"""`max.message.bytes` of our topics: one decision is one batch, and a batch above this would be refused for ever."""
MAX_COMMAND_BYTES: Final = MAX_RECORD_BATCH_BYTES - 4096
"""Largest command, with room for key and headers. One that only the broker refuses would kill the producer."""
MAX_FETCH_BYTES: Final = 2 * MAX_RECORD_BATCH_BYTES
"""Most that a fetch brings, which bounds the memory that it takes. At least one record batch must fit."""

MURMUR2_SEED: Final = 0x9747B28C
"""That of Kafka's clients: `org.apache.kafka.common.utils.Utils.murmur2`."""

COMMANDS: Final = "commands"
EVENTS: Final = "events"
COMMANDS_DEAD: Final = "commands.dead"
DEFINITIONS: Final = "definitions"
SNAPSHOTS: Final = "snapshots"
EVENTS_PUBLISHED: Final = "events.published"
TRIGGERS_POSITIONS: Final = "triggers.positions"
PUBLIC: Final = "orchestration"

SEALED_TOPICS: Final = (COMMANDS, EVENTS, SNAPSHOTS, DEFINITIONS, COMMANDS_DEAD)
"""Topics whose values can be encrypted (`schemas.encryption`). The public topic is for others to read; topics of
positions hold no content."""

POSITIONS_SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Size of a segment of `events.published` and `triggers.positions`. The last record of a key counts, but the newest
segment is never compacted, and by default it may grow to a gigabyte, which takes its time to read."""

SNAPSHOT_SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""Size of a segment of `snapshots`: it must hold the largest batch, and the newest one is never compacted, so a restore
reads so much that is out of date."""

SNAPSHOT_DIRTY_RATIO: Final = 0.3
"""Which part of a partition of `snapshots` may be out of date before it is compacted. A restore reads it all, so with
Kafka's default, half, it would read twice what lives. With less, Kafka would copy what lives again and again: at 0.3 it
copies three times what is written."""

SNAPSHOT_TOMBSTONE_MS: Final = 60_000
"""How long `snapshots` keeps the mark that something is gone. Kafka's default is a day: everything that ended in it
would be read by every restore. A reader that takes longer than this may miss one; the count in the marker shows it, and
it reads again."""

SNAPSHOT_COMPACTION_LAG_MS: Final = 3_600_000
"""By when Kafka compacts at the latest. Where small segments are not allowed, the newest one would grow to a gigabyte
before that."""

TIME_OF_APPEND: Final = "LogAppendTime"
"""Commands expire by the clock of the brokers. By that of whoever has sent it, or by a time that another service has
taken from what its submission is about, one could be deleted before it is decided."""

MIN_REPLICAS_TO_SPARE_ONE: Final = 3
"""With this many replicas two of them acknowledge a write, and one broker may be away. With Kafka's default, one, an
acknowledged payment could be lost together with the broker that alone had it."""


class Topic(Struct, frozen=True):
    """One topic as `orchestration topics create` makes it."""

    name: str
    partitions: int
    config: dict[str, str]
    """What we can't do without."""
    wishes: dict[str, str] = {}
    """What is better than the broker's default. A Kafka that somebody else runs may not allow it."""


def topic_name(settings: KafkaSettings, topic: str) -> str:
    """The name of a topic in Kafka, with the installation's prefix."""
    return settings.topic_prefix + topic


def public_topic(settings: KafkaSettings) -> str:
    """The name of the topic of public events in Kafka."""
    return settings.public_topic or topic_name(settings, PUBLIC)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's default partitioner computes it."""
    return int(murmurhash2(key, MURMUR2_SEED) & 0x7FFFFFFF) % partitions


def used_partitions(settings: KafkaSettings, found: int) -> int:
    """How many partitions of `commands` and `events` an installation uses.

    Somebody may give a topic more than it was made with, and Kafka takes none away again. If keys moved to other
    partitions then, nobody would find there what an instance has done before.

    Args:
        settings: say with how many the topics were made.
        found: how many there are now.
    """
    return min(found, settings.partitions)


def trigger_topics(settings: EngineSettings) -> list[str]:
    """The topics of other services that are listened to, each once, as they are named."""
    return list(dict.fromkeys(name for text in settings.trigger_topics.split(",") if (name := text.strip())))


def topics(settings: KafkaSettings) -> tuple[Topic, ...]:
    """All topics of an installation, with their configuration.

    Raises:
        SettingsError: `topic_config` sets what is not the user's to set.
    """
    return tuple(_configured(settings, topic) for topic in _topics(settings))


def _configured(settings: KafkaSettings, topic: Topic) -> Topic:
    given = dict(pair.split("=", 1) for pair in settings.topic_config.split(",") if pair)
    for key in given.keys() & topic.config.keys():
        raise SettingsError(
            f"{variable('topic_config')} sets {key}, but topic {topic.name} needs {key}={topic.config[key]}"
        )
    wishes = dict(topic.wishes)
    if settings.replication_factor >= MIN_REPLICAS_TO_SPARE_ONE:
        wishes["min.insync.replicas"] = "2"
    return replace(
        topic,
        config={**topic.config, **given},
        wishes={key: value for key, value in wishes.items() if key not in given},
    )


def _topics(settings: KafkaSettings) -> tuple[Topic, ...]:
    size = {"max.message.bytes": str(MAX_RECORD_BATCH_BYTES)}
    log = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", **size}
    events_retention = settings.events_retention_seconds
    return (
        Topic(
            topic_name(settings, COMMANDS),
            settings.partitions,
            {**log, "retention.ms": str(settings.commands_retention_seconds * 1000)},
            {"message.timestamp.type": TIME_OF_APPEND},
        ),
        Topic(
            topic_name(settings, EVENTS),
            settings.partitions,
            log if events_retention is None else {**log, "retention.ms": str(events_retention * 1000)},
        ),
        Topic(topic_name(settings, COMMANDS_DEAD), 1, log),
        Topic(topic_name(settings, DEFINITIONS), 1, {"cleanup.policy": "compact", **size}),
        Topic(public_topic(settings), settings.partitions, log),
        Topic(
            topic_name(settings, SNAPSHOTS),
            settings.partitions,
            {"cleanup.policy": "compact", **size},
            {
                "segment.bytes": str(SNAPSHOT_SEGMENT_BYTES),
                "min.cleanable.dirty.ratio": str(SNAPSHOT_DIRTY_RATIO),
                "delete.retention.ms": str(SNAPSHOT_TOMBSTONE_MS),
                "max.compaction.lag.ms": str(SNAPSHOT_COMPACTION_LAG_MS),
            },
        ),
        Topic(
            topic_name(settings, EVENTS_PUBLISHED),
            settings.partitions,
            {"cleanup.policy": "compact"},
            {"segment.bytes": str(POSITIONS_SEGMENT_BYTES)},
        ),
        Topic(
            topic_name(settings, TRIGGERS_POSITIONS),
            1,
            {"cleanup.policy": "compact"},
            {"segment.bytes": str(POSITIONS_SEGMENT_BYTES)},
        ),
    )
