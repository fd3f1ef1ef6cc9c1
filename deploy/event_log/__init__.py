"""`orchestration log`: shows what stands in topic `events`, as it stands there.

| module | holds |
|---|---|
| `entries` | a record with what is known about it: its claim, and whether it counts. No IO |
| `reading` | finds records in Kafka: those of an aggregate, or of a partition from an offset on |
| `shown` | a record as a line for people, or as JSON |
| `command` | the command |
"""
