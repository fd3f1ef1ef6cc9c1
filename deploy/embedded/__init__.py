"""Kafka and Postgres as children of this process: no container engine, no service to install.

`kafka` and `postgres` each hold one class with `start()` and `stop()`, and so does `cluster`, several
brokers as one Kafka.
`jars` brings Kafka's jars into the cache; `aot` prepares Java for quick starts of Kafka, with the load of `training`;
`child` runs a program so that it never outlives its owner, by way of `guard`; `ports` picks free ports.
"""
