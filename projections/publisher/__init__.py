"""Publishes what happened on the public topic (contract: `triggers-and-events`, "Published events"), each event once.

The order of things, for every partition of `events` that the consumer group has given to this process (`publisher`):

1. The partition's transactional producer is started (`transactions`). From then on Kafka refuses every other producer
   with its transactional id, and what such a one left unfinished is committed or aborted by then.
2. The position is read: the last committed record of the partition of topic `events.published` (`positions`).
3. Events behind the position become public events (`public_events`). They go out with the new position in one
   transaction: for a `read_committed` consumer both are there or neither is.
4. After any failure, also one of unknown outcome, this begins anew at 1.

Because nobody else can write between 1 and the end of a transaction, every event is published once, in the order of
its partition, wherever a publisher was killed. An event of partition p goes to partition p of the public topic, so
that what happened to one instance or trigger stays in order, and each public partition has one writer.

The position is not one of the consumer group's. Kafka drops those of a group without members after a week, so that a
long outage would publish everything again; and without `require_stable`, which aiokafka can't ask for, the group may
answer with the position before the last transaction. It can't be read from the public topic either, whose records
may have expired. It is independent of the read models': to rebuild those publishes nothing.
"""

from projections.publisher.publisher import Publisher

__all__ = ["Publisher"]
