"""The engine's ports in memory, for tests of single parts. Whole processes run on `schemas.kafka.memory`."""
