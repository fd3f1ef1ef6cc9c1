"""Kafka as all processes use it. What we know of aiokafka is here alone; what others use is in `ports` and `errors`.

| module | holds |
|---|---|
| `ports` | what a process needs of Kafka, as small protocols: begin here |
| `errors` | what these raise |
| `clients` | the protocols on aiokafka |
| `options` | where the brokers are, how to log in, a member's place in its group |
| `client` | connections, timeouts and silent brokers, for everything below |
| `silence` | which brokers don't answer |
| `consumer` | consumers |
| `header_names` | teaches aiokafka to read header names that are not UTF-8 |
| `member` | a member of a consumer group: where its partitions begin is decided before a record is handed over |
| `reader` | reads partitions without a group |
| `table` | a table that a compacted topic keeps, followed |
| `producer` | the idempotent producer that outlives its faults, and how any producer is ended |
| `transactions` | writes to several topics at once |
| `batches` | record batches |
| `admin` | makes topics |
| `faults` | turns errors of aiokafka into ours |
| `closing` | the one way to close a consumer or an admin client, by a deadline |
| `leaving` | takes a static member out of its group |
| `topic_finder` | which topics exist, with Kafka's ids |
"""

from schemas.kafka.clients import KafkaClients
from schemas.kafka.closing import close, closing
from schemas.kafka.consumer import Consumer
from schemas.kafka.errors import (
    BatchTooLarge,
    Fenced,
    KafkaAway,
    KafkaFault,
    KafkaUnreachable,
    NotAcknowledged,
    TransactionFailed,
    UnreadableRecords,
)
from schemas.kafka.options import client_options, membership
from schemas.kafka.ports import (
    FoundTopic,
    Kafka,
    Limits,
    Member,
    Membership,
    NewTopic,
    Place,
    Reader,
    Refusal,
    TopicFinder,
    Transactions,
)
from schemas.kafka.producer import Producer, end

__all__ = [
    "BatchTooLarge",
    "Consumer",
    "Fenced",
    "FoundTopic",
    "Kafka",
    "KafkaAway",
    "KafkaClients",
    "KafkaFault",
    "KafkaUnreachable",
    "Limits",
    "Member",
    "Membership",
    "NewTopic",
    "NotAcknowledged",
    "Place",
    "Producer",
    "Reader",
    "Refusal",
    "TopicFinder",
    "TransactionFailed",
    "Transactions",
    "UnreadableRecords",
    "client_options",
    "close",
    "closing",
    "end",
    "membership",
]
