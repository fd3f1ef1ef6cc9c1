"""Settings: read from the environment, wrong ones named, secrets never repeated, all documented."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.kafka import client_options
from schemas.settings import (
    ALL,
    ApiSettings,
    EngineSettings,
    KafkaSettings,
    ProjectionsSettings,
    SettingsError,
    environment_of,
    load,
    variable,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


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
    ],
)
def test_a_wrong_value_names_its_variable(kind: type[Any], name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable(name)):
        load(kind, {variable(name): value})


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(SettingsError, match="ORCHESTRATION_PROT"):
        load(ApiSettings, {"ORCHESTRATION_PROT": "1", "PATH": "/bin"})


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
