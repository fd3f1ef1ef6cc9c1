"""How clients log in to Kafka: what the settings become, and which are refused."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from schemas.kafka.options import client_options
from schemas.settings import KafkaSettings, SettingsError
from tests.chaos.tls import Certificates


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


def test_the_files_of_a_client_certificate_are_named(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    settings = KafkaSettings(
        kafka_security_protocol="SSL", kafka_ssl_certfile=str(tmp_path / "missing"), kafka_ssl_keyfile=str(key)
    )
    with pytest.raises(SettingsError, match="ORCHESTRATION_KAFKA_SSL_CERTFILE and ORCHESTRATION_KAFKA_SSL_KEYFILE"):
        client_options(settings)


def test_a_key_with_a_passphrase_is_refused_and_not_asked_about(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    broker = tmp_path / "broker.pem"
    private = serialization.load_pem_private_key(broker.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    key = tmp_path / "key.pem"
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    settings = KafkaSettings(**certificates.settings, kafka_ssl_certfile=str(broker), kafka_ssl_keyfile=str(key))
    with pytest.raises(SettingsError, match="has a passphrase"):
        client_options(settings)
