"""How clients log in to Kafka: what the settings become, and which are refused."""

import ssl

import pytest

from schemas.kafka.options import client_options
from schemas.settings import KafkaSettings, SettingsError


def test_plain_text_needs_nothing() -> None:
    options = client_options(KafkaSettings(kafka_bootstrap_servers="a:1,b:2"))
    assert options == {"bootstrap_servers": "a:1,b:2", "security_protocol": "PLAINTEXT"}


def test_sasl_over_tls() -> None:
    settings = KafkaSettings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="u",
        kafka_sasl_password="p",
    )
    options = client_options(settings)
    assert (options["sasl_mechanism"], options["sasl_plain_username"], options["sasl_plain_password"]) == (
        "SCRAM-SHA-512",
        "u",
        "p",
    )
    context = options["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (KafkaSettings(kafka_security_protocol="SASL_PLAINTEXT"), "ORCHESTRATION_KAFKA_SASL_USERNAME"),
        (
            KafkaSettings(kafka_security_protocol="SASL_PLAINTEXT", kafka_sasl_username="u"),
            "ORCHESTRATION_KAFKA_SASL_PASSWORD",
        ),
        (
            KafkaSettings(kafka_security_protocol="SSL", kafka_ssl_cafile="/no/such/file"),
            "ORCHESTRATION_KAFKA_SSL_CAFILE",
        ),
    ],
)
def test_what_is_missing_is_named(settings: KafkaSettings, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        client_options(settings)
