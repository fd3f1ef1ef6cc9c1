"""Seeded simulations: the engine's own code on an in-memory log, with faults, in virtual time.

| module | holds |
|---|---|
| `loop` | an event loop whose time jumps to the next timer: hours pass in milliseconds, the same for every seed |
| `memory` | the event log, the commands and their feed in memory, behind the engine's ports, with faults |
| `stack` | a stack that loses answers, and remembers every idempotency key |
| `checkers` | what must hold after every append, and at the end |
| `world` | engines, a group coordinator, clients; faults for a while, then quiet, then everything must have ended |

A failing seed is printed with the test's name; `pytest tests/simulation --seed N` runs it alone,
`--seeds N` runs that many.
"""
