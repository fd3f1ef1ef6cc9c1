"""`orchestration log`: shows what stands in topic `events`, as it stands there.

| module | holds |
|---|---|
| `reading` | finds records in Kafka: those of an aggregate, or of a partition from an offset on |
| `shown` | a record as a line for people, or as JSON |
| `command` | the command |

What is known of a record, and whether it counts, is in `schemas.log_entries`: the API shows records, too.
"""
