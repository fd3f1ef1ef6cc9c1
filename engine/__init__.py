"""The engine: folds events into aggregates, decides commands, runs the stages of instances.

`core` holds the decisions, pure. `partition` owns one partition of the log (claim, restore, turns, proof); `process`
gives an engine its partitions through Kafka's consumer group; `activities` calls the stack; `ports` says what they
need from the outside.
"""
