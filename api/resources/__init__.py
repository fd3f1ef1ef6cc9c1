"""What the operations do, the same for every surface: checks, commands, reads. Only the errors know HTTP.

| module | holds |
|---|---|
| `accepting` | a command on its way: append, wait for its effect, tell why it was rejected |
| `idempotency` | the id and digest of a request with an Idempotency-Key |
| `workflows` | create, read, list, delete |
| `instances` | run, read, list |
| `instance_filters`, `times` | the filters of lists of instances, and times in queries |
| `instance_events` | send an event, abort |
| `pauses`, `retries` | resume a paused activity; run an instance once more |
| `triggers` | create, read, list, delete; occurrences |
| `trigger_bodies` | the body of a request that creates a trigger |
| `trigger_tests` | what a trigger would make of a payload |
| `bulks` | bulk operations: start, look what they would act on, read, list, stop |
| `pages` | a page of a list, and whether there are more |
| `histories` | stages of an instance, activities of a stage |
| `stats` | counts of instances, and what has happened over time |
"""
