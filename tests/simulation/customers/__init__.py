"""The API's clients of the simulation. They use all surfaces, repeat what was not answered, check all answers.

A request that makes something carries a mark, which the log keeps. So it is known what became of each: of one with an
Idempotency-Key, at most one thing, however often it is repeated; of every other, at most one thing each time.
Some clients are dishonest, and use a key for something else.

| module | holds |
|---|---|
| `requests` | one request and its answer; GETs that are tried again; whole lists |
| `kind` | what every kind of customer is made of, and what customers have made so far |
| `making` | requests that make something, with all their tries |
| `looks`, `searches` | who reads, and who searches |
| `streams` | who follows instances and lists |
| `flows`, `runs`, `acts`, `triggers` | who makes workflows, runs them, acts on instances, and makes triggers |
| `retries`, `resumes` | who has instances run once more, and paused activities go on |
| `bulks` | who acts on all instances of a workflow |
| `customers` | all of them |

A new kind is a class of `kind.Kind` in a module of its own, and one line in `customers`.
"""
