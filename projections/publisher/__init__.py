"""Publishes events on the public topic, each of them once (contract: `triggers-and-events`, "Published events").

The order of things, for every partition of `events` that the consumer group has given to this process (`publisher`):

1. The partition's transactional producer is started (`public_writer`). From then on Kafka refuses all earlier producers
   with its transactional id, and what they left unfinished is committed or aborted.
2. The position is read: the last committed record of the partition of topic `events.published` (`positions`).
3. Events behind the position become public events (`public_events`). They go out with the new position in one
   transaction: for a `read_committed` consumer both are there or neither is.
4. After any failure, also one of unknown outcome, this starts over at 1.

Because nobody else can write between 1 and the end of a transaction, every event is published once, in the order of
its partition, wherever a publisher was killed. An event of partition p goes to partition p of the public topic, so
that what happened to one instance or trigger stays in order, and each public partition has one writer.

The position is not kept in the consumer group. Kafka drops the offsets of a group without members after a week, so a
long outage would publish everything again; and without `require_stable`, which aiokafka can't ask for, the group may
answer with the position before the last transaction. It can't be read from the public topic either, whose records may
have expired. It does not depend on the read model, so a rebuild publishes nothing.

| module | holds |
|---|---|
| `publisher` | the member of the consumer group: which partitions are published here |
| `partition_publisher` | one partition: read, map, publish |
| `public_events` | events of the log as public events; pure |
| `public_writer` | transactions on the public topic |
| `positions`, `lost_positions` | how far events were published, and where to go on when that was lost |
| `metrics`, `errors` | what Prometheus sees; why a partition is not published |
"""

from projections.publisher.publisher import Publisher

__all__ = ["Publisher"]
