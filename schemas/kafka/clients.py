"""Kafka over the network: our clients of a cluster of brokers, and with encryption at rest in front of them."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from schemas.encryption.keys import keys_of
from schemas.kafka.admin import administering
from schemas.kafka.member import GroupMember
from schemas.kafka.options import client_options
from schemas.kafka.ports import (
    Admin,
    Assigned,
    Begin,
    Kafka,
    Member,
    Membership,
    Producer,
    Reader,
    Revoked,
    TopicFinder,
    Transactions,
)
from schemas.kafka.producer import IdempotentProducer
from schemas.kafka.reader import reading
from schemas.kafka.topic_finder import BrokerTopicFinder
from schemas.kafka.transactions import TransactionalProducer
from schemas.settings import KafkaSettings

CLIENT_LOGGER: Final = "aiokafka"
"""The logger of the client library. It logs its every step, and hundreds of errors a second while a broker is away."""


def clients_of(settings: KafkaSettings) -> Kafka:
    """The cluster that settings name; what is in our topics is encrypted and decrypted as they say.

    Args:
        settings: how to reach Kafka, and with which keys.

    Raises:
        SettingsError: the settings for Kafka contradict each other, or the keys can't be read.
    """
    clients, keys = KafkaClients(settings), keys_of(settings)
    if keys is None:
        return clients
    # It brings the cipher's library, which takes a twentieth of a second of a start.
    from schemas.encryption.vault import Vault
    from schemas.kafka.sealed import SealedKafka

    return SealedKafka(clients, Vault(keys, required=settings.encryption_required), settings.topic_prefix)


class KafkaClients:
    """`ports.Kafka` on aiokafka. Records are handed over and out as they are, see `clients_of`.

    Args:
        settings: how to reach Kafka.

    Raises:
        SettingsError: the settings for Kafka contradict each other.
    """

    def __init__(self, settings: KafkaSettings):
        client_options(settings)  # what is wrong with them is told now
        self._settings = settings

    def producer(self, topic: str, *, max_batch_bytes: int, max_request_bytes: int, waits: bool) -> Producer:
        """See `ports.Kafka.producer`."""
        return IdempotentProducer(
            self._settings, topic, max_batch_bytes=max_batch_bytes, max_request_bytes=max_request_bytes, waits=waits
        )

    def member(
        self,
        topic: str,
        membership: Membership,
        *,
        begin: Begin | None = None,
        assigned: Assigned | None = None,
        revoked: Revoked | None = None,
    ) -> Member:
        """See `ports.Kafka.member`."""
        return GroupMember(self._settings, topic, membership, begin=begin, assigned=assigned, revoked=revoked)

    def reader(self, *, committed_only: bool = False) -> AbstractAsyncContextManager[Reader]:
        """See `ports.Kafka.reader`."""
        return reading(self._settings, committed_only=committed_only)

    def transactions(self, name: str, *, open_seconds: float, max_batch_bytes: int) -> Transactions:
        """See `ports.Kafka.transactions`."""
        return TransactionalProducer(self._settings, name, open_seconds=open_seconds, max_batch_bytes=max_batch_bytes)

    def admin(self) -> AbstractAsyncContextManager[Admin]:
        """See `ports.Kafka.admin`."""
        return administering(self._settings)

    def topic_finder(self) -> TopicFinder:
        """See `ports.Kafka.topic_finder`."""
        return BrokerTopicFinder(self._settings)
