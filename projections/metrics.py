"""What the projections show Prometheus."""

from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

PREFIX: Final = "orchestration_projections_"
"""Begins all names. Alerts and the dashboard find the metrics by it."""


class Metrics:
    """The metrics of one process.

    Args:
        registry: where to register them; tests give one of their own.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY):
        self.registry = registry
        self.events = Counter(f"{PREFIX}events", "Events folded into the read model", registry=registry)
        self.undecodable = Counter(
            f"{PREFIX}undecodable_events", "Records skipped because they can't be read or stored", registry=registry
        )
        self.conflicts = Counter(
            f"{PREFIX}position_conflicts", "Batches dropped because another projector was faster", registry=registry
        )
        self.faults = Counter(f"{PREFIX}faults", "Failures of Kafka or Postgres", ["service"], registry=registry)
        self.deleted_instances = Counter(
            f"{PREFIX}deleted_instances",
            "Instances deleted from the read model since they ended long ago",
            ["outcome"],
            registry=registry,
        )
        self.batch_records = Histogram(
            f"{PREFIX}batch_records",
            "Records in one transaction",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
            registry=registry,
        )
        self.transaction_seconds = Histogram(
            f"{PREFIX}transaction_seconds",
            "Duration of one transaction",
            buckets=(0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.5, 1, 2, 5, 10),
            registry=registry,
        )
        self.catching_up = Gauge(
            f"{PREFIX}catching_up_partitions",
            "Partitions that readers wait for, since Postgres started and they have not caught up yet",
            registry=registry,
        )
        self.lag = Gauge(
            f"{PREFIX}lag_records", "Records that are not in the read model yet", ["partition"], registry=registry
        )
