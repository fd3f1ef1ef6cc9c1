"""Errors of our Kafka clients."""


class NotAcknowledged(Exception):
    """Kafka did not acknowledge what was sent in time. Nobody knows whether it was appended."""


class KafkaAway(NotAcknowledged):
    """There is no connection to Kafka, so nothing was sent."""
