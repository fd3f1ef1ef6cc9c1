"""Settings of the three processes, read from environment variables named `ORCHESTRATION_<FIELD>`.

`load(ApiSettings)` reads them. A variable with our prefix that no process knows is an error, as is a value of the wrong
type: both name the variable. All processes may share one environment, since a setting of another process is known too.
"""

import difflib
import os
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from schemas.redaction import without_credentials
from schemas.service_links import is_service_link

PREFIX: Final = "ORCHESTRATION_"

MAX_SECONDS: Final = 2_000_000
"""Longest deadline. Kafka takes milliseconds of 32 bits, and `inf` would let somebody wait for ever."""
MAX_SESSION_SECONDS: Final = 1800
"""The default limit of a Kafka broker. It refuses a member that asks for more, again and again."""
MAX_MEMORY_SECONDS: Final = 366 * 24 * 3600
"""How long messages may be remembered at most; `inf` can't be added to a time."""

# `description` is what an error message says that the value must be.
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")]
Positive = Annotated[int, Meta(ge=1, description="a whole number above 0")]
Attempts = Annotated[int, Meta(ge=1, le=2**31 - 1, description="a whole number from 1 to 2147483647")]
Days = Annotated[int, Meta(ge=1, le=36_500, description="a whole number of days from 1 to 36500")]
Seconds = Annotated[
    float, Meta(gt=0, le=MAX_SECONDS, description=f"a number of seconds above 0, at most {MAX_SECONDS}")
]
SessionSeconds = Annotated[
    float, Meta(gt=0, le=MAX_SESSION_SECONDS, description=f"a number of seconds above 0, at most {MAX_SESSION_SECONDS}")
]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/\s?#]+[^\s?#]*$",
        description="a URL that begins with http:// or https:// and has no spaces, ? or #",
    ),
]
Algorithms = Annotated[
    str,
    Meta(
        pattern=r"^(RS|PS|ES)(256|384|512)(,(RS|PS|ES)(256|384|512))*$",
        description="comma-separated algorithms without spaces, such as RS256,ES256",
    ),
]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z_][a-z0-9_]{0,48}$",
        description="at most 49 lower-case letters, digits and _, not beginning with a digit",
    ),
]
Prefix = Annotated[
    str, Meta(pattern=r"^[a-zA-Z0-9._-]{0,100}$", description="at most 100 letters, digits, dots, _ and -")
]
KeyId = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="the id of a key: at most 64 letters, digits, dots, _ and -"),
]
TopicName = Annotated[
    str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="the name of a topic: letters, digits, dots, _ and -")
]
TopicNames = Annotated[
    str,
    Meta(
        pattern=r"^\s*([a-zA-Z0-9._-]{1,249}\s*(,\s*|$))*$",
        description="comma-separated names of topics, such as ledger,payments",
    ),
]
TopicConfig = Annotated[
    str,
    Meta(
        pattern=r"^([a-z][a-z.]*=[^=,\s]+(,[a-z][a-z.]*=[^=,\s]+)*)?$",
        description="comma-separated key=value pairs without spaces, such as min.insync.replicas=2",
    ),
]
Brokers = Annotated[
    str,
    Meta(
        pattern=r"^\s*((\[[0-9a-fA-F:.]+\]|[^\s,:/@\[\]]+)(:\d{1,5})?\s*(,\s*|$))+$",
        description="comma-separated host:port pairs, such as kafka-1:9092,kafka-2:9092",
    ),
]
HostNames = Annotated[
    str,
    Meta(
        pattern=r"^\s*((\*|\[[0-9a-fA-F:.]+\]|[^\s,:/@\[\]*]+)\s*(,\s*|$))*$",
        description="* or comma-separated names without http:// and port, such as api.example.com,localhost",
    ),
]
BasePath = Annotated[
    str,
    Meta(pattern=r"^(/[^/\s]+)*$", description="empty, or a path that begins with / and does not end with /"),
]


class SettingsError(ValueError):
    """A setting is unknown, missing or wrong. The message names the variable."""


class ProcessSettings(Struct, frozen=True, kw_only=True):
    """What every process has. The groups build on each other in one line, since structs can't have several bases."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    shutdown_timeout_seconds: Seconds = 10.0
    """How long an orderly stop may take, all its steps together."""


class KafkaSettings(ProcessSettings, frozen=True, kw_only=True):
    """How to reach Kafka, and how our topics are named and made there."""

    kafka_bootstrap_servers: Brokers = "127.0.0.1:9092"
    """Comma-separated `host:port` pairs."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: str | None = None
    kafka_ssl_cafile: str | None = None
    """PEM file of the certificate authorities to trust; those of the system when not given."""
    kafka_ssl_certfile: str | None = None
    """PEM file of the client certificate, for mutual TLS; `kafka_ssl_keyfile` is its key."""
    kafka_ssl_keyfile: str | None = None
    encryption_keys_file: str | None = None
    """File with the keys that values of our topics are encrypted with, one a line as `<id>: <32 bytes in base64>`.
    Without it nothing is encrypted."""
    encryption_key_id: KeyId | None = None
    """Id of the key that encrypts what is written. Without it, what is encrypted can be read, and nothing is
    encrypted."""
    encryption_required: bool = False
    """Whether records that are not encrypted are refused. For installations that have been encrypted from their first
    record."""
    topic_prefix: Prefix = ""
    """Put before the name of every topic and consumer group, so that several installations can share one Kafka."""
    public_topic: TopicName | None = None
    """Full name of the topic of public events, without the prefix; `<topic_prefix>orchestration` when not given.
    Installations must not share one, since their idempotency keys could be the same."""
    partitions: Positive = 16
    """Partitions of `commands`, `events` and the public topic that are used. After `topics create` it can't change."""
    replication_factor: Annotated[int, Meta(ge=-1, description="a whole number, -1 or above")] = -1
    """Replicas of each topic; -1 takes the broker's default."""
    topic_config: TopicConfig = ""
    """Comma-separated `key=value` pairs of Kafka's topic configuration, such as `min.insync.replicas=2`, which `topics
    create` gives every topic beside what it needs."""
    commands_retention_seconds: Positive = 30 * 24 * 3600
    """How long `commands` are kept. Must be longer than the longest outage of the engine: what expires is lost.
    What was decided before the newest snapshot is not needed any more."""
    events_retention_seconds: Positive | None = None
    """How long `topics create` has `events` kept; for ever when not given. What has expired can't be rebuilt or
    published any more."""


class PostgresSettings(KafkaSettings, frozen=True, kw_only=True):
    """How to reach Postgres and which schema holds the read models."""

    database_url: str = "postgresql://postgres@127.0.0.1:5432/postgres"
    """A libpq URL or key-value string."""
    database_schema: Name = "orchestration"


class ApiSettings(PostgresSettings, frozen=True, kw_only=True):
    """Settings of `orchestration api`."""

    host: str = "127.0.0.1"
    port: Port = 8080
    base_path: BasePath = "/api/orchestration"
    """Path in front of all operations; empty when a gateway strips its own prefix."""
    allowed_hosts: HostNames = ""
    """Comma-separated names that the API answers for, as clients write them in their URLs, without ports; any name when
    empty or `*`. A request for another host is answered 400."""
    command_timeout_seconds: Seconds = 8.0
    """How long a POST, PUT or DELETE may take until its effect can be read; after that the answer is 503."""
    wait_timeout_seconds: Seconds = 30.0
    """How long `wait=true` waits at most; after that the answer shows the current state."""
    max_waiting_requests: Positive = 4096
    """How many requests may wait at once; one more is answered 503 with `Retry-After`."""
    max_streams: Positive = 1000
    """How many live streams may be open at once; one more is answered 503 with `Retry-After`. They do not count as
    waiting requests, but each has a connection."""
    stream_heartbeat_seconds: Seconds = 15.0
    """How long a live stream is silent at most, so that nobody between takes its connection for dead; as often its
    token is checked again."""
    max_connections: Positive = 8192
    """How many connections may be open at once. For one more, the one that has been idle longest is closed; if none has
    been for a second, a request on it is answered 503 with `Retry-After`. The limit is lower if the process may not
    open so many files."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1024 * 1024, description="a whole number from 1024 to 1048576")] = (
        512 * 1024
    )
    """Largest request body; above it the answer is 413. The ceiling keeps a decision under the topics' record size."""
    cursor_secret: str | None = None
    """Key of the checksum in cursors; all replicas need the same. Derived from `database_schema` when not given. It
    only tells our cursors from other texts: a cursor holds nothing that its client could not ask for without one."""
    auth_enabled: bool = False
    """Whether operations need a token (contract: http-api, Authorization and health)."""
    auth_issuer: Url | None = None
    """OIDC issuer of the tokens, exactly as in their `iss`; needed when `auth_enabled`. Discovery finds its keys."""
    auth_audience: str | None = None
    """What `aud` of a token must contain. Unset, a token that the issuer made for another service is accepted too."""
    auth_check_scopes: bool = False
    """Whether tokens need a scope: `orchestration:read` for GET, `orchestration:write` for everything."""
    auth_algorithms: Algorithms = "RS256,ES256"
    """Comma-separated signature algorithms to accept: `RS…`, `PS…` and `ES…` with 256, 384 or 512."""
    auth_leeway_seconds: Annotated[int, Meta(ge=0, le=300, description="a whole number from 0 to 300")] = 30
    """How far the issuer's clock may differ from ours."""
    auth_keys_ttl_seconds: Seconds = 300.0
    """How long the issuer's keys are used before they are fetched again; for that long a withdrawn key stays valid."""
    console_enabled: bool = True
    """Whether the console is served, under `<base_path>/console/`."""
    console_client_id: str | None = None
    """Id of the public OIDC client that people sign in to the console with (code flow with PKCE, no secret). Without
    it, they paste a token when `auth_enabled`."""
    console_scopes: str = "openid orchestration:read orchestration:write"
    """Scopes that the console asks the issuer for, with spaces between."""


class StackSettings(KafkaSettings, frozen=True, kw_only=True):
    """How to reach the stack that activities and `link()` call."""

    stack_url: str = "http://127.0.0.1:8090"
    """Base URL of the stack."""
    stack_client_id: str | None = None
    """OAuth2 client credentials for the stack; without them calls carry no token."""
    stack_client_secret: str | None = None
    stack_token_url: str | None = None
    """Token endpoint; found by OIDC discovery at `stack_issuer` when not given."""
    stack_issuer: str | None = None
    """OIDC issuer of the stack's tokens; `<stack_url>/api/auth` when not given."""
    stack_connect_timeout_seconds: Seconds = 10.0
    max_answer_bytes: Positive = 1024 * 1024
    """Largest answer of the stack that is read; a larger one is a failure that is retried."""
    link_allowed_origins: str = ""
    """Comma-separated origins, such as `https://example.com`, that `link()` may fetch from in addition to the
    stack's own. They get no credentials."""


class EngineSettings(StackSettings, frozen=True, kw_only=True):
    """Settings of `orchestration engine`."""

    trigger_topics: TopicNames = ""
    """Comma-separated Kafka topics whose messages fire triggers. The prefix does not apply. Listening to a new topic
    begins at its end; to a known one it goes on where it was."""
    trigger_identity_seconds: Annotated[
        float, Meta(gt=0, le=MAX_MEMORY_SECONDS, description="a number of seconds above 0, at most a year")
    ] = 7 * 24 * 3600.0
    """How long a trigger remembers the identity of a message at least, so that one that its producer sends twice fires
    once. Where little happens it remembers longer: a step of a clock must not have it forget."""
    max_trigger_identities: Positive = 100_000
    """How many identities each trigger remembers, about 200 bytes of memory each; the oldest is forgotten first."""
    link_retry_seconds: Seconds = 24 * 3600.0
    """How long a message is evaluated again when its `link()` fails in a way that may pass. Then it has failed."""

    engine_id: str | None = None
    """Stable name of this engine in its consumer groups (static membership): one that is killed and comes back within
    the session timeout gets its partitions at once. By default the host's name and the first number that is free."""
    engine_session_timeout_seconds: SessionSeconds = 6.0
    """After this long without a heartbeat, an engine loses its partitions to the others. The default is the lowest that
    brokers allow unless told otherwise (`group.min.session.timeout.ms`)."""
    engine_metrics_host: str = "127.0.0.1"
    engine_metrics_port: Port = 8081
    """Where `/livez`, `/readyz` and `/metrics` of the engine are served; 0 takes a free port."""
    snapshot_seconds: Seconds = 10.0
    """How often an engine writes what has changed in a partition into topic `snapshots`. A restart reads the newest
    snapshot and the events behind it."""
    append_timeout_seconds: Seconds = 20.0
    """How long one append may take; after that nobody knows its outcome, and the partition is claimed again."""
    activity_timeout_seconds: Seconds = 60.0
    """How long one attempt of an activity may take (contract: workflows, Retries)."""
    activity_max_attempts: Attempts | None = None
    """How often an activity is tried before it is paused and waits until a person resumes it, in workflows that don't
    say it themselves (`activityMaxAttempts`). Without it, they are tried for ever."""
    max_activities_in_flight: Positive = 1024
    """How many calls to one service of the stack (ledger, wallets, payments) an engine makes at once; more wait."""


class ProjectionsSettings(PostgresSettings, frozen=True, kw_only=True):
    """Settings of `orchestration projections`."""

    projections_id: str | None = None
    """Stable name of this process in its consumer groups (static membership), as `engine_id` is for engines."""
    projections_session_timeout_seconds: SessionSeconds = 6.0
    """After this long without a heartbeat, a process loses its partitions to the others. The default is the lowest that
    brokers allow unless told otherwise (`group.min.session.timeout.ms`)."""
    projections_metrics_host: str = "127.0.0.1"
    projections_metrics_port: Port = 8082
    """Where `/livez`, `/readyz` and `/metrics` of the projections are served; 0 takes a free port."""
    max_batch_events: Positive = 5000
    """How many events are folded into one Postgres transaction at most, which bounds its memory and duration."""
    search_keys: bool = True
    """Whether instances can be found by a variable's value, an id in what their activities did, or an event's name. It
    needs a row for each. After a change run `orchestration rebuild`."""
    rejections_retention_seconds: Positive = 24 * 3600
    """How long the outcome of a rejected command is kept for the client that waits for it."""
    retention_succeeded_days: Days | None = None
    """How long an instance that has succeeded is kept in the read model after its end; for ever when not given."""
    retention_failed_days: Days | None = None
    """Likewise, one that has failed. What is deleted can't be retried any more."""
    retention_aborted_days: Days | None = None
    """Likewise, one that was aborted."""


class OperatorSettings(PostgresSettings, frozen=True, kw_only=True):
    """Settings of `orchestration topics create` and `orchestration migrate`."""


class ClientSettings(Struct, frozen=True, kw_only=True):
    """Settings of the commands that call an API: `orchestration workflows`, `instances` and `triggers`."""

    client_url: Url | None = None
    """The API with its base path. With it, the credentials below are sent and no profile is used."""
    client_token: str | None = None
    """An access token that is sent as it is."""
    client_id: str | None = None
    """OAuth2 client credentials to get tokens with."""
    client_secret: str | None = None
    client_issuer: Url | None = None
    """OIDC issuer of the tokens, whose discovery names the token endpoint."""
    client_token_url: Url | None = None
    """Token endpoint, if it is not found by discovery."""
    client_profile: str | None = None
    """Name of the profile to use."""
    client_profiles: str | None = None
    """File of the profiles; `~/.config/orchestration/profiles.toml` when not given."""
    client_timeout_seconds: Seconds = 60.0
    """How long a request may take, with its repetitions."""


class SandboxSettings(Struct, frozen=True, kw_only=True):
    """Settings of `orchestration sandbox`."""

    sandbox_host: str = "127.0.0.1"
    sandbox_port: Port = 8090


ALL: Final = (
    ApiSettings,
    StackSettings,
    EngineSettings,
    ProjectionsSettings,
    OperatorSettings,
    ClientSettings,
    SandboxSettings,
)
T = TypeVar("T", bound=Struct)


def variable(name: str) -> str:
    """The environment variable of a field: `kafka_sasl_username` → `ORCHESTRATION_KAFKA_SASL_USERNAME`."""
    return PREFIX + name.upper()


def load(kind: type[T], environment: Mapping[str, str] | None = None) -> T:
    """Read settings of one kind from the environment.

    Args:
        kind: one of the classes in this module.
        environment: variables to read; the process's own when not given. An empty value counts as not given,
            except for texts, which it sets to the empty text. What `ignored_variables` names is left out.

    Raises:
        SettingsError: a variable with our prefix is unknown, or its value is wrong. Values of secrets are not repeated.
    """
    environment = os.environ if environment is None else environment
    known = {variable(f.name): f for struct in ALL for f in msgspec.structs.fields(struct)}
    ignored = ignored_variables(environment)
    ours = {n: value for n, value in environment.items() if n.startswith(PREFIX) and n not in ignored}
    for name in sorted(ours):
        if name not in known:
            alike = difflib.get_close_matches(name.removeprefix(PREFIX), [n.removeprefix(PREFIX) for n in known], 1)
            hint = f"did you mean {PREFIX}{alike[0]}?" if alike else "docs/settings.md lists all settings"
            raise SettingsError(f"unknown setting {name}: {hint}")
    values: dict[str, Any] = {}
    for info in msgspec.structs.fields(kind):
        name = variable(info.name)
        if name not in ours or (ours[name] == "" and info.name not in ("base_path", "topic_prefix")):
            continue
        try:
            values[info.name] = msgspec.convert(ours[name], info.type, strict=False)
        except msgspec.ValidationError:
            shown = "" if "password" in info.name or "secret" in info.name else f" {without_credentials(ours[name])!r}"
            raise SettingsError(f"setting {name}{shown}: it must be {_wanted(info.type)}") from None
    return kind(**values)


def _wanted(kind: Any) -> str:
    """What a value of this type looks like, in words."""
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    described = (meta.description for meta in getattr(kind, "__metadata__", ()))
    inner = (_wanted(part) for part in get_args(kind) if get_origin(kind) is not Annotated)
    return next((text for text in (*described, *inner) if text), "")


def ignored_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Names of the variables that have our prefix and come from Kubernetes, so they are not settings."""
    environment = os.environ if environment is None else environment
    return sorted(n for n, value in environment.items() if n.startswith(PREFIX) and is_service_link(n, value))


def environment_of(settings: Struct) -> dict[str, str]:
    """The variables that `load` reads back to equal settings; how `orchestration dev` configures its processes."""
    given = msgspec.structs.asdict(settings)
    return {variable(name): str(value) for name, value in given.items() if value is not None}


__all__ = [
    "ApiSettings",
    "ClientSettings",
    "EngineSettings",
    "KafkaSettings",
    "OperatorSettings",
    "PostgresSettings",
    "ProcessSettings",
    "ProjectionsSettings",
    "SandboxSettings",
    "SettingsError",
    "environment_of",
    "ignored_variables",
    "load",
    "variable",
]
