"""What running bulk operations shows Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

PREFIX: Final = "orchestration_bulk_"
"""Begins all names. Alerts and the dashboard find the metrics by it."""


class Metrics:
    """The metrics of one process.

    Args:
        registry: where to register them.
    """

    def __init__(self, registry: CollectorRegistry):
        self.operations = Gauge(
            f"{PREFIX}operations", "Bulk operations that this process runs, and that have not ended", registry=registry
        )
        self.commands = Counter(
            f"{PREFIX}commands",
            "Commands sent to instances, by action, repetitions included",
            ["action"],
            registry=registry,
        )
        self.lost = Counter(
            f"{PREFIX}lost_commands", "Commands of which nobody knows what became of them", registry=registry
        )
        self.failures = Counter(
            f"{PREFIX}failures", "Failures after which a step is tried again, by reason", ["reason"], registry=registry
        )
        self.idle_seconds = Gauge(
            f"{PREFIX}idle_seconds",
            "For how long the operation has made no progress that has made none for the longest",
            registry=registry,
        )
