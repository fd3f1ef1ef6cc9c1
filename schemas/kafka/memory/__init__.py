"""Kafka in memory: a cluster that any number of processes share, behind the same ports as the real one.

| module | holds |
|---|---|
| `kafka` | `MemoryKafka`: the ports, as one process sees the cluster |
| `cluster` | the state of the cluster: topics, groups, transactional names |
| `log` | one partition: batches, transactions, what a reader sees |
| `group` | one consumer group: who is in it, and who has which partitions |
| `network` | what lies between a process and the cluster. What goes wrong there is decided by whoever overrides it |
| `process` | what all clients of one process share |
| `producer`, `member`, `reader`, `transactions`, `topics` | the clients |

It has no threads, opens no connections and takes its time from the event loop alone, so it runs on a virtual clock. The
cluster's state changes in plain calls, at one moment each. All that a client awaits is the network.

Neither requests that are on their way nor timers of the cluster belong to the process that has caused them: they run in
contexts of their own (see `contextvars`). So a simulation can kill a process whose request then arrives.

Not modelled: limits of a fetch in bytes, and `Membership.max_idle_seconds`. What is compacted is told by tests.
"""

from schemas.kafka.memory.cluster import MemoryCluster, Witness
from schemas.kafka.memory.kafka import MemoryKafka
from schemas.kafka.memory.log import StoredRecord
from schemas.kafka.memory.network import Network, Request, RequestLost

__all__ = ["MemoryCluster", "MemoryKafka", "Network", "Request", "RequestLost", "StoredRecord", "Witness"]
