"""What an engine counts. One object for the process, shared by its partitions."""

from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from schemas import rejections
from schemas.log_faults import LogFaults

SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Buckets of turns and of calls."""

LONG_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 240.0)
"""Buckets of snapshots and of restores."""

OK: Final = "ok"
"""Outcome of submissions that are not rejected."""
SUBMISSION_CODES: Final = (
    rejections.NO_WORKFLOW,
    rejections.WRONG_ID,
    rejections.TOO_OLD,
    rejections.CONFLICT,
    rejections.ENDED,
    rejections.RETRY,
    rejections.TOO_LARGE,
    rejections.SET_ASIDE,
    rejections.FAULT,
)
"""Why submissions are rejected."""


class Metrics:
    """Counters, gauges and histograms, named `orchestration_engine_*`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY):
        prefix = "orchestration_engine"
        self.events = Counter(f"{prefix}_events", "Events appended to the log.", registry=registry)
        self.commands = Counter(f"{prefix}_commands", "Commands decided, of whomever.", registry=registry)
        self.turn_seconds = Histogram(
            f"{prefix}_turn_seconds",
            "From the first decision of a turn to the proof that its events are in the log.",
            buckets=SECONDS,
            registry=registry,
        )
        self.loop_late_seconds = Gauge(
            f"{prefix}_loop_late_seconds",
            "How late the event loop was at most within the last minute. Turns, heartbeats and probes were as late.",
            registry=registry,
        )
        self.partitions = Gauge(f"{prefix}_partitions", "Partitions restored and at work here.", registry=registry)
        self.configured_partitions = Gauge(
            f"{prefix}_configured_partitions",
            "Partitions that the installation has: as many should be at work, in all engines together.",
            registry=registry,
        )
        self.instances = Gauge(f"{prefix}_instances", "Instances in memory.", registry=registry)
        self.timers = Gauge(f"{prefix}_timers", "Delays and retries that wait for their time.", registry=registry)
        self.paused_activities = Gauge(
            f"{prefix}_paused_activities",
            "Activities that have used up their attempts and wait until a person resumes them.",
            registry=registry,
        )
        self.command_lag = Gauge(
            f"{prefix}_command_lag",
            "Commands accepted but not decided yet, per partition.",
            ["partition"],
            registry=registry,
        )
        self.dead_commands = Counter(
            f"{prefix}_dead_commands", "Commands that could not be decoded.", registry=registry
        )
        self.submissions = Counter(
            f"{prefix}_submissions",
            "Commands of other services that were decided: ok, or the code of the rejection.",
            ["outcome"],
            registry=registry,
        )
        for outcome in (OK, *SUBMISSION_CODES):  # so that Prometheus sees the first one of each
            self.submissions.labels(outcome)
        self.held_submissions = Gauge(
            f"{prefix}_held_submissions", "Commands of other services that wait for definitions.", registry=registry
        )
        self.trigger_messages = Counter(
            f"{prefix}_trigger_messages", "Messages looked at for triggers.", registry=registry
        )
        self.skipped_messages = Counter(
            f"{prefix}_skipped_messages",
            "Messages that fire nothing, by topic and reason: not JSON (json), not an envelope, or too large (size).",
            ["topic", "reason"],
            registry=registry,
        )
        self.filter_failures = Counter(
            f"{prefix}_trigger_filter_failures",
            "Messages whose filter failed or was not a boolean, so that they fired nothing, by trigger and reason.",
            ["trigger", "reason"],
            registry=registry,
        )
        self.trigger_topic_up = Gauge(
            f"{prefix}_trigger_topic_up",
            "Whether a topic is listened to for triggers: 0 while it does not exist or can't be read.",
            ["topic"],
            registry=registry,
        )
        self.evaluations = Counter(
            f"{prefix}_link_evaluations",
            "Evaluations of messages that need links: ok, retry (a link failed and is asked again) or failed.",
            ["outcome"],
            registry=registry,
        )
        self.waiting_evaluations = Gauge(
            f"{prefix}_waiting_evaluations", "Messages that wait for links.", registry=registry
        )
        self.snapshot_rounds = Counter(
            f"{prefix}_snapshots",
            "Snapshots by outcome: written, failed, fenced (another owner was about to write) or fault (a defect).",
            ["outcome"],
            registry=registry,
        )
        self.snapshot_round_seconds = Histogram(
            f"{prefix}_snapshot_seconds", "How long a snapshot took.", buckets=LONG_SECONDS, registry=registry
        )
        self.snapshot_entries = Counter(
            f"{prefix}_snapshot_entries", "Entries that were written into snapshots.", registry=registry
        )
        self.snapshot_bytes = Counter(f"{prefix}_snapshot_bytes", "Bytes of these entries.", registry=registry)
        self.snapshot_size = Gauge(
            f"{prefix}_snapshot_size",
            "Entries that the newest snapshot of a partition has: what a restore has to read.",
            ["partition"],
            registry=registry,
        )
        self.snapshot_age = Gauge(
            f"{prefix}_snapshot_age_seconds",
            "Age of the newest snapshot of a partition; 0 while no event has come since.",
            ["partition"],
            registry=registry,
        )
        self.restore_seconds = Histogram(
            f"{prefix}_restore_seconds", "How long a restore took.", buckets=LONG_SECONDS, registry=registry
        )
        self.restored_records = Counter(
            f"{prefix}_restored_records",
            "Records that restores have read, by source: snapshot or events.",
            ["source"],
            registry=registry,
        )
        self.restore_events_left = Gauge(
            f"{prefix}_restore_events_left",
            "Events that a partition in its restore has still to take over.",
            ["partition"],
            registry=registry,
        )
        self.set_aside = Gauge(
            f"{prefix}_aggregates_set_aside",
            "Instances, triggers and workflows that the engine does not work on, since their events can't be used.",
            registry=registry,
        )
        self.log_faults = LogFaults(registry)
        self.restarts = Counter(
            f"{prefix}_partition_restarts",
            "Partitions that were dropped and claimed again, by the error that caused it.",
            ["reason"],
            registry=registry,
        )
        self.attempts = Counter(
            f"{prefix}_activity_attempts",
            "Calls to the stack, by activity and outcome.",
            ["activity", "outcome"],
            registry=registry,
        )
        self.attempt_seconds = Histogram(
            f"{prefix}_activity_attempt_seconds",
            "Duration of a call to the stack.",
            ["activity"],
            buckets=SECONDS,
            registry=registry,
        )
        self.calls_in_flight = Gauge(f"{prefix}_calls_in_flight", "Calls to the stack under way.", registry=registry)
        self.calls_waiting = Gauge(
            f"{prefix}_calls_waiting", "Calls to the stack that wait until others have ended.", registry=registry
        )

    def count_submission(self, code: str | None) -> None:
        """A submission was decided; `code` is that of its rejection."""
        self.submissions.labels(code or OK).inc()
