"""Chaos: money under load on a real installation whose engine is killed and whose stack fails.

| module | holds |
|---|---|
| `bank` | the sandbox as a stack with wallets and payments; its books, read over HTTP |
| `load` | clients that run instances of all `send` pairs, and whoever kills the engine |
| `shown` | that the API shows of every activity what the log says, in the contract's shapes |
| `__main__` | `python -m tests.chaos`: all of it on a fresh Kafka and Postgres |

`tests/integration/test_money.py` runs a small version with the other tests.
"""
