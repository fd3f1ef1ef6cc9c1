"""The read model: events of the log as rows of Postgres, and the questions that the API asks of them.

| module | holds |
|---|---|
| `process` | the consumer: records of topic `events` in, transactions out |
| `projector`, `event_reader` | records to batches, and what to do about a record that can't be stored |
| `fold`, `rows`, `names`, `states`, `keys` | what events mean for rows; pure |
| `bulk_rows`, `retries` | likewise, of bulk operations and of instances that are retried |
| `read_rows`, `acts` | rows as they are read, and what people did; pure |
| `ports` | the read model as the projections write it |
| `store` | on Postgres: one batch, one transaction |
| `counting` | roll-ups of rows, which statistics are answered from |
| `memory`, `memory_queries`, `memory_search`, `memory_counts`, `memory_stats` | in memory, for tests and simulations |
| `catching_up` | when readers may read again after Postgres lost something |
| `announcements` | what a batch tells requests that wait |
| `admission`, `log_watch` | which partitions are read, and looking whether their log is what it was |
| `standstills` | tells of partitions that stand still |
| `giving_way` | what a projector does when another writes the same partitions |
| `rebuild/` | rebuilds the read model beside the live one, then swaps the two |
| `verification/` | compares the read model with the log |
| `bulk/` | runs bulk operations |
| `retention` | deletes instances that ended long ago |
| `repairs` | what an operator's repair needs of the read model |
| `migrate`, `migrations/` | the schema, forward only |
| `queries/` | what the API reads: rows, pages, positions |
| `database`, `sql/` | connections, and the statements by name |
| `postgres_connection`, `prepared`, `deadlines` | a short statement that costs little: socket, plan, time |
| `publisher/` | publishes events on the public topic |
| `cancellation` | work that is not to be broken off |
| `metrics`, `errors` | what Prometheus sees; what can go wrong |
"""
