"""Errors of our Kafka clients."""

from aiokafka.errors import KafkaError


class NotAcknowledged(Exception):
    """Kafka did not acknowledge what was sent in time. Nobody knows whether it was appended."""


class KafkaAway(NotAcknowledged):
    """There is no connection to Kafka, so nothing was sent."""


class UnreadableRecords(KafkaError):  # type: ignore[misc]
    """The client library can't decode records, or has a defect.

    It may have lost what it had fetched besides, so a new consumer has to begin where this one was.
    """
