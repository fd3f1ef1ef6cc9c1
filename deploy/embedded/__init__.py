"""Kafka and Postgres as children of this process: no container engine, no service to install.

| module | holds |
|---|---|
| `kafka`, `postgres` | one of each, with `start()` and `stop()` |
| `cluster` | several brokers as one Kafka, likewise; for tests |
| `jars` | brings Kafka's jars into the cache |
| `aot`, `training` | prepares Java for quick starts of Kafka, with a load that is typical |
| `child`, `guard` | runs a program so that it never outlives its owner |
| `ports` | picks free ports |
| `errors` | why something does not start |
"""
