"""`orchestration test`: scenarios of workflows, run by the engine's own code on a virtual clock (docs/scenarios.md).

A scenario says what there is, what comes from outside and what should come of it. It runs in one process without Kafka,
Postgres, sockets or threads. What decides, what carries out effects, what makes requests of activities and reads the
answers is the engine's; the stack is the sandbox. So a scenario shows what an engine would do; what it leaves out is
what keeps engines from losing anything: the log, claims, takeovers.

    files ──► Case ──► play ──► Played ──► expectations ──► differences ──► report

| module | holds |
|---|---|
| `model` | what a scenario file may hold |
| `reading`, `rules`, `problems` | from YAML to the model: every problem with its line and column |
| `schema` | the model as JSON Schema, for editors |
| `files` | which files there are, and their scenarios as cases |
| `virtual_time` | an event loop and a clock whose time jumps |
| `times` | durations and moments |
| `stack`, `transport`, `books` | the sandbox in this process: what is put in, how calls reach it, what is in it |
| `owner` | the engine's turns and effects on one shard |
| `play` | one case from start to end |
| `live` | what a case begins with, for a sandbox of an installation |
| `story` | what happened, from the events |
| `expectations`, `running` | how that differs from what was expected; both for one case |
| `timeline`, `report`, `junit` | told to people and to machines |
| `command` | the command |
"""
