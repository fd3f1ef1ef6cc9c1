"""Tells operators which partitions stand still: in the log, and as a gauge."""

import logging
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge

from schemas.log_integrity import LogFault

logger = logging.getLogger(__name__)

TELL_SECONDS: Final = 300.0
"""Between two lines about one partition that stands still. It is looked at every few seconds."""


class LogFaults:
    """The partitions that stand still, of all readers of this process.

    Args:
        registry: where the gauge is registered.
        clock: seconds that never go back.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]):
        self._clock = clock
        self._told: dict[tuple[str, int], _Told] = {}
        self._gauge = Gauge(
            "orchestration_log_fault",
            "1 for a partition that stands still, since its log was cut, created again or has lost records",
            ["topic", "partition", "reason"],
            registry=registry,
        )

    def stopped(self, reader: str, partition: int, fault: LogFault) -> None:
        """A partition stands still. Say it again for as long as it does.

        Args:
            reader: what stands still, such as "the read model".
            partition: which one.
            fault: why.
        """
        told = self._told.get((reader, partition))
        now = self._clock()
        if told is None or str(told.fault) != str(fault) or now - told.at >= TELL_SECONDS:
            logger.error("%s: %s", reader, fault)
            self._told[reader, partition] = _Told(fault, now)
        self._show()

    def goes_on(self, reader: str, partition: int) -> None:
        """A partition is read again; nothing if it did not stand still."""
        if self._told.pop((reader, partition), None) is not None:
            logger.info("%s: partition %d goes on", reader, partition)
            self._show()

    def given_away(self, reader: str, partition: int) -> None:
        """A partition is somebody else's now."""
        if self._told.pop((reader, partition), None) is not None:
            self._show()

    def of(self, reader: str) -> dict[int, str]:
        """Why partitions stand still, by partition."""
        return {partition: told.fault.reason for (who, partition), told in self._told.items() if who == reader}

    def _show(self) -> None:
        self._gauge.clear()
        for (_, partition), told in self._told.items():
            self._gauge.labels(told.fault.topic, partition, told.fault.reason).set(1)


class _Told(Struct, frozen=True):
    fault: LogFault
    at: float
