"""Kafka as all processes use it. What we know of aiokafka is here alone; what others use is in `ports` and `errors`.

| module | holds |
|---|---|
| `ports` | what a process needs of Kafka, as small protocols: begin here |
| `errors` | what these raise |
| `kept_reader` | a reader for questions that stays connected; on the protocols |
| `span` | the records from an offset to another; on the protocols |
| `stay` | how long somebody is a member of a group; on the protocols |
| `table` | a table that a compacted topic keeps, followed; on the protocols |
| `tail` | the newest record of some kind, looked for from the end; on the protocols |
| `sealed` | the protocols with encryption at rest (`schemas.encryption`); on the protocols |
| `memory` | the protocols on a cluster in memory |
| `clients` | `clients_of` settings: the protocols on aiokafka, made of all that follows, `sealed` if there are keys |
| `options` | where the brokers are, how to log in |
| `client` | connections, timeouts and silent brokers, for everything below |
| `silence` | which brokers don't answer |
| `consumer` | consumers |
| `foreign_records` | teaches aiokafka to read on where others have written what it can't hand out |
| `unpacking` | bounds how large record batches may become once they are unpacked |
| `member` | a member of a consumer group: a seat in the group and a consumer that reads what the seat has |
| `seat` | who has which partitions |
| `reader` | reads partitions without a group |
| `marks` | where the ends of transactions are, which nobody is handed |
| `producer_client` | a producer of aiokafka as we need it: what a broker refuses for certain, and how one is ended |
| `producer` | the idempotent producer that outlives its faults |
| `transactions` | writes to several topics at once |
| `batches` | record batches |
| `metadata` | a question about topics that makes none by asking |
| `admin` | makes topics |
| `faults` | turns errors of aiokafka into ours |
| `closing` | the one way to close a consumer, a seat or an admin client, by a deadline |
| `static_members` | what aiokafka can't ask about members that have a name |
| `inspection` | what a cluster tells about itself, for `orchestration doctor` |
| `topic_finder` | which topics exist, with Kafka's ids |
"""

from schemas.kafka.clients import CLIENT_LOGGER, KafkaClients, clients_of
from schemas.kafka.errors import (
    BatchTooLarge,
    Fenced,
    KafkaAway,
    KafkaFault,
    KafkaUnreachable,
    NameTaken,
    NotAcknowledged,
    Refused,
    TransactionFailed,
    UnreadableRecords,
)
from schemas.kafka.kept_reader import KeptReader
from schemas.kafka.ports import (
    COORDINATOR_AWAY_SECONDS,
    PROMPT_FETCH_SECONDS,
    Admin,
    FoundTopic,
    Kafka,
    Limits,
    Member,
    Membership,
    NewTopic,
    Outgoing,
    Place,
    Producer,
    Reader,
    Refusal,
    TopicFinder,
    Transactions,
)
from schemas.kafka.span import read_span
from schemas.kafka.stay import staying
from schemas.kafka.table import TableReader
from schemas.kafka.tail import search_tail

__all__ = [
    "CLIENT_LOGGER",
    "COORDINATOR_AWAY_SECONDS",
    "PROMPT_FETCH_SECONDS",
    "Admin",
    "BatchTooLarge",
    "Fenced",
    "FoundTopic",
    "Kafka",
    "KafkaAway",
    "KafkaClients",
    "KafkaFault",
    "KafkaUnreachable",
    "KeptReader",
    "Limits",
    "Member",
    "Membership",
    "NameTaken",
    "NewTopic",
    "NotAcknowledged",
    "Outgoing",
    "Place",
    "Producer",
    "Reader",
    "Refusal",
    "Refused",
    "TableReader",
    "TopicFinder",
    "TransactionFailed",
    "Transactions",
    "UnreadableRecords",
    "clients_of",
    "read_span",
    "search_tail",
    "staying",
]
