"""The engine: decides commands, runs the stages of instances, and carries out what they need done.

| module | holds |
|---|---|
| `core` | the state of a partition and all decisions, pure |
| `turn` | inputs decided one after another, as one batch of records |
| `partition` | the owner of a partition: claim, restore, turns, proof |
| `log_checks` | whether a partition's log is still the one that its owners knew |
| `restore` | its state from the newest snapshot and the events behind it |
| `snapshot_rounds`, `snapshot_records` | writing snapshots beside the turns, and their layout |
| `known_snapshots` | whether topic `snapshots` still holds what was written |
| `runner`, `wanted`, `timers`, `slots`, `effect_queue`, `run_commands`, `workflow_finder` | carrying out effects |
| `activities` | calls of the stack |
| `triggers` | listening to other services' messages |
| `supervisor`, `shared`, `process` | which partitions this engine owns, what they share, and how it is put together |
| `command_feed`, `kafka_log`, `kafka_snapshots` | commands, events and snapshots on Kafka |
| `pauses`, `lateness` | letting others run during long work, and measuring how late they are |
| `ports`, `clock`, `metrics`, `errors` | what these share |

`docs/engine.md` follows a command through them.
"""
