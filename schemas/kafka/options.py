"""Options of Kafka clients: where the brokers are, and how to log in."""

import ssl
from typing import Any

from schemas.settings import KafkaSettings, SettingsError, variable


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for aiokafka's producer, consumer and admin client.

    Raises:
        SettingsError: SASL without a user name or password, or a file of a certificate or key that can't be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
    }
    if "SASL" in settings.kafka_security_protocol:
        for name in ("kafka_sasl_username", "kafka_sasl_password"):
            if not getattr(settings, name):
                raise SettingsError(f"{variable('kafka_security_protocol')} needs {variable(name)}")
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password
    if "SSL" in settings.kafka_security_protocol:
        options["ssl_context"] = _ssl_context(settings)
    return options


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
    except OSError as error:
        raise SettingsError(f"the certificates of {variable('kafka_ssl_cafile')} can't be loaded: {error}") from None
    if settings.kafka_ssl_certfile:
        files = f"{variable('kafka_ssl_certfile')} and {variable('kafka_ssl_keyfile')}"
        try:
            # Without a passphrase, OpenSSL would ask for one at the terminal and wait.
            context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile, _no_passphrase)
        except _Encrypted:
            raise SettingsError(f"{files}: the key has a passphrase; give one without") from None
        except OSError as error:
            raise SettingsError(f"{files} can't be loaded: {error}") from None
    return context


class _Encrypted(Exception):
    """A key needs a passphrase."""


def _no_passphrase() -> str:
    raise _Encrypted
