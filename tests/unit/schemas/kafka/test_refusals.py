"""Brokers that answer and refuse us: the reason is told as it is, and not as silence."""

import logging
import ssl
from typing import Any

import pytest
from aiokafka.errors import (
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from deploy.errors import DeployError
from deploy.topics import create_topics
from schemas.kafka import KafkaFault, TransactionFailed, client
from schemas.kafka.silence import SilentBrokers
from schemas.kafka.topic_finder import BrokerTopicFinder
from schemas.kafka.transactions import TransactionalProducer
from schemas.settings import EngineSettings

BROKER = ("kafka", 9093)


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let every new connection to a broker end like this."""

    async def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(client, "create_conn", fail)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (SaslAuthenticationFailed("invalid credentials"), SaslAuthenticationFailed),
        (RuntimeError("reset"), KafkaConnectionError),
    ],
)
async def test_why_a_broker_refuses_us_is_told(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, told: type[KafkaError]
) -> None:
    refuse(monkeypatch, raised)
    with pytest.raises(KafkaError) as caught:
        await client.connect(*BROKER)
    assert caught.type is told


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SaslAuthenticationFailed("invalid credentials"), "can't be used"),
        (ssl.SSLCertVerificationError(1, "certificate has expired"), "can't be used"),
        (TimeoutError(), "does not answer"),
    ],
)
def test_a_broker_that_refuses_us_is_not_said_to_be_silent(
    caplog: pytest.LogCaptureFixture, error: Exception, words: str
) -> None:
    with caplog.at_level(logging.WARNING):
        SilentBrokers().noticed(BROKER, error)
    assert caplog.messages == [f"the Kafka broker kafka:9093 {words}: {error!r}"]


def test_a_broker_that_is_back_and_refuses_us_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    brokers = SilentBrokers()
    expired = ssl.SSLCertVerificationError(1, "certificate has expired")
    for _ in range(2):
        for error in (ConnectionRefusedError(), ConnectionRefusedError(), expired, TimeoutError(), expired):
            brokers.noticed(BROKER, error)
        brokers.heard(BROKER)
    told = [message.split(": ")[0] for message in caplog.messages if "again" not in message]
    assert told == ["the Kafka broker kafka:9093 does not answer", "the Kafka broker kafka:9093 can't be used"] * 2


async def test_commands_say_why_no_broker_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, SaslAuthenticationFailed("invalid credentials"))
    settings = EngineSettings(kafka_bootstrap_servers="refusing:9093")
    with pytest.raises(DeployError, match="invalid credentials"):
        await create_topics(settings)
    with pytest.raises(KafkaFault, match="invalid credentials"):
        await BrokerTopicFinder(settings).find("events")


async def test_a_transaction_tells_what_it_was_refused_for(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions = TransactionalProducer(EngineSettings(), "publisher-0", open_seconds=10, max_batch_bytes=1000)
    producer = transactions._producer

    manager = producer._txn_manager

    async def begin() -> None:
        manager.set_pid_and_epoch(1, 0)
        manager.begin_transaction()
        manager.error_transaction(TopicAuthorizationFailedError({"orchestration"}))
        raise InvalidTxnState

    monkeypatch.setattr(producer, "begin_transaction", begin)
    with pytest.raises(TransactionFailed, match="TopicAuthorizationFailed"):
        await transactions.commit()
    await transactions.close()
