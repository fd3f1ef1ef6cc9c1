"""What all processes share, in two rooms. Nothing in here imports another of our packages.

What the processes exchange, which opens no sockets (import-linter keeps aiohttp and aiokafka out):

| module | holds |
|---|---|
| `commands`, `events`, `activities` | the messages |
| `ended_activities`, `late_aborts`, `bulk` | parts of them |
| `upcasters` | how this build reads what older ones have written |
| `submission_schema`, `idempotency` | commands of other services: their JSON Schema, and what a key means |
| `json_schema` | what our JSON Schemas have in common |
| `records`, `fillers`, `epochs`, `topics` | how messages are laid out in Kafka, which of them count, where they are |
| `log_integrity`, `log_faults` | a log that was cut or created again: what tells it, and its gauge |
| `log_entries` | records of the log, as they are shown to people |
| `current`, `dead_letters`, `trigger_positions` | the records of the other topics |
| `definition` | workflows: what is accepted, and what its variables resolve to |
| `expressions` | filters and variables of triggers |
| `encryption`, `encryption_marks` | encryption at rest; what a record's headers say of it |
| `resources`, `stats` | what the HTTP API shows and takes |
| `rejections`, `error_texts` | why a command was rejected; what errors say, and how long they may be |
| `settings`, `secret_files`, `service_links` | what the environment sets |
| `process_name` | what a process is called in its consumer groups |
| `ids`, `nesting` | UUIDs, how deep JSON is nested |
| `redaction`, `repeats` | what logs may show, and how often |

How the processes reach what is outside:

| module | holds |
|---|---|
| `kafka` | everything that knows aiokafka: producers, consumers, admin |
| `stack` | everything that calls over HTTP: activities, links, issuers of tokens |
"""
