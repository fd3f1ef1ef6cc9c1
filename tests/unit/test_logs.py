"""The Kafka client's flood of errors while its broker is away is cut; everything else passes."""

import logging

from deploy.logs import MAX_KINDS, REPEAT_SECONDS, OfLogger, OncePerMinute


def record(name: str, text: str = "no connection to %s") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, ("node 1",), None)


def test_a_flood_is_cut_and_counted() -> None:
    now = 7.0
    limit = OfLogger("aiokafka", OncePerMinute(lambda: now))
    assert sum(bool(limit.filter(record("aiokafka.conn"))) for _ in range(100)) == 1
    assert limit.filter(record("aiokafka.conn", "another line about %s"))
    assert limit.filter(record("aiokafka.client"))
    assert all(limit.filter(record("engine.partition")) for _ in range(100))
    now += REPEAT_SECONDS
    first = record("aiokafka.conn")
    assert limit.filter(first)
    assert first.getMessage() == "no connection to node 1 (99 more lines like this left out)"
    assert not limit.filter(record("aiokafka.conn"))


def test_lines_that_never_repeat_are_written_and_forgotten() -> None:
    limit = OncePerMinute(lambda: 7.0)
    assert all(limit.filter(record("aiokafka", f"line {n} about %s")) for n in range(3 * MAX_KINDS))
    assert len(limit._kinds) <= MAX_KINDS
