"""The Kafka client's flood of errors while its broker is away is cut; everything else passes."""

import logging

from deploy.logs import RECORDS_PER_SECOND, OfLogger, RateLimit


def record(name: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, "no connection to %s", ("node 1",), None)


def test_a_flood_is_cut_and_counted() -> None:
    now = 7.0
    limit = OfLogger("aiokafka", RateLimit(lambda: now))
    assert sum(bool(limit.filter(record("aiokafka.conn"))) for _ in range(100)) == RECORDS_PER_SECOND
    assert all(limit.filter(record("engine.partition")) for _ in range(100))
    now = 8.0
    first = record("aiokafka.conn")
    assert limit.filter(first)
    assert first.getMessage() == f"no connection to node 1 ({100 - RECORDS_PER_SECOND} more lines like this left out)"
