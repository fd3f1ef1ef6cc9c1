"""Kafka over the network: our clients of a cluster of brokers. They encrypt and decrypt as the settings say."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

from schemas.encryption.keys import keys_of
from schemas.kafka.admin import administering
from schemas.kafka.member import GroupMember
from schemas.kafka.options import client_options
from schemas.kafka.ports import (
    Admin,
    Assigned,
    Begin,
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

if TYPE_CHECKING:
    from schemas.kafka.sealed import Sealing

CLIENT_LOGGER: Final = "aiokafka"
"""The logger of the client library. It logs its every step, and hundreds of errors a second while a broker is away."""


class KafkaClients:
    """`ports.Kafka` on aiokafka.

    Args:
        settings: how to reach Kafka.

    Raises:
        SettingsError: the settings for Kafka contradict each other, or the keys can't be read.
    """

    def __init__(self, settings: KafkaSettings):
        client_options(settings)  # what is wrong with them is told now
        self._settings = settings
        self._sealing = _sealing(settings)

    def producer(self, topic: str, *, max_batch_bytes: int, max_request_bytes: int, waits: bool) -> Producer:
        """See `ports.Kafka.producer`."""
        producer = IdempotentProducer(
            self._settings, topic, max_batch_bytes=max_batch_bytes, max_request_bytes=max_request_bytes, waits=waits
        )
        return producer if self._sealing is None else self._sealing.producer(producer)

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
        member = GroupMember(self._settings, topic, membership, begin=begin, assigned=assigned, revoked=revoked)
        return member if self._sealing is None else self._sealing.member(member, topic)

    def reader(self, *, committed_only: bool = False) -> AbstractAsyncContextManager[Reader]:
        """See `ports.Kafka.reader`."""
        reader = reading(self._settings, committed_only=committed_only)
        return reader if self._sealing is None else self._sealing.reader(reader)

    def transactions(self, name: str, *, open_seconds: float, max_batch_bytes: int) -> Transactions:
        """See `ports.Kafka.transactions`."""
        transactions = TransactionalProducer(
            self._settings, name, open_seconds=open_seconds, max_batch_bytes=max_batch_bytes
        )
        return transactions if self._sealing is None else self._sealing.transactions(transactions)

    def admin(self) -> AbstractAsyncContextManager[Admin]:
        """See `ports.Kafka.admin`."""
        return administering(self._settings)

    def topic_finder(self) -> TopicFinder:
        """See `ports.Kafka.topic_finder`."""
        return BrokerTopicFinder(self._settings)


def _sealing(settings: KafkaSettings) -> "Sealing | None":
    """What encrypts; None where nothing is encrypted."""
    keys = keys_of(settings)
    if keys is None:
        return None
    # It brings the cipher's library, which takes a twentieth of a second of a start.
    from schemas.encryption.vault import Vault
    from schemas.kafka.sealed import Sealing

    return Sealing(Vault(keys, required=settings.encryption_required), settings.topic_prefix)
