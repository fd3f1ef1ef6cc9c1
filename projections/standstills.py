"""Tells operators which partitions stand still because of their log: by lines, repeated rarely, and by a gauge."""

import logging
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry

from schemas.log_faults import LogFaults
from schemas.log_integrity import LogFault

logger = logging.getLogger(__name__)

TELL_SECONDS: Final = 300.0
"""Between two lines about one partition that stands still. It is looked at every few seconds."""


class Standstills:
    """The partitions that stand still, of all readers of this process.

    Args:
        registry: where the gauge is shown.
        clock: seconds that never go back.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]):
        self._gauge = LogFaults(registry)
        self._clock = clock
        self._told: dict[tuple[str, int], _Told] = {}

    def stopped(self, reader: str, partition: int, fault: LogFault) -> None:
        """A partition stands still. Call it again for as long as it does.

        Args:
            reader: what stands still, such as "the read model".
            partition: which one.
            fault: why.
        """
        told, now = self._told.get((reader, partition)), self._clock()
        if told is None or told.reason != fault.reason or now - told.at >= TELL_SECONDS:
            logger.error("%s: %s", reader, fault)
            self._told[reader, partition] = _Told(fault.reason, now)
            self._gauge.show(reader, partition, fault)

    def goes_on(self, reader: str, partition: int) -> None:
        """A partition is read again; nothing if it did not stand still."""
        if (reader, partition) in self._told:
            logger.info("%s: partition %d goes on", reader, partition)
            self.given_away(reader, partition)

    def given_away(self, reader: str, partition: int) -> None:
        """A partition is somebody else's now."""
        self._told.pop((reader, partition), None)
        self._gauge.clear(reader, partition)

    def of(self, reader: str) -> dict[str, str]:
        """Why partitions stand still, by partition, as JSON has it."""
        return {str(partition): told.reason for (who, partition), told in self._told.items() if who == reader}


class _Told(Struct, frozen=True):
    reason: str
    at: float
