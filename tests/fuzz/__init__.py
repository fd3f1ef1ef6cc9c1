"""Fuzzing: input that nobody would send on purpose, thrown at one part of the product after another.

| module | throws |
|---|---|
| `bodies` | damaged bodies at every operation that takes one, as JSON and YAML |
| `queries` | queries, ids and headers of every operation that reads, streams as well |
| `heads` | requests in any segments and framing, and damaged ones, at a server on a real connection |
| `records` | damaged records of each topic, at whatever reads that topic |
| `expressions` | expressions of triggers, at payloads of all kinds |
| `partition` | the owner of a partition that `records` damages the commands of |
| `runner` | runs the cases of a target, and reports those that fail |
| `__main__` | `python -m tests.fuzz`: all of it, or the one case that failed |

A target is a module with a `NAME` and a function `target()`: an async context manager that sets up what is attacked
and gives a check. A check makes one input from the random numbers it is given, and raises when the product does
something wrong with it; otherwise it returns a word or two for what the product made of it, which are counted. To add
one, list its module in `TARGETS`.

`tests/unit/test_fuzz.py` runs a few cases of each with the other tests.
"""

from tests.fuzz import bodies, expressions, heads, queries, records
from tests.fuzz.runner import Target

TARGETS: tuple[Target, ...] = (bodies, queries, heads, records, expressions)
"""All targets, in the order in which they run."""
