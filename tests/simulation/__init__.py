"""Seeded simulations: the engine's own code on an in-memory log, with faults, in virtual time.

| module | holds |
|---|---|
| `loop` | an event loop whose time jumps to the next timer: it can kill a process, or stop it for a while |
| `processes` | a process of the installation, through all its lives |
| `network` | what may happen to a request on its way to Kafka and back |
| `trace` | the last steps, in words |
| `memory` | the event log, the commands and their feed in memory, behind the engine's ports, with faults |
| `stack` | the sandbox's domain as the stack, with requests and answers that are lost, late or slow |
| `sends` | `send` stages of all pairs, and deposits for those that are short of money |
| `checkers` | what must hold after every append and at every call of the stack |
| `history` | an instance as its events tell it; the rules of attempts, retries and aborts |
| `money` | what the stack's books hold against what the log says; also for a real stack and log |
| `outcomes` | what every command has to come to, and every message |
| `restoring` | what an engine has in memory is what a restore would come to |
| `clients` | who runs, sends, repeats and confuses |
| `world` | engines, a group coordinator; faults for a while, then quiet, then everything must have ended |
| `seeds` | one seed, with all that is checked at its end |

A failing seed is printed with the test's name; `pytest tests/simulation --seed N` runs it alone,
`--seeds N` runs that many.
"""
