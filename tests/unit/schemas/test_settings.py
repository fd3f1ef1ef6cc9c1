"""Settings: read from the environment, wrong ones named, secrets never repeated, all documented."""

import logging
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy import logs
from projections.database import conninfo
from schemas.kafka.options import client_options
from schemas.settings import (
    ALL,
    PREFIX,
    ApiSettings,
    EngineSettings,
    KafkaSettings,
    ProjectionsSettings,
    SettingsError,
    environment_of,
    ignored_variables,
    load,
    variable,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


def test_defaults() -> None:
    for kind in ALL:
        assert load(kind, {}) == kind()


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        (ApiSettings, "port", "9000", 9000),
        (ApiSettings, "base_path", "", ""),
        (ApiSettings, "base_path", "/api/flows", "/api/flows"),
        (ApiSettings, "database_url", "", ApiSettings().database_url),
        (ApiSettings, "max_waiting_requests", "", ApiSettings().max_waiting_requests),
        (ApiSettings, "command_timeout_seconds", "0.5", 0.5),
        (EngineSettings, "engine_id", "engine-1", "engine-1"),
        (EngineSettings, "kafka_sasl_password", "123", "123"),
        (EngineSettings, "engine_metrics_port", "0", 0),
        (KafkaSettings, "topic_prefix", "", ""),
        (KafkaSettings, "topic_prefix", "eu.", "eu."),
        (KafkaSettings, "replication_factor", "-1", -1),
        (KafkaSettings, "kafka_bootstrap_servers", "kafka, [::1]:9092", "kafka, [::1]:9092"),
        (ApiSettings, "allowed_hosts", "localhost, [::1],", "localhost, [::1],"),
        (ApiSettings, "allowed_hosts", "*", "*"),
        (EngineSettings, "trigger_topics", "ledger, my_topic.v-2", "ledger, my_topic.v-2"),
    ],
)
def test_a_value_is_read(kind: type[Any], name: str, value: str, expected: object) -> None:
    assert getattr(load(kind, {variable(name): value}), name) == expected


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ApiSettings, "port", "http"),
        (ApiSettings, "port", "65536"),
        (ApiSettings, "base_path", "api"),
        (ApiSettings, "base_path", "/api/"),
        (ApiSettings, "log_level", "LOUD"),
        (ApiSettings, "log_format", "xml"),
        (ApiSettings, "shutdown_timeout_seconds", "0"),
        (ApiSettings, "max_body_bytes", "1048577"),
        (ApiSettings, "database_schema", "drop table"),
        (KafkaSettings, "partitions", "0"),
        (KafkaSettings, "topic_prefix", "a/b"),
        (KafkaSettings, "kafka_security_protocol", "TLS"),
        (KafkaSettings, "replication_factor", "-2"),
        (KafkaSettings, "kafka_bootstrap_servers", "kafka:x"),
        (KafkaSettings, "kafka_bootstrap_servers", "PLAINTEXT://kafka:9092"),
        (KafkaSettings, "kafka_bootstrap_servers", "kafka-1:9092 kafka-2:9092"),
        (ApiSettings, "allowed_hosts", "https://api.example.com"),
        (ApiSettings, "allowed_hosts", "localhost:8080"),
        (ApiSettings, "allowed_hosts", "*.example.com"),
        (ApiSettings, "command_timeout_seconds", "inf"),
        (EngineSettings, "trigger_topics", "ledger payments"),
        (EngineSettings, "trigger_identity_seconds", "inf"),
        (EngineSettings, "engine_session_timeout_seconds", "1801"),
        (ProjectionsSettings, "projections_session_timeout_seconds", "inf"),
    ],
)
def test_a_wrong_value_names_its_variable(kind: type[Any], name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable(name)):
        load(kind, {variable(name): value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("auth_enabled", "yes", "true or false"),
        ("partitions", "abc", "a whole number above 0"),
        ("port", "70000", "a whole number from 0 to 65535"),
        ("log_level", "info", "one of DEBUG, INFO, WARNING, ERROR"),
        ("wait_timeout_seconds", "30s", "a number of seconds above 0, at most 2000000"),
        ("auth_issuer", "issuer", "a URL that begins with http:// or https:// and has no spaces, ? or #"),
        ("public_topic", "a b", "the name of a topic: letters, digits, dots, _ and -"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(name: str, value: str, wanted: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(ApiSettings, {variable(name): value})
    assert str(raised.value) == f"setting {variable(name)} {value!r}: it must be {wanted}"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("PROT", "did you mean ORCHESTRATION_PORT?"), ("XYZZY_QUUX", "docs/settings.md lists all settings")],
)
def test_an_unknown_setting_is_told_with_what_it_may_have_meant(name: str, hint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(ApiSettings, {PREFIX + name: "1"})
    assert str(raised.value) == f"unknown setting {PREFIX}{name}: {hint}"


def test_every_setting_that_can_be_wrong_says_what_it_must_be() -> None:
    for kind in ALL:
        for field in msgspec.structs.fields(kind):
            for value in ("\n", "x y\n", "-5", "70000x/"):
                try:
                    load(kind, {variable(field.name): value})
                except SettingsError as error:
                    assert re.search(": it must be .{8}", str(error)), field.name  # noqa: PT017 - some values are fine


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth_issuer", "http://user:s3cret@issuer/a b"),
        ("auth_issuer", "ftp://user:s3cret@issuer"),
        ("auth_issuer", "http://issuer?token=s3cret"),
        ("port", "http://user:s3cret@host"),
    ],
)
def test_a_wrong_url_is_shown_without_its_credentials(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable(name)) as raised:
        load(ApiSettings, {variable(name): value})
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["postgresql://user:p%zzs3cret@h/db", "postgresql://u:s3cret@[::1/db", "u:s3cret@host", "postgres:/u:s3cret@h"],
)
def test_a_wrong_url_of_postgres_is_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        conninfo(ApiSettings(database_url=url), "test")
    assert str(raised.value) == "setting ORCHESTRATION_DATABASE_URL is not a libpq URL or key-value string"


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(SettingsError, match="ORCHESTRATION_PROT"):
        load(ApiSettings, {"ORCHESTRATION_PROT": "1", "PATH": "/bin"})


SERVICE = {
    "ORCHESTRATION_SERVICE_HOST": "10.0.0.1",
    "ORCHESTRATION_SERVICE_PORT": "8080",
    "ORCHESTRATION_SERVICE_PORT_HTTP": "8080",
    "ORCHESTRATION_PORT": "tcp://10.0.0.1:8080",
    "ORCHESTRATION_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "ORCHESTRATION_PORT_8080_TCP_PROTO": "tcp",
    "ORCHESTRATION_PORT_8080_TCP_PORT": "8080",
    "ORCHESTRATION_PORT_8080_TCP_ADDR": "10.0.0.1",
    "ORCHESTRATION_API_SERVICE_HOST": "fd00::1",
    "ORCHESTRATION_API_PORT": "tcp://[fd00::1]:8080",
    "ORCHESTRATION_API_PORT_53_UDP": "udp://[fd00::1]:53",
    "ORCHESTRATION_API_PORT_53_UDP_ADDR": "fd00::1",
    "ORCHESTRATION_ENGINE_METRICS_PORT": "tcp://10.0.0.1:8081",
}
"""What Kubernetes makes of Services named `orchestration`, `orchestration-api` and `orchestration-engine-metrics`."""


@pytest.mark.parametrize("kind", ALL)
def test_the_variables_of_a_kubernetes_service_are_ignored(kind: type[Any]) -> None:
    assert load(kind, {**SERVICE, "ORCHESTRATION_LOG_FORMAT": "json"}) == load(
        kind, {"ORCHESTRATION_LOG_FORMAT": "json"}
    )
    assert ignored_variables({**SERVICE, "ORCHESTRATION_PARTITIONS": "4", "PATH": "/bin"}) == sorted(SERVICE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORCHESTRATION_PARTITONS", "4"),
        ("ORCHESTRATION_PROT", "tcp://10.0.0.1:8080"),
        ("ORCHESTRATION_API_PORT", "8080"),
        ("ORCHESTRATION_SERVICE_HOST", "some-host"),
        ("ORCHESTRATION_SERVICE_PORT", "http"),
        ("ORCHESTRATION_PORT_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_looks_only_half_like_one_is_still_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^unknown setting {name}: "):
        load(ApiSettings, {**SERVICE, name: value})


def test_a_setting_with_the_name_of_such_a_variable_is_read() -> None:
    assert load(ApiSettings, {**SERVICE, "ORCHESTRATION_PORT": "9000"}).port == 9000
    with pytest.raises(SettingsError, match=r"ORCHESTRATION_PORT 'http://10\.0\.0\.1:8080'"):
        load(ApiSettings, {"ORCHESTRATION_PORT": "http://10.0.0.1:8080"})


def test_a_process_says_once_what_it_ignores(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in SERVICE.items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure(load(ApiSettings))
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
    (line,) = capfd.readouterr().err.splitlines()
    assert "WARNING" in line
    assert all(name in line for name in SERVICE)


def test_the_settings_of_other_processes_are_known() -> None:
    assert load(ApiSettings, {variable("engine_metrics_port"): "1"}) == ApiSettings()


@pytest.mark.parametrize(
    "settings",
    [
        ApiSettings(port=1, base_path="", kafka_sasl_username="u", wait_timeout_seconds=0.25),
        EngineSettings(engine_id="e", stack_client_secret="s p a c e", topic_prefix="x-"),
        ProjectionsSettings(database_url="host=/tmp dbname=x", max_batch_events=7),
    ],
)
def test_what_is_passed_on_is_read_back(settings: msgspec.Struct) -> None:
    assert load(type(settings), environment_of(settings)) == settings


def test_sasl_needs_a_password() -> None:
    with pytest.raises(SettingsError, match="PASSWORD"):
        client_options(KafkaSettings(kafka_security_protocol="SASL_PLAINTEXT", kafka_sasl_username="u"))


def documented() -> dict[str, str]:
    """Variable and default of each row in the document's tables."""
    rows = re.findall(r"^\| `(ORCHESTRATION_\w+)` \| (.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a setting is documented twice"
    return dict(rows)


def test_every_setting_is_documented_with_its_default() -> None:
    expected = {}
    for kind in ALL:
        for field in msgspec.structs.fields(kind):
            default = field.default
            shown = "" if default is None else "(empty)" if default == "" else f"`{default}`"
            expected[variable(field.name)] = shown
    assert documented() == expected
