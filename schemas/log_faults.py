"""The gauge of faults of the log (`schemas.log_integrity`). Every process has it, under the same name."""

from prometheus_client import CollectorRegistry, Gauge

from schemas.log_integrity import LogFault


class LogFaults:
    """The faults that stand at the moment, as this process sees them.

    Args:
        registry: where the gauge is shown.
    """

    def __init__(self, registry: CollectorRegistry):
        self._gauge = Gauge(
            "orchestration_log_fault",
            "1 while a partition stands still because its log was cut, made anew or can't be read, by what is wrong.",
            ["topic", "partition", "reason"],
            registry=registry,
        )
        self._standing: dict[tuple[str, int], tuple[str, int, str]] = {}

    def show(self, reader: str, partition: int, fault: LogFault) -> None:
        """Show a fault until it is cleared.

        Args:
            reader: who met it. One process may have several readers of a partition.
            partition: that the reader works on.
            fault: what it has met, instead of what it met before.
        """
        self.clear(reader, partition)
        series = (fault.topic, partition, fault.reason)
        self._standing[reader, partition] = series
        self._gauge.labels(*series).set(1)

    def clear(self, reader: str, partition: int) -> None:
        """The reader goes on, or does not read the partition any more."""
        series = self._standing.pop((reader, partition), None)
        if series is not None and series not in self._standing.values():
            self._gauge.remove(*series)

    def stands(self, reader: str, partition: int) -> bool:
        """Whether a fault of this reader is shown."""
        return (reader, partition) in self._standing
