"""What the publisher shows Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX: Final = "orchestration_publisher_"
"""Begins all names. Alerts and the dashboard find the metrics by it."""


class Metrics:
    """The metrics of one publisher.

    Args:
        registry: where to register them.
    """

    def __init__(self, registry: CollectorRegistry):
        self.events = Counter(f"{PREFIX}events", "Public events, by type", ["type"], registry=registry)
        self.undecodable = Counter(
            f"{PREFIX}undecodable_events", "Records skipped because they can't be read", registry=registry
        )
        self.transaction_seconds = Histogram(
            f"{PREFIX}transaction_seconds",
            "Duration of one committed transaction; their count is the number of transactions",
            buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self.failures = Counter(
            f"{PREFIX}failures",
            "Failures after which publishing started over, by reason",
            ["reason"],
            registry=registry,
        )
        self.lag = Gauge(
            f"{PREFIX}lag_records", "Records of the log that have not been read yet", ["partition"], registry=registry
        )
