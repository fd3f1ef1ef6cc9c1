"""Planted bugs: one-line changes of the protocol that the simulation has to find, each on a copy of the sources.

| module | holds |
|---|---|
| `mutation` | what a mutation is, and how it changes a copy |
| `catalogue` | all of them, from the modules beside it |
| `claims` | one writer per partition: claims, proofs, epochs, restores |
| `commands` | each command is decided once: the feed, keys, repetitions |
| `effects` | calls, delays, retries: what happens outside, and when |
| `retries`, `resumes` | instances that run once more, activities that go on after a pause |
| `submissions` | what other services append themselves |
| `triggers` | messages become occurrences, and occurrences become instances |
| `snapshots` | what a restart goes on from |
| `kafka` | the feed of commands, the topics that engines write, listening for triggers |
| `front` | the read model, public events, and what the API answers |
| `searches`, `streams` | instances that are searched, and followed |
| `acts` | who did what |
| `bulk` | actions on many instances |
| `retention` | instances that are deleted from the read model |
| `encryption` | values that nobody reads without a key |
| `finders` | which seed found each the last time, and so is tried first |
| `trial` | a process of its own: runs seeds on the copy until one fails |
| `runner` | copies, trials in parallel, deadlines |

`python -m tests.mutations` runs them. A bug that the simulation misses is a hole in it: close the hole with a check of
what a user would lose, not with a change of the mutation.
"""
