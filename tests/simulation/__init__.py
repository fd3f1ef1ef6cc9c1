"""Seeded simulations: the processes as they are, on a Kafka in memory, with faults, in virtual time.

| module | holds |
|---|---|
| `loop` | an event loop whose time jumps to the next timer; it can kill a process, or stop it for a while |
| `processes` | a process of the installation, through all its lives |
| `network` | what may happen to a request on its way to Kafka and back |
| `topics` | the cluster, and all that was ever in its topics |
| `secrecy` | encryption at rest: keys of processes, and that there is no plain text |
| `trouble` | what strikes processes and the cluster |
| `harm` | what happens to topics: compaction, retention, lost snapshots |
| `growth` | what operators do to the number of partitions |
| `bad` | an instance with an event that nobody can use |
| `engines` | makes the engines |
| `stack` | the sandbox's domain as the stack, with requests and answers that are lost, late or slow |
| `links` | the evaluator of messages that need links, and what links lead to |
| `sources` | topics of other services, with messages and the triggers that listen to them |
| `sends` | `send` stages of all pairs, and deposits for those that are short of money |
| `sending` | makes commands into records, and remembers what was sent with a key |
| `clients` | who runs, sends, repeats and confuses; other services, whose messages fire triggers |
| `retrying` | who has instances run once more, and what comes again or late across a retry |
| `intake` | other services that append submissions, some in transactions |
| `limits` | workloads that reach the limits, in some seeds |
| `producing` | appends their records |
| `checkers` | what must hold after every append and at every call of the stack |
| `history` | an instance as its events tell it; the rules of attempts, retries and aborts |
| `money` | what the stack's books hold against what the log says; also for a real stack and log |
| `outcomes` | what every command has to come to, and every message |
| `bulk_outcomes` | what commands of bulk operations have to come to |
| `bulk_reach` | no operation passes over an instance, or retries what it is not about |
| `listening` | what has to become of the messages of other services |
| `front` | what stands between the log and its users: all of the following |
| `database` | the read model's Postgres, with crashes, lost announcements and connections that end |
| `projectors`, `apis` | the processes of projections, with their publishers, and of the API |
| `customers` | a folder: clients of the API, with and without an Idempotency-Key, who repeat what was not answered |
| `reading` | the log as any consumer reads it |
| `retention` | which instances may be deleted from the read model, and which have to be |
| `rows` | the read model is the fold of the log |
| `publishing` | public events are those of the log, each once |
| `answers` | answers agree with the log, and show what was answered before |
| `snapshot_writers` | an owner that was superseded writes no snapshots |
| `restoring` | what a restore comes to, from the whole log and from a snapshot |
| `memories` | what engines have in memory, and what snapshots hold, is that |
| `chosen` | what a seed sets limits and rhythms of the product to |
| `installation` | all of that, made and put together |
| `settling` | what is still to come when nothing goes wrong any more, and what helps it to come |
| `world` | the course of a seed: faults for a while, then quiet, then everything must have ended |
| `seeds`, `running` | one seed, with all that is checked at its end; in a process that runs many |
| `trace` | the last steps, in words |
| `test_seeds`, `situations` | the tests of seeds, and what they have to meet |

`python -m tests.simulation --seeds N` runs many seeds. A seed that fails is printed with its last steps and the command
that runs it alone. `pytest tests/simulation --seeds N` and `--seed N` do the same for the suite.
"""
