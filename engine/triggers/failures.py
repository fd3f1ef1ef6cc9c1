"""Filters that can't be evaluated: their messages fire nothing, so they are counted and told."""

import logging
import time
from collections.abc import Callable
from typing import Final

from engine.metrics import Metrics

logger = logging.getLogger(__name__)

MAX_LABELLED: Final = 100
"""Triggers that are counted by their id; all others count as `OTHERS`. Every id is a series that Prometheus keeps."""

OTHERS: Final = "others"

LOG_SECONDS: Final = 60.0
"""A trigger's failures are logged this often. A filter that fails does so at every message."""


class FilterFailures:
    """Counts them by trigger and reason, and logs some.

    Args:
        metrics: what the engine counts.
        monotonic: seconds that never go back.
    """

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic):
        self._metrics, self._monotonic = metrics, monotonic
        self._logged_at: dict[str, float] = {}

    def note(self, trigger_id: str, reason: str, error: str) -> None:
        """A trigger could not tell whether a message fires it.

        Args:
            trigger_id: the trigger.
            reason: one of the constants of `judging`.
            error: what was wrong.
        """
        known = trigger_id in self._logged_at or len(self._logged_at) < MAX_LABELLED
        label = trigger_id if known else OTHERS
        self._metrics.filter_failures.labels(label, reason).inc()
        now = self._monotonic()
        if label not in self._logged_at or now - self._logged_at[label] >= LOG_SECONDS:
            self._logged_at[label] = now
            logger.warning(
                "the filter of trigger %s could not be evaluated, so it did not fire: %s",
                trigger_id,
                error,
                extra={"trigger": trigger_id, "reason": reason},
            )
