"""All tests. `CONTRIBUTING.md` says how to run which.

| folder | holds |
|---|---|
| `unit` | single parts; folders as in the source |
| `integration` | real Kafka, real Postgres, real processes |
| `contract` | the shapes of every answer |
| `simulation` | whole processes in memory and in virtual time, with faults |
| `mutations` | planted bugs, which the simulation has to find |
| `histories` | what builds have written, read by this one |
| `chaos` | a real cluster under fault |
| `fuzz` | damaged input |
| `browser` | the console in a browser |
| `performance` | how fast it is |

What several of them use:

| module | holds |
|---|---|
| `kafka_contract`, `read_model_contract` | what must hold of Kafka and of queries, on real ones and in memory |
| `store_contract`, `retention_contract`, `search_contract` | likewise, of the store, of what is deleted, of a search |
| `ports` | the engine's ports in memory |
| `servers`, `reserved_ports` | Kafka and Postgres for a session; ports for servers |
| `complaints` | what asyncio complains about |
| `raw_records` | records as no client of ours can write them |
| `definitions`, `definition_strategies` | definitions in messages; definitions that hypothesis makes |
| `happened`, `retryable`, `counted` | events for the read model; what its rows and counts come to |
"""
