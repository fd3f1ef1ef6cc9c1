"""The engine: decides commands, runs the stages of instances, and carries out what they need done.

| module | holds |
|---|---|
| `core` | the state of a partition and all decisions, pure |
| `turn` | inputs decided one after another, as one batch of records |
| `partition` | the owner of a partition: claim, restore, turns, proof |
| `runner`, `timers`, `run_commands` | carrying out effects |
| `activities` | calls of the stack |
| `triggers` | listening to other services' messages |
| `supervisor`, `process` | which partitions this engine owns, and how it is put together |
| `command_feed`, `kafka_log` | commands and events on Kafka |
| `ports`, `clock`, `metrics`, `errors` | what these share |

`docs/engine.md` follows a command through them.
"""
