"""What Prometheus sees of the API.

Series are looked up once per combination of labels and kept, since `labels()` costs more than counting does.
"""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.waiting import Admission
from schemas.log_faults import LogFaults

LATENCY_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a read of one row to the ceiling of `wait`."""


class StreamMetrics:
    """The metrics of streams.

    Args:
        registry: takes them.
    """

    def __init__(self, registry: CollectorRegistry):
        self._open = Gauge(
            "orchestration_api_streams",
            "Streams that are open, by what they follow: an instance or a list.",
            ("kind",),
            registry=registry,
        )
        self._messages = Counter(
            "orchestration_api_stream_messages", "Messages that streams have sent.", ("kind",), registry=registry
        )
        self._refused = Counter(
            "orchestration_api_streams_refused", "Streams refused since too many were open.", registry=registry
        )
        for kind in ("instance", "list"):
            self._open.labels(kind)
            self._messages.labels(kind)

    def count_open(self, kind: str, change: int) -> None:
        """One more is open, or one less."""
        self._open.labels(kind).inc(change)

    def count_messages(self, kind: str, count: int) -> None:
        """So many were sent."""
        self._messages.labels(kind).inc(count)

    def count_refused(self) -> None:
        """One could not be opened."""
        self._refused.inc()


class Metrics:
    """The metrics of one API process, in a registry of their own."""

    def __init__(self, reads: Admission, commands: Admission):
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = Counter(
            "orchestration_api_requests",
            "Requests answered, by path template, method and status.",
            ("path", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "orchestration_api_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ("path", "method"),
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self._append_seconds = Histogram(
            "orchestration_api_command_append_seconds",
            "Time from a command to its acknowledgement by Kafka.",
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self._append_failures = Counter(
            "orchestration_api_command_append_failures",
            "Commands that Kafka did not acknowledge.",
            registry=self.registry,
        )
        waiting = Gauge(
            "orchestration_api_waiting_requests", "Requests in progress.", ("kind",), registry=self.registry
        )
        waiting.labels("read").set_function(lambda: reads.waiting)
        waiting.labels("command").set_function(lambda: commands.waiting)
        self._dependencies = Gauge(
            "orchestration_api_dependency_up",
            "Whether Kafka and Postgres answered this process at the last scrape.",
            ("dependency",),
            registry=self.registry,
        )
        self.log_faults = LogFaults(self.registry)
        self.streams = StreamMetrics(self.registry)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe_request(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            path: the template, not the path itself, so that the series are few.
            method: one that the path knows, or `other`.
            status: of the answer.
            seconds: how long it took.
        """
        key = (path, method, status)
        children = self._children.get(key)
        if children is None:
            children = (self._requests.labels(path, method, status), self._seconds.labels(path, method))
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def observe_append(self, seconds: float) -> None:
        """Count a command that Kafka acknowledged."""
        self._append_seconds.observe(seconds)

    def count_append_failure(self) -> None:
        """Count a command that Kafka did not acknowledge."""
        self._append_failures.inc()

    def show_dependency(self, name: str, answers: bool) -> None:
        """Show whether `kafka` or `postgres` answers."""
        self._dependencies.labels(name).set(answers)

    def exposition(self) -> tuple[bytes, str]:
        """All metrics as text, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
