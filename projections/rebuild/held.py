"""Where the live read model is, and whether the log holds all that it shows."""

from collections.abc import Mapping
from typing import NamedTuple

from psycopg import sql

from projections.errors import RowsWouldBeLost
from projections.postgres_connection import PostgresConnection
from schemas.kafka import FoundTopic, Kafka, KafkaFault, Place


class LivePosition(NamedTuple):
    """How far a partition is in the live read model."""

    next_offset: int
    topic_id: str | None
    """Empty or None if it is not known."""


async def live_positions(connection: PostgresConnection, live: str) -> dict[int, LivePosition]:
    """How far the live read model is, by partition. Empty when there is none.

    Args:
        connection: to its database.
        live: its schema.
    """
    table = sql.Identifier(live, "positions")
    if not await _exists(connection, table):
        return {}
    # A schema that is not migrated yet has no topic.
    query = sql.SQL("SELECT partition, next_offset, to_jsonb(p)->>'topic_id' FROM {} p").format(table)
    cursor = await connection.execute(query)
    return {partition: LivePosition(*rest) for partition, *rest in await cursor.fetchall()}


async def applied_migrations(connection: PostgresConnection, live: str) -> set[str]:
    """The names of the migrations that the live read model has; the arguments as in `live_positions`."""
    table = sql.Identifier(live, "migrations")
    if not await _exists(connection, table):
        return set()
    cursor = await connection.execute(sql.SQL("SELECT name FROM {}").format(table))
    return {name for (name,) in await cursor.fetchall()}


async def _exists(connection: PostgresConnection, table: sql.Identifier) -> bool:
    cursor = await connection.execute("SELECT to_regclass(%s)", (table.as_string(connection),))
    return (await cursor.fetchall()) != [(None,)]


async def check_log(kafka: Kafka, topic: str, live: Mapping[int, LivePosition]) -> FoundTopic:
    """Check that the log holds all that the live read model shows, and return what is known of its topic.

    Raises:
        RowsWouldBeLost: it does not.
        KafkaFault: Kafka is away or refuses, or the log does not exist.
    """
    finder = kafka.topic_finder()
    try:
        found = await finder.find(topic)
    finally:
        finder.close()
    if found is None:
        raise KafkaFault(f"topic {topic} does not exist")
    async with kafka.reader() as reader:
        limits = await reader.limits([Place(topic, partition) for partition in range(found.partitions)])
    for place, (oldest, end) in limits.items():
        position = live.get(place.partition, LivePosition(0, None))
        if oldest > 0:
            raise RowsWouldBeLost(refusal(place, f"begins at offset {oldest}: what came before has been deleted"))
        if position.next_offset > end:
            text = f"ends at offset {end}, but the read model has what came up to {position.next_offset}"
            raise RowsWouldBeLost(refusal(place, text))
        if position.next_offset and position.topic_id and found.id and position.topic_id != found.id:
            raise RowsWouldBeLost(refusal(place, "was created again since the read model was written"))
    return found


def refusal(place: Place, text: str) -> str:
    """Why there is no rebuild.

    Args:
        place: where something is missing.
        text: what is missing, as the end of a sentence.
    """
    return (
        f"topic {place.topic}, partition {place.partition} {text}. A rebuild would lose these rows, so nothing was"
        " changed. To begin with an empty read model instead, see *Rebuild* in docs/operations.md"
    )
