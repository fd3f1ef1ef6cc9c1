"""Kafka as all processes use it: producers, consumers, how they end. What we know of aiokafka's faults is here alone.

| module | holds |
|---|---|
| `options` | where the brokers are, how to log in, a member's place in its group |
| `client` | connections, timeouts and silent brokers, for everything below |
| `silence` | which brokers don't answer |
| `consumer` | consumers |
| `header_names` | teaches aiokafka to read header names that are not UTF-8 |
| `member` | a member of a consumer group: where its partitions begin is decided before a record is handed over |
| `table` | a table that a compacted topic keeps, followed |
| `producer` | the idempotent producer that outlives its faults, and how any producer is ended |
| `admin` | the client that makes topics |
| `closing` | the one way to close a consumer or an admin client, by a deadline |
| `leaving` | takes a static member out of its group |
| `topic_finder` | which topics exist, with Kafka's ids |
"""

from schemas.kafka.admin import Admin
from schemas.kafka.closing import close, closing
from schemas.kafka.consumer import Consumer
from schemas.kafka.errors import KafkaAway, NotAcknowledged, UnreadableRecords
from schemas.kafka.options import client_options, membership
from schemas.kafka.producer import IdempotentProducer, Producer, end

__all__ = [
    "Admin",
    "Consumer",
    "IdempotentProducer",
    "KafkaAway",
    "NotAcknowledged",
    "Producer",
    "UnreadableRecords",
    "client_options",
    "close",
    "closing",
    "end",
    "membership",
]
