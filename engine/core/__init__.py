"""State and decisions of the engine, pure: no await, clock, randomness or IO. Time and results come in as arguments.

| module | holds |
|---|---|
| `shard` | one partition as its owner sees it: `decide`, `replay`, `effect`, `cut` |
| `state` | what it decides on: the state, and how events change it |
| `decisions`, `stages`, `send` | what follows from an input for an instance: its stages, and the activities of a send |
| `instance`, `trigger`, `workflow`, `bulk` | the aggregates: their states, and `evolve`, which folds events into them |
| `evaluation` | messages that wait for links |
| `submissions` | commands of other services, and those of them that wait for a definition |
| `instances`, `occurrences` | all instances, and all occurrences of triggers that something is still to be done for |
| `requests` | requests that come again, by their Idempotency-Key |
| `duplicates`, `judgements` | what tells commands, messages and results that come again |
| `definition` | definitions, shared by their instances |
| `sections`, `snapshots` | what changed since the last snapshot; how one is written and read |
| `log_time` | the time of the log, and what of it counts as passed |
| `effects` | what has to happen outside, as data |
| `retries` | when an activity is tried again |
| `retrying` | what is done again when an instance that has failed runs once more |
| `errors` | what a decision can raise |

Effects are a function of the state, so a restart derives them again.
"""
