"""Settings that do not fit each other, or Kafka's."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from deploy.doctor.findings import Finding, or_ok, warning, wrong
from schemas.kafka.inspection import BrokerFacts
from schemas.secret_files import exposed_files
from schemas.settings import ApiSettings, EngineSettings, ProjectionsSettings, variable
from schemas.topics import topics, trigger_topics

SHORT_RETENTION_SECONDS: Final = 24 * 3600
"""A shorter retention of events can be over before somebody has noticed that engines are down."""

SHORT_RETENTION_DAYS: Final = 7
"""What failed or was aborted on a Friday, and is deleted sooner, may be gone before somebody has looked at it."""


class AllSettings(Struct, frozen=True):
    """The settings of all processes, as this environment has them."""

    api: ApiSettings
    engine: EngineSettings
    projections: ProjectionsSettings


def settings(given: AllSettings, brokers: Sequence[BrokerFacts]) -> Iterator[Finding]:
    """Whether settings fit.

    Args:
        given: of all processes.
        brokers: of Kafka; none if it can't be asked.
    """
    findings = [
        *_sessions(given, brokers),
        *_access(given),
        *_files(given),
        *_topics(given, brokers),
        *_retention(given),
    ]
    yield from or_ok(findings, "settings", "fit each other")


def _sessions(given: AllSettings, brokers: Sequence[BrokerFacts]) -> Iterator[Finding]:
    limits = [
        (float(broker.config[low]) / 1000, float(broker.config[high]) / 1000)
        for broker in brokers
        for low, high in [("group.min.session.timeout.ms", "group.max.session.timeout.ms")]
        if low in broker.config and high in broker.config
    ]
    for name, seconds in (
        ("engine_session_timeout_seconds", given.engine.engine_session_timeout_seconds),
        ("projections_session_timeout_seconds", given.projections.projections_session_timeout_seconds),
    ):
        if limits and not max(low for low, _ in limits) <= seconds <= min(high for _, high in limits):
            low, high = max(low for low, _ in limits), min(high for _, high in limits)
            text = f"{variable(name)} is {seconds:g}, but Kafka takes {low:g} to {high:g}"
            yield wrong("settings", text, "change it, or group.min.session.timeout.ms of the brokers")
    session, patience = given.engine.engine_session_timeout_seconds, given.api.command_timeout_seconds
    if session >= patience:
        text = (
            f"{variable('engine_session_timeout_seconds')} is {session:g}, {variable('command_timeout_seconds')} is"
            f" {patience:g}: requests are answered 503 when an engine dies, before another one takes over"
        )
        yield warning("settings", text, "make the second one longer")


def _access(given: AllSettings) -> Iterator[Finding]:
    api, engine = given.api, given.engine
    if not api.auth_enabled:
        text = f"{variable('auth_enabled')} is false: whoever reaches the API may do everything"
        yield warning("settings", text, "turn it on, unless a gateway checks who calls")
    elif api.auth_issuer is None:
        yield wrong("settings", f"{variable('auth_enabled')} needs {variable('auth_issuer')}", "set it")
    elif api.auth_audience is None and not api.auth_check_scopes:
        text = "every token of the issuer may do everything"
        yield warning("settings", text, f"set {variable('auth_audience')} or {variable('auth_check_scopes')}")
    if (engine.stack_client_id is None) != (engine.stack_client_secret is None):
        text = f"{variable('stack_client_id')} and {variable('stack_client_secret')} need each other"
        yield wrong("settings", text, "set both, or none")


def _files(given: AllSettings) -> Iterator[Finding]:
    for exposed in exposed_files(given.engine):
        yield warning("settings", exposed, "let only the user of the processes read it, and no other change it")


def _topics(given: AllSettings, brokers: Sequence[BrokerFacts]) -> Iterator[Finding]:
    engine = given.engine
    if brokers and engine.replication_factor > len(brokers):
        text = f"{variable('replication_factor')} is {engine.replication_factor}, but there are {len(brokers)} brokers"
        yield wrong("settings", text, "lower it, or add brokers")
    kept = engine.events_retention_seconds
    if kept is not None and kept < SHORT_RETENTION_SECONDS:
        text = f"{variable('events_retention_seconds')} is {kept}: what no engine has read by then is lost"
        yield warning("settings", text, "make it much longer than the longest outage")
    own = {topic.name for topic in topics(engine)}
    if both := sorted(own & set(trigger_topics(engine))):
        text = f"{variable('trigger_topics')} names {', '.join(both)}, which this installation writes itself"
        yield warning("settings", text, "take it off, unless instances are meant to start each other")


def _retention(given: AllSettings) -> Iterator[Finding]:
    projections = given.projections
    succeeded = projections.retention_succeeded_days
    for name in ("retention_failed_days", "retention_aborted_days"):
        days: int | None = getattr(projections, name)
        if days is None:
            continue
        if days < SHORT_RETENTION_DAYS:
            text = f"{variable(name)} is {days}: such an instance may be gone before somebody has looked at it"
            yield warning("settings", text, "make it longer than a holiday")
        if succeeded is None or days < succeeded:
            text = (
                f"{variable(name)} is {days}, {variable('retention_succeeded_days')} is {succeeded or 'not set'}:"
                " what may have to be retried is deleted before what has succeeded"
            )
            yield warning("settings", text, "make the first one longer")
