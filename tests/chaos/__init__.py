"""Chaos: a cluster under fault, and all that must hold of it.

| module | holds |
|---|---|
| `system` | three brokers, Postgres, sandbox, engines, projections and APIs |
| `parts` | how each of them is killed, stopped and started |
| `network` | the network between them, which can be cut; `proxies`: its process; `peers`: who has made a connection |
| `disk`, `tls` | a disk that can be full; certificates |
| `faults` | what goes wrong, by name |
| `clients` | who use the APIs meanwhile; `answers`: what they know |
| `campaign` | rounds: load, faults, rest, checks; `inspection`: waits for the rest, and looks at everything |
| `fold` | the log folded without our code; `logs`: what processes write and should not |
| `evidence` | all that is known at rest |
| `checks` | what must hold of it; `falsify`: whether each check notices what it is for |
| `bank` | the sandbox as a stack with wallets and payments; its books |
| `shown` | that the API shows of every activity what the log says, in the contract's shapes |
| `recovery`, `report` | how long a fault was felt; the table and JSON |
| `__main__` | `python -m tests.chaos` |

`tests/integration/test_chaos.py` runs it for a short time with the other tests; `tests/unit/chaos` tests its own parts.
"""
