"""What every Kafka client of ours shares. Workarounds for faults of aiokafka belong here and nowhere else.

| module | holds |
|---|---|
| `options` | where the brokers are, how to log in, a member's place in its group |
| `closing` | the one way to close a client, by a deadline |
| `leaving` | takes a static member out of its group |
| `member` | a member of a consumer group: where its partitions begin is decided before a record is handed over |
| `table` | a table that a compacted topic keeps, followed |
| `topic_finder` | which topics exist, with Kafka's ids |
"""

from schemas.kafka.closing import close, closing
from schemas.kafka.options import client_options, membership

__all__ = ["client_options", "close", "closing", "membership"]
